"""LoRA adapters by request, against the peft library and against merged weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.engine.making import TEMPLATE, TOKENIZER, drain, wide_decoder
from tests.model.small import random_tokens, write_model

from chatwright.config import LoraConfig
from chatwright.engine import Request, SamplingParams
from chatwright.engine.core import Engine
from chatwright.errors import CheckpointError, InputError
from chatwright.model.decoder import Decoder
from chatwright.model.lora import adapt, merged, save_adapter

CONFIG = LoraConfig(rank=3, alpha=6.0, targets="all")


def trained_adapter(folder: Path, seed: int) -> Decoder:
    """Saves an adapter of wide_decoder(1) that changes a lot; returns that model with it merged in."""
    model = adapt(wide_decoder(1, scale=0.35), CONFIG, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("lora_b"):
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    folder.mkdir()
    save_adapter(folder, model.state_dict(), CONFIG, "base")
    plain = wide_decoder(1, scale=0.35)
    plain.load_state_dict(merged(model.state_dict(), CONFIG))
    return plain


def make(max_batch: int = 4, model: Decoder | None = None) -> Engine:
    return Engine(model or wide_decoder(1, scale=0.35), TOKENIZER, TEMPLATE, max_batch=max_batch, chunk=9)


def requests(adapters: tuple[str, ...], count: int) -> list[Request]:
    return [
        Request((*random_tokens(20, i % 2), *random_tokens(1 + i % 5, i)),
                SamplingParams(max_tokens=10, temperature=1.0, seed=i), adapter=adapters[i % len(adapters)])
        for i in range(count)
    ]  # fmt: skip


def test_mixed_adapters_answer_like_merged_models(tmp_path: Path) -> None:
    """The same prompts under different adapters: nothing is shared between them, whoever is in the batch."""
    alone = {"": make(1)}
    engine = make(9)
    for seed, name in enumerate(("poet", "cook")):
        alone[name] = make(1, trained_adapter(tmp_path / name, seed))
        engine.add_adapter(name, tmp_path / name)
    asked = requests(("", "poet", "cook"), 24)
    handles = [engine.submit(r) for r in asked]
    steps = drain(engine)
    answers = set()
    for handle, request in zip(handles, asked, strict=True):
        (expected,) = alone[request.adapter].generate([Request(request.tokens, request.sampling)])
        assert tuple(s.token for s in steps[handle]) == expected.tokens
        np.testing.assert_allclose([s.logprob for s in steps[handle]], expected.logprobs, atol=1e-4)
        answers.add(expected.tokens)
    assert len(answers) == 24
    assert any(s[0].cached for s in steps.values())


def test_adapters_stay_with_new_weights(tmp_path: Path) -> None:
    engine = make()
    trained_adapter(tmp_path / "poet", 3)
    engine.add_adapter("poet", tmp_path / "poet")
    engine.swap(wide_decoder(2, scale=0.35))
    other = make(model=wide_decoder(2, scale=0.35))
    other.add_adapter("poet", tmp_path / "poet")
    asked = requests(("poet",), 2)
    assert [c.tokens for c in engine.generate(asked)] == [c.tokens for c in other.generate(asked)]


def test_an_adapter_answers_as_in_peft(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    write_model(tmp_path / "base", 1, head_width=16)
    base = wide_decoder(1)
    trained_adapter(tmp_path / "poet", 4)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), str(tmp_path / "poet"))
    engine = make(model=base)
    engine.add_adapter("poet", tmp_path / "poet")
    prompt = random_tokens(12, 1)
    request = Request(tuple(prompt), SamplingParams(max_tokens=10, temperature=0.0), adapter="poet")
    (got,) = engine.generate([request])
    with torch.no_grad():
        logits = theirs(torch.tensor([[*prompt, *got.tokens]])).logits[0, len(prompt) - 1 : -1]
    assert logits.argmax(-1).tolist() == list(got.tokens)
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(got.tokens)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(got.logprobs), expected, atol=1e-4, rtol=0)


def test_the_adapted_model_is_not_touched(tmp_path: Path) -> None:
    model = wide_decoder(1, scale=0.35)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trained_adapter(tmp_path / "poet", 5)
    engine = make(model=model)
    engine.add_adapter("poet", tmp_path / "poet")
    engine.generate(requests(("poet",), 2))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_impossible_adapters_are_refused(tmp_path: Path) -> None:
    trained_adapter(tmp_path / "poet", 6)
    engine = make()
    engine.add_adapter("poet", tmp_path / "poet")
    with pytest.raises(InputError, match="name"):
        engine.add_adapter("poet", tmp_path / "poet")
    with pytest.raises(CheckpointError, match="not a LoRA adapter"):
        engine.add_adapter("nothing", tmp_path)
    with pytest.raises(CheckpointError, match="does not fit"):
        make(model=wide_decoder(1, width=32)).add_adapter("poet", tmp_path / "poet")
    with pytest.raises(CheckpointError, match="does not have"):
        make(model=wide_decoder(1, layers=1)).add_adapter("poet", tmp_path / "poet")
    path = tmp_path / "poet" / "adapter_config.json"
    for change, words in (({"use_dora": True}, "use_dora"), ({"peft_type": "IA3"}, "IA3"), ({"r": 5}, "rank 5")):
        config = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(config | change), "utf-8")
        with pytest.raises(CheckpointError, match=words):
            engine.add_adapter("other", tmp_path / "poet")
        path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(InputError, match="no adapter 'other'"):
        engine.submit(Request((1, 2), adapter="other"))
