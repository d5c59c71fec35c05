"""What people ask of the API, by the real engine over a tiny checkpoint: its text means nothing, its shape is exact."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tests.engine_server.servers import ask as ask_model
from tests.engine_server.servers import engine_server, joined, said, stream
from tests.engine_server.tiny import write_tiny_checkpoint

from chatwright.config import LoraConfig
from chatwright.engine.core import Engine
from chatwright.model.checkpoint import load_checkpoint, save_checkpoint
from chatwright.model.lora import adapt, merged, save_adapter
from chatwright.records import Message

pytestmark = pytest.mark.skipif(not hasattr(Engine, "embed"), reason="the engine cannot do this yet")
TOWN: Any = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
             "additionalProperties": False}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With room for the description of a tool."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("roomy") / "tiny", seed=1, context=512)


@pytest.fixture(scope="module")
def client(checkpoint: Path) -> Iterator[httpx.Client]:
    with engine_server("chatwright.engine.server", checkpoint, "--weights", "fp32") as client:
        yield client


def ask(client: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    return ask_model(client, text, **({"model": "tiny", "seed": 3, "max_tokens": 40} | more))


def test_case_13_logprobs_are_those_of_the_model(client: httpx.Client, checkpoint: Path) -> None:
    answer = ask(client, "the mill", logprobs=True, top_logprobs=3, temperature=0, max_tokens=8,
                 presence_penalty=1.0)  # fmt: skip
    choice = answer["choices"][0]
    rows = choice["logprobs"]["content"]
    loaded = load_checkpoint(checkpoint)
    special = {loaded.tokenizer.token_bytes(token) for token in loaded.tokenizer.special_ids}
    shown = b"".join(raw for row in rows if (raw := bytes(row["bytes"])) not in special)
    assert shown.decode("utf-8", "replace") == said(answer)
    prompt = loaded.template.render([Message("user", "the mill")], add_generation_prompt=True).tokens
    ids: list[int] = []
    for row in rows:
        tokens = torch.tensor([[*prompt, *ids]])
        with torch.inference_mode():
            logprobs = loaded.model(tokens)[0, -1].log_softmax(-1)
        spelled = {loaded.tokenizer.token_bytes(token): token for token in range(loaded.tokenizer.vocab_size)}
        ids.append(spelled[bytes(row["bytes"])])
        assert math.isclose(row["logprob"], float(logprobs[ids[-1]]), abs_tol=1e-3)
        tops = [top["logprob"] for top in row["top_logprobs"]]
        assert torch.allclose(torch.tensor(tops), logprobs.topk(3).values, atol=1e-3)


def test_case_14_equal_seeds_give_equal_choices(client: httpx.Client) -> None:
    several = ask(client, "the mill", n=4, temperature=1.0)
    for index in range(4):
        assert said(several, index) == said(ask(client, "the mill", seed=3 + index, temperature=1.0))
    chunks = stream(client, "the mill", model="tiny", n=4, temperature=1.0, seed=3, max_tokens=40)
    assert [joined(chunks, index) for index in range(4)] == [said(several, index) for index in range(4)]


def test_case_16_a_schema_is_held(client: httpx.Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "ok", "schema": TOWN, "strict": True}}
    for seed in range(5):
        answer = ask(client, "the mill", response_format=form, seed=seed, temperature=1.5)
        assert answer["choices"][0]["finish_reason"] == "stop", answer
        assert isinstance(json.loads(said(answer))["ok"], bool)
    broken = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "response_format": broken}
    answer = client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")


def test_case_17_a_forced_call_is_a_call(client: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": TOWN}}
    tokens = client.get("/v1/models").json()["data"][0]["metadata"]["context"]
    assert tokens == 512, "a tool's description has to fit"
    for choice in ("required", {"type": "function", "function": {"name": "f"}}):
        message = ask(client, "x", tools=[tool], tool_choice=choice, max_tokens=300)["choices"][0]["message"]
        (call,) = message["tool_calls"]
        assert call["function"]["name"] == "f"
        assert isinstance(json.loads(call["function"]["arguments"])["ok"], bool)


def test_a_second_turn_is_read_from_the_cache(client: httpx.Client) -> None:
    talk = [{"role": "user", "content": "the old mill stands by the river " * 3}]
    first = ask(client, "", messages=talk)
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    talk += [{"role": "assistant", "content": said(first)}, {"role": "user", "content": "and?"}]
    second = ask(client, "", messages=talk)["usage"]
    assert second["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1


def test_case_22_embeddings_are_the_mean_of_hidden_states(client: httpx.Client, checkpoint: Path) -> None:
    answer = client.post("/v1/embeddings", json={"model": "tiny", "input": ["the mill", "sings and laughs"]}).json()
    loaded = load_checkpoint(checkpoint)
    for row, text in zip(answer["data"], ["the mill", "sings and laughs"], strict=True):
        tokens = torch.tensor([[*loaded.template.begin, *loaded.tokenizer.encode(text)]])
        with torch.inference_mode():
            wanted = loaded.model.model(tokens)[0].mean(0)
        assert torch.allclose(torch.tensor(row["embedding"]), wanted, atol=1e-4)
    text = client.post("/v1/completions", json={"model": "tiny", "prompt": "the mill", "max_tokens": 5}).json()
    assert text["usage"]["completion_tokens"] <= 5


def test_an_adapter_is_served_as_a_model_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    """It answers like the checkpoint that it is merged into."""
    base = load_checkpoint(checkpoint)
    config = LoraConfig(rank=3, alpha=6.0, targets="all")
    adapting = adapt(base.model, config, 5)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in adapting.named_parameters():
            if name.endswith("lora_b"):
                weight.copy_(torch.randn(weight.shape, generator=generator))
    save_adapter(tmp_path / "poet", adapting.state_dict(), config, "tiny")
    plain = load_checkpoint(checkpoint)
    plain.model.load_state_dict(merged(adapting.state_dict(), config))
    save_checkpoint(tmp_path / "merged", plain.model, plain.tokenizer)
    greedy: dict[str, Any] = {"temperature": 0, "max_tokens": 24}
    with engine_server("chatwright.engine.server", tmp_path / "merged") as other:
        expected = ask(other, "the mill", model="merged", **greedy)
    with engine_server("chatwright.engine.server", checkpoint, "--adapter", f"poet={tmp_path / 'poet'}") as client:
        before, answer = ask(client, "the mill", **greedy), ask(client, "the mill", model="poet", **greedy)
        assert said(answer) == said(expected) != said(before)
        assert (answer["model"], before["model"]) == ("poet", "tiny")
        assert answer["system_fingerprint"] != before["system_fingerprint"]
        assert joined(stream(client, "the mill", model="poet", **greedy)) == said(answer)
        assert [row["id"] for row in client.get("/v1/models").json()["data"]] == ["tiny", "poet"]
        assert client.get("/v1/models/poet").json()["metadata"]["adapter_of"] == "tiny"
        refused = client.post("/v1/embeddings", json={"model": "poet", "input": "the mill"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
