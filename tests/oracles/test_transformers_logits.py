"""Checkpoints of transformers give the same logits here, and ours the same logits there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.model.small import random_decoder, random_tokens, scramble, tiny_tokenizer

from chatwright.model.checkpoint import load_decoder, save_checkpoint, save_weights
from chatwright.model.shape import Shape

SIZES: dict[str, Any] = {
    "vocab_size": 91, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 40, "max_position_embeddings": 48, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16, "rope_theta": 100.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1000.0}

FOREIGN: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, tied, head width of its own": ("Llama", {"tie_word_embeddings": True, "head_dim": 10}),
    "llama, every head its own keys": ("Llama", {"num_key_value_heads": 4}),
    "llama, one key head": ("Llama", {"num_key_value_heads": 1, "rms_norm_eps": 1e-3}),
    "llama, other theta": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "llama, linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0}}),
    "llama, llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama, yarn": ("Llama", {"rope_parameters": YARN}),
    "llama, yarn with its own attention factor": ("Llama", {"rope_parameters": {**YARN, "attention_factor": 1.7}}),
    "llama, yarn with mscale": ("Llama", {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.9,
                                                             "beta_fast": 16.0, "beta_slow": 2.0}}),
    "llama ignores a window": ("Llama", {"sliding_window": 5}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral, window": ("Mistral", {"sliding_window": 7}),
    "qwen2": ("Qwen2", {}),
    "qwen2, tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 10}),
    "qwen3, tied, yarn": ("Qwen3", {"head_dim": 8, "tie_word_embeddings": True, "rope_parameters": YARN}),
}  # fmt: skip


def logits_there(model: Any, tokens: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor(tokens)).logits


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_checkpoint_gives_the_logits_of_transformers(name: str, tmp_path: Path) -> None:
    family, changes = FOREIGN[name]
    config = getattr(transformers, f"{family}Config")(**(SIZES | changes))
    theirs = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    scramble(theirs, seed=3)
    theirs.save_pretrained(tmp_path)
    tokens = [random_tokens(40, seed, vocab=91) for seed in range(2)]
    with torch.no_grad():
        ours = load_decoder(tmp_path)(torch.tensor(tokens))
    expected = logits_there(theirs, tokens)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "llama", "tie_embeddings": True},
        {"family": "llama", "tie_embeddings": False, "rope_theta": 77.0},
        {"family": "llama", "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"}},
        {"family": "mistral", "sliding_window": 6, "tie_embeddings": False},
        {"family": "mistral", "sliding_window": None},
        {"family": "qwen2", "qkv_bias": True},
        {"family": "qwen3", "qk_norm": True, "tie_embeddings": True, "kv_heads": 4},
        {"family": "qwen3", "qk_norm": True, "tie_embeddings": False, "norm_eps": 1e-4},
    ],
    ids=str,
)
def test_own_checkpoint_gives_the_same_logits_in_transformers(changes: dict[str, Any], tmp_path: Path) -> None:
    ours = random_decoder(5, **changes)
    save_checkpoint(tmp_path, ours, tiny_tokenizer())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert theirs.dtype == torch.float32
    tokens = [random_tokens(40, seed) for seed in range(2)]
    with torch.no_grad():
        torch.testing.assert_close(ours(torch.tensor(tokens)), logits_there(theirs, tokens), atol=1e-4, rtol=0)
    assert Shape.from_hf(theirs.config.to_dict()) == ours.shape


def test_shards_open_on_both_sides(tmp_path: Path) -> None:
    ours = random_decoder(6, family="qwen3", qk_norm=True)
    save_checkpoint(tmp_path / "ours", ours, tiny_tokenizer(), shard_bytes=20_000)
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 2
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    tokens = [random_tokens(30, 1)]
    again = load_decoder(tmp_path / "ours")
    with torch.no_grad():
        torch.testing.assert_close(again(torch.tensor(tokens)), ours(torch.tensor(tokens)), atol=0, rtol=0)
        torch.testing.assert_close(logits_there(theirs, tokens), ours(torch.tensor(tokens)), atol=1e-4, rtol=0)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("model-*.safetensors"))) > 2
    back = load_decoder(tmp_path / "theirs")
    with torch.no_grad():
        torch.testing.assert_close(back(torch.tensor(tokens)), ours(torch.tensor(tokens)), atol=0, rtol=0)


def test_half_precision_checkpoint_is_read_as_float32(tmp_path: Path) -> None:
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()
    scramble(theirs, seed=4)
    theirs.to(torch.bfloat16).save_pretrained(tmp_path)
    ours = load_decoder(tmp_path)
    whole = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokens = [random_tokens(20, 2, vocab=91)]
    with torch.no_grad():
        torch.testing.assert_close(ours(torch.tensor(tokens)), logits_there(whole, tokens), atol=1e-4, rtol=0)


def test_parameter_count_is_that_of_the_checkpoint() -> None:
    for changes in (
        {},
        {"qkv_bias": True, "family": "qwen2"},
        {"qk_norm": True, "family": "qwen3", "tie_embeddings": False},
    ):
        model = random_decoder(**changes)
        assert model.shape.parameters == sum(p.numel() for p in model.parameters())


def test_weights_file_is_never_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the file is written leaves the file before."""
    save_weights(tmp_path, {"a": torch.ones(3)})

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chatwright.model.checkpoint.os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        save_weights(tmp_path, {"a": torch.zeros(3)})
    monkeypatch.undo()
    from chatwright.model.checkpoint import load_weights

    assert load_weights(tmp_path)["a"].tolist() == [1.0, 1.0, 1.0]
