"""The compiled runner against the decoder it stands for, and against itself in other batches, cuts and threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatwright.engine.native import build
from chatwright.engine.native.draw import NativeDraw
from chatwright.engine.native.runner import MOST_ROWS, NativeRunner, Weights, suits
from chatwright.engine.runner import Segment
from chatwright.model.decoder import Decoder
from chatwright.model.shape import Shape

LLAMA = Shape(vocab_size=307, layers=2, width=72, heads=6, kv_heads=2, head_width=16, mlp_width=90, context=600)
SHAPES = {
    "llama": LLAMA,
    "untied": replace(LLAMA, tie_embeddings=False, kv_heads=6, head_width=32),
    "wide heads": replace(LLAMA, head_width=80, rope_theta=500_000.0),
    "scaled": replace(LLAMA, rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "mistral": replace(LLAMA, family="mistral", sliding_window=21),
    "qwen2": replace(LLAMA, family="qwen2", qkv_bias=True),
    "qwen3": replace(LLAMA, family="qwen3", qk_norm=True),
}
FORMATS: tuple[Weights, ...] = ("fp32", "bf16", "int8")


def model_of(shape: Shape, seed: int = 0) -> Decoder:
    """Weights large enough that logits tell tokens apart."""
    model, generator = Decoder(shape), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.12, generator=generator)
    return model


def tokens_of(count: int, seed: int = 1) -> list[int]:
    return torch.randint(0, 307, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def log_softmax(model: Decoder, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.log_softmax(model.double()(torch.tensor([tokens]), dtype=torch.float64)[0], -1)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_the_decoder(name: str) -> None:
    model, tokens = model_of(SHAPES[name]), tokens_of(300)
    runner = NativeRunner(model, slots=3, context=320)
    at = [17, 18, 64, 299]
    got, start = [], 0
    for last in at:
        got.append(runner.forward([Segment(2, start, tokens[start : last + 1])])[0].clone())
        start = last + 1
    expected = model(torch.tensor([tokens])).detach()[0, at]
    torch.testing.assert_close(
        torch.log_softmax(torch.stack(got), -1), torch.log_softmax(expected, -1), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3"])
def test_a_sequence_gives_the_same_bits_whatever_shares_its_passes(name: str, weights: Weights) -> None:
    model, tokens = model_of(SHAPES[name]), tokens_of(120)
    alone = NativeRunner(model, slots=1, context=320, weights=weights)
    one_by_one = torch.cat([alone.forward([Segment(0, i, [t])]).clone() for i, t in enumerate(tokens)])
    shared = NativeRunner(model, slots=12, context=320, weights=weights, threads=2)
    for others in range(12):
        segments = [Segment(slot, 0, tokens_of(slot * 7 + 1, slot)) for slot in range(others)]
        cut = 10 * others
        shared.forward([*segments, Segment(11, 0, tokens[:cut])] if cut else segments or [Segment(0, 0, [1])])
        segments = [replace(s, start=len(s.tokens), tokens=[5]) for s in segments]
        rest = shared.forward([*segments, Segment(11, cut, tokens[cut:])])
        assert torch.equal(rest[-1], one_by_one[-1])


def test_long_prompts_are_read_in_several_passes_and_only_wanted_logits_come_back() -> None:
    model, tokens = model_of(LLAMA), tokens_of(MOST_ROWS * 2 + 40)
    runner = NativeRunner(model, slots=3, context=600)
    segments = [Segment(0, 0, tokens), Segment(1, 0, tokens[:9], logits=False), Segment(2, 0, tokens[:30])]
    together = runner.forward(segments).clone()
    assert together.shape == (2, 307)
    assert torch.equal(together[0], runner.forward([Segment(1, 0, tokens)])[0])
    assert torch.equal(together[1], runner.forward([Segment(0, 0, tokens[:30])])[0])


def test_a_copied_prefix_continues_as_one_that_was_read() -> None:
    model, tokens = model_of(LLAMA), tokens_of(90)
    runner = NativeRunner(model, slots=2, context=320)
    whole = runner.forward([Segment(0, 0, tokens)]).clone()
    runner.forward([Segment(1, 0, tokens_of(90, 7))])
    runner.copy(0, 1, 53)
    assert torch.equal(runner.forward([Segment(1, 53, tokens[53:])]), whole)


def test_hidden_states_are_those_after_the_final_norm() -> None:
    model, tokens = model_of(LLAMA), tokens_of(40)
    got = NativeRunner(model, slots=2, context=64).hidden([Segment(0, 0, tokens[:25]), Segment(1, 0, tokens)])
    expected = model.model(torch.tensor([tokens])).detach()[0]
    torch.testing.assert_close(got, torch.cat((expected[:25], expected)), atol=1e-4, rtol=1e-4)


def test_new_weights_are_taken() -> None:
    first, second, tokens = model_of(LLAMA), model_of(LLAMA, seed=9), tokens_of(30)
    runner = NativeRunner(first, slots=1, context=64)
    runner.load(second)
    expected = NativeRunner(second, slots=1, context=64).forward([Segment(0, 0, tokens)])
    assert torch.equal(runner.forward([Segment(0, 0, tokens)]), expected)


@pytest.mark.parametrize(("weights", "bound"), [("bf16", 1e-3), ("int8", 5e-3)])
def test_rounded_weights_stay_near(weights: Weights, bound: float) -> None:
    """KL to float64 over many positions, of logits that spread over several nats."""
    model, tokens = model_of(LLAMA), tokens_of(200)
    runner = NativeRunner(model, slots=1, context=320, weights=weights)
    got = torch.cat([runner.forward([Segment(0, i, [t])]).clone() for i, t in enumerate(tokens)]).double()
    exact = log_softmax(model, tokens)
    kl = (exact.exp() * (exact - torch.log_softmax(got, -1))).sum(-1)
    assert exact.std() > 1
    assert 0 < kl.mean() < bound


@pytest.mark.parametrize("weights", FORMATS)
def test_code_without_special_instructions_computes_the_same(weights: Weights) -> None:
    """The portable paths of the kernels, compiled for the oldest processor of this kind."""
    plain = tuple(flag for flag in build.FLAGS if flag != "-march=native")
    model, tokens = model_of(LLAMA), tokens_of(80)
    here = NativeRunner(model, slots=1, context=128, weights=weights).forward([Segment(0, 0, tokens)])
    there = NativeRunner(model, 1, 128, weights=weights, library=build.compiled(plain)).forward([Segment(0, 0, tokens)])
    torch.testing.assert_close(here, there, atol=1e-4 if weights == "fp32" else 2e-2, rtol=1e-3)


def test_heads_that_the_code_cannot_read_are_told() -> None:
    assert suits(LLAMA)
    assert not suits(replace(LLAMA, head_width=8))


def reference(logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float) -> np.ndarray:
    """What is left of the probabilities, in float64 by the definitions, one token after another."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    z = logits.astype(np.float64) / np.float64(np.float32(temperature))
    weight = np.exp(z - z.max())
    kept = order[:top_k] if top_k else order
    whole, before, nucleus = sum(weight[i] for i in kept), 0.0, []
    for i in kept:
        if nucleus and top_p < 1 and before >= np.float64(np.float32(top_p)) * whole:
            break
        nucleus.append(i)
        before += weight[i]
    left = [i for i in nucleus if weight[i] >= np.float64(np.float32(min_p))] or order[:1]
    made = np.zeros(len(logits))
    made[left] = weight[left]
    return made / made.sum()


@given(
    st.integers(0, 10_000), st.sampled_from([0.3, 0.7, 1.0, 2.5]), st.sampled_from([0, 1, 5, 40]),
    st.sampled_from([0.1, 0.5, 0.9, 0.999, 1.0]), st.sampled_from([0.0, 0.02, 0.3]), st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_drawing_inverts_the_distribution_that_the_cuts_leave(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float, uniform: float
) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, 307).astype(np.float32)
    draw = NativeDraw(307, *(np.array([value]) for value in (temperature, top_k, top_p, min_p)))
    draw.uniform[:] = uniform
    tokens, logprobs, plain = draw(torch.from_numpy(logits)[None])
    left = reference(logits, temperature, top_k, top_p, min_p)
    edges = np.concatenate(([0.0], np.cumsum(left)))
    token = int(tokens[0])
    assert edges[token] - 1e-5 <= uniform <= edges[token + 1] + 1e-5
    assert left[token] > 0
    z = logits.astype(np.float64)
    for got, heat in ((logprobs[0], np.float64(np.float32(temperature))), (plain[0], 1.0)):
        expected = z[token] / heat - np.log(np.exp(z / heat - (z / heat).max()).sum()) - (z / heat).max()
        assert abs(got - expected) < 1e-5


def test_greedy_takes_the_first_of_the_most_likely() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, -np.inf], [1.0, -np.inf, 0.0, 0.5]])
    draw = NativeDraw(4, *(np.array([value] * 2) for value in (0, 0, 1, 0)))
    draw.uniform[:] = 0.9
    tokens, logprobs, plain = draw(logits)
    assert tokens == [1, 0]
    np.testing.assert_allclose(logprobs, torch.log_softmax(logits, -1)[[0, 1], [1, 0]], atol=1e-6)
    assert logprobs == plain


def test_without_a_compiler_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    build._once.cache_clear()
    with pytest.raises(build.NoCompiler, match="no C compiler"):
        build.compiled()
    build._once.cache_clear()
