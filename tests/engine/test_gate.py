"""Rounded weights are measured before they are served, and refused where they change what the model writes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.engine.test_native import LLAMA, model_of

from chatwright.engine.choose import choose_weights
from chatwright.engine.gate import ANSWER_TOKENS, divergence
from chatwright.engine.native.runner import NativeRunner
from chatwright.errors import InputError
from chatwright.model.decoder import Decoder

PROMPTS = ([5, 6, 7], [9], list(range(40)))


def uneven(model: Decoder) -> Decoder:
    """The same function with some inputs ten thousand times smaller and their weights as much larger.

    Beside those weights the others of a group are rounded to nothing.
    """
    with torch.no_grad():
        for block in model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            block.input_layernorm.weight[::16] /= 1e4
            block.post_attention_layernorm.weight[::16] /= 1e4
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
                linear.weight[:, ::16] *= 1e4
    return model


def test_the_divergence_is_that_of_the_two_distributions_on_the_text_written() -> None:
    model = model_of(LLAMA)
    found = divergence(model, "int8", PROMPTS, threads=1)
    assert found.tokens == len(PROMPTS) * ANSWER_TOKENS
    assert 0 < found.kl < 0.02
    assert 0.9 < found.same_first <= 1
    assert divergence(model, "fp32", PROMPTS, threads=1).kl == 0


def test_auto_takes_int8_only_where_it_changes_nothing() -> None:
    weights, said = choose_weights(model_of(LLAMA), "auto", PROMPTS)
    assert weights == "int8"
    assert "KL to fp32 0.0" in said
    weights, said = choose_weights(uneven(model_of(LLAMA)), "auto", PROMPTS)
    assert weights == "fp32", said
    assert "too much" in said


def test_heads_the_compiled_code_cannot_read_are_served_in_fp32() -> None:
    weights, said = choose_weights(model_of(replace(LLAMA, head_width=8)), "auto", PROMPTS)
    assert (weights, said) == ("fp32", "weights in fp32, computed with PyTorch")
    with pytest.raises(InputError, match="int8 need the compiled runner"):
        choose_weights(model_of(replace(LLAMA, head_width=8)), "int8", PROMPTS)


def test_prompts_as_long_as_the_context_are_cut() -> None:
    model = model_of(replace(LLAMA, context=32))
    long = [list(range(60)), [6] * 10]
    assert divergence(model, "int8", long, threads=1).tokens > 0
    assert divergence(model, "fp32", long, threads=1).kl == 0
    assert NativeRunner(model, 1, 32).context == 32
