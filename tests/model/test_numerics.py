"""Log-probabilities, packing and the cache against float64 and against the plain forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.small import random_decoder, random_examples, random_tokens

from chatwright.model import decoder
from chatwright.model import logprobs as module
from chatwright.model.cache import KVCache
from chatwright.model.decoder import RMSNorm, causal_mask
from chatwright.model.logprobs import cross_entropy, token_logprobs
from chatwright.model.measure import bits_per_byte, language_loss, windows
from chatwright.model.packing import (
    ATTENTION,
    Example,
    best_fit,
    cheapest_rows,
    deal,
    hidden_states,
    pack,
    pack_groups,
    passes,
    predicted,
)

WINDOWED: dict[str, Any] = {"family": "mistral", "sliding_window": 5}
FAMILIES: list[dict[str, Any]] = [{}, {"family": "qwen3", "qk_norm": True, "tie_embeddings": False}, WINDOWED]


def problem(count: int = 23, seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(seed)
    hidden, head = torch.tensor(rng.standard_normal((count, 12))), torch.tensor(rng.standard_normal((31, 12)))
    return hidden, head, torch.tensor(rng.integers(0, 31, count)), torch.tensor(rng.choice([0.0, 0.5, 2.0], count))


@pytest.fixture(params=[1 << 21, 31 * 4, 1], ids=["one chunk", "chunks of 4", "chunks of 1"])
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LOGITS", request.param)


@pytest.mark.usefixtures("chunked")
def test_cross_entropy_and_its_gradients_equal_float64() -> None:
    hidden, head, targets, weights = problem()
    theirs = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
    each = torch.nn.functional.cross_entropy(theirs[0] @ theirs[1].T, targets, reduction="none")
    expected = (each * weights).sum() * 3.0
    expected.backward()
    ours = [hidden.float().requires_grad_(), head.float().requires_grad_()]
    got = cross_entropy(ours[0], ours[1], targets, weights.float()) * 3.0
    got.backward()
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(mine.grad.double(), other.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_token_logprobs_and_gradients_equal_float64(temperature: float) -> None:
    hidden, head, targets, upstream = problem(seed=1)
    theirs = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
    whole = (theirs[0] @ theirs[1].T / temperature).log_softmax(-1)
    expected = whole.gather(-1, targets[:, None])[:, 0]
    (expected * upstream).sum().backward()
    ours = [hidden.float().requires_grad_(), head.float().requires_grad_()]
    got = token_logprobs(ours[0], ours[1], targets, temperature)
    (got * upstream.float()).sum().backward()
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(mine.grad.double(), other.grad, atol=3e-5, rtol=1e-4)


@pytest.mark.usefixtures("chunked")
def test_kept_logits_give_the_gradients_of_recomputed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, targets, upstream = problem(seed=1)
    found = []
    for kept in (1 << 25, 0):
        monkeypatch.setattr(module, "KEPT_LOGITS", kept)
        ours = hidden.bfloat16().requires_grad_(), head.float().requires_grad_()
        logprobs = token_logprobs(*ours, targets, 0.7)
        (logprobs * upstream.float()).sum().backward()
        found.append((logprobs.detach(), *(t.grad for t in ours)))
    for mine, other in zip(*found, strict=True):
        assert torch.equal(mine, other)


def test_logits_far_from_zero_do_not_overflow() -> None:
    hidden, head, targets, weights = (t.float() if t.is_floating_point() else t for t in problem())
    loss = cross_entropy(hidden * 1e4, head * 1e2, targets, weights)
    assert torch.isfinite(loss)
    assert torch.isfinite(token_logprobs(hidden * 1e4, head * 1e2, targets, 0.1)).all()


def test_nothing_to_predict_is_a_loss_of_zero() -> None:
    hidden = torch.zeros(0, 12, requires_grad=True)
    head = torch.ones(31, 12, requires_grad=True)
    loss = cross_entropy(hidden, head, torch.zeros(0, dtype=torch.long), torch.zeros(0))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert head.grad is not None
    assert float(head.grad.abs().sum()) == 0.0


@pytest.mark.parametrize("changes", FAMILIES, ids=["llama", "qwen3", "window"])
def test_packed_hidden_states_and_losses_equal_unpacked(changes: dict[str, Any]) -> None:
    model = random_decoder(2, **changes)
    examples = random_examples([3, 17, 9, 30, 1, 22], seed=4)
    rows = best_fit([len(e.tokens) for e in examples], 40)
    assert any(len(row) > 1 for row in rows)
    packed = pack(examples, rows, 40)
    with torch.no_grad():
        hidden = hidden_states(model.model, packed)
        assert torch.isfinite(hidden).all()
        total = 0.0
        for i, example in enumerate(examples):
            alone = model.model(torch.tensor([example.tokens]))[0]
            start = int(packed.starts[i])
            there = hidden[packed.rows[i], start : start + len(example.tokens)]
            torch.testing.assert_close(there, alone, atol=1e-5, rtol=1e-5)
            logprobs = (alone @ model.head.T).double().log_softmax(-1)
            total -= sum(
                float(example.weights[t]) * float(logprobs[t - 1, example.tokens[t]])
                for t in range(1, len(example.tokens))
            )
        assert float(language_loss(torch.float32)(model, packed)[0]) == pytest.approx(total, abs=1e-3, rel=1e-5)
        ends = hidden[packed.ends]
    for i, example in enumerate(examples):
        start = int(packed.starts[i])
        torch.testing.assert_close(ends[i], hidden[packed.rows[i], start + len(example.tokens) - 1])


def random_groups(seed: int, vocabulary: int) -> tuple[list[Example], list[range]]:
    """Prompts of 1 to 9 tokens with 1 to 4 answers each; some answers begin alike."""
    rng = np.random.default_rng(seed)
    examples, groups = [], []
    for _ in range(6):
        prompt = rng.integers(vocabulary, size=rng.integers(1, 10)).tolist()
        count = int(rng.integers(1, 5))
        groups.append(range(len(examples), len(examples) + count))
        for _ in range(count):
            answer = [7, *rng.integers(vocabulary, size=rng.integers(0, 8)).tolist()]
            examples.append(Example(prompt + answer, [0.0] * len(prompt) + [1.0] * len(answer)))
    return examples, groups


@pytest.mark.parametrize("changes", FAMILIES, ids=["llama", "qwen3", "window"])
@pytest.mark.parametrize("most", [17, 64])
@pytest.mark.parametrize("weighted", [True, False])
def test_answers_behind_a_shared_prompt_equal_answers_alone(changes: dict[str, Any], most: int, weighted: bool) -> None:
    """With weights the prompt is shared up to the token before the last; without, all that the answers begin with."""
    model = random_decoder(2, **changes)
    examples, groups = random_groups(5, model.shape.vocab_size)
    if not weighted:
        examples = [Example(e.tokens, [0.0] * len(e.tokens)) for e in examples]
    packed = pack_groups(examples, groups, most)
    assert packed.openings is not None
    assert int((packed.documents >= 0).sum()) < sum(len(e.tokens) for e in examples)
    with torch.no_grad():
        hidden = hidden_states(model.model, packed)
        assert torch.isfinite(hidden).all()
        for i, example in enumerate(examples):
            alone = model.model(torch.tensor([example.tokens]))[0]
            n, start = int(packed.lengths[i]), int(packed.starts[i])
            torch.testing.assert_close(hidden[packed.rows[i], start : start + n], alone[-n:], atol=1e-5, rtol=1e-5)
            learned = packed.targets[(packed.documents == i) & (packed.weights != 0)].tolist()
            assert learned == [t for t, w in zip(example.tokens, example.weights, strict=True) if w]
        torch.testing.assert_close(
            hidden[packed.ends], torch.stack([model.model(torch.tensor([e.tokens]))[0, -1] for e in examples]),
            atol=1e-5, rtol=1e-5,
        )  # fmt: skip


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 90))
def test_cheapest_rows_hold_everything_once_and_cost_no_more_than_one_a_row(lengths: list[int], most: int) -> None:
    rows = cheapest_rows(lengths, most)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    width = max(sum(lengths[i] for i in row) for row in rows)
    assert width <= max(most, *lengths)
    assert len(rows) * width * (1 + width / ATTENTION) <= len(lengths) * max(lengths) * (1 + max(lengths) / ATTENTION)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_and_its_gradient_equal_float64(dtype: torch.dtype) -> None:
    norm = RMSNorm(24, 1e-5)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
    x = torch.randn(3, 5, 24, generator=generator).to(dtype)
    upstream = torch.randn(3, 5, 24, generator=generator).to(dtype)
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    weight = norm.weight.detach().double().requires_grad_()
    norm(ours).backward(upstream)
    wanted = theirs / (theirs.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight
    wanted.backward(upstream.double())
    assert ours.grad is not None
    assert theirs.grad is not None
    assert norm.weight.grad is not None
    assert weight.grad is not None
    atol, rtol = (2e-6, 2e-6) if dtype == torch.float32 else (0.04, 0.02)
    torch.testing.assert_close(norm(ours).double(), wanted, atol=atol, rtol=rtol)
    torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=atol, rtol=rtol)
    torch.testing.assert_close(norm.weight.grad.double(), weight.grad, atol=atol, rtol=rtol)
    with torch.no_grad():  # as the engine reads
        torch.testing.assert_close(norm(x).double(), wanted, atol=atol, rtol=rtol)


def test_first_token_of_a_packed_sequence_is_never_a_target() -> None:
    examples = [Example(random_tokens(5, s), [1.0] * 5) for s in range(4)]
    packed = pack(examples, [[0, 1], [2, 3]], 12)
    assert packed.weights.sum() == 4 * 4
    for i in range(4):
        row, start = int(packed.rows[i]), int(packed.starts[i])
        assert packed.weights[row, start + 4] == 0
        assert packed.targets[row, start : start + 4].tolist() == list(examples[i].tokens)[1:]


def test_passes_list_weighted_positions_in_the_order_of_their_indexes() -> None:
    examples = [Example([i] * (2 + i % 5), [0.0] + [1.0] * (1 + i % 5)) for i in range(1, 20)]
    met = []
    for order, batch in passes(examples, 12, 24):
        targets = batch.targets[batch.weights != 0].tolist()
        assert targets == [token for i in order for token in examples[i].tokens[1:]]
        met += order
        assert batch.tokens.numel() <= 24
    assert sorted(met) == list(range(19))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_best_fit_places_every_sequence_once(lengths: list[int]) -> None:
    rows = best_fit(lengths, 50)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 50 for row in rows)
    filled = sorted(sum(lengths[i] for i in row) for row in rows)
    assert len(rows) == 1 or filled[0] + filled[1] > 50, "two rows that fit into one were opened"


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_each_epoch_deals_every_row_once(rows: int, per_step: int, seed: int) -> None:
    steps = -(-3 * rows // per_step)
    dealt = np.concatenate([deal(rows, per_step, step, seed) for step in range(steps)])
    for epoch in range(3):
        assert sorted(dealt[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


@pytest.mark.parametrize("changes", FAMILIES, ids=["llama", "qwen3", "window"])
def test_decoding_with_the_cache_equals_the_full_forward(changes: dict[str, Any]) -> None:
    """Three sequences of different lengths in slots of a cache that held something else before."""
    model = random_decoder(3, **changes)
    cache = KVCache(model.shape, 5, 64, torch.float32, torch.device("cpu"))
    cache.keys.normal_()
    cache.values.normal_()
    sequences = [random_tokens(n, n) for n in (20, 31, 26)]
    slots, prompt = torch.tensor([4, 0, 2]), 7
    window = model.shape.sliding_window
    with torch.no_grad():
        expected = [model(torch.tensor([s]))[0] for s in sequences]
        positions = torch.arange(prompt).expand(3, prompt)
        cache.select(slots, positions, prompt)
        tokens = torch.tensor([s[:prompt] for s in sequences])
        logits = model(tokens, positions_BT=positions, mask=causal_mask(positions, positions, window), cache=cache)
        for row in range(3):
            torch.testing.assert_close(logits[row], expected[row][:prompt], atol=1e-5, rtol=1e-5)
        lengths = [prompt, prompt, prompt]
        while any(n < len(s) for n, s in zip(lengths, sequences, strict=True)):
            live = [r for r in range(3) if lengths[r] < len(sequences[r])]
            positions = torch.tensor([[lengths[r]] for r in live])
            seen = int(positions.max()) + 1
            cache.select(slots[live], positions, seen)
            tokens = torch.tensor([[sequences[r][lengths[r]]] for r in live])
            mask = causal_mask(positions, torch.arange(seen)[None], window)
            logits = model(tokens, positions_BT=positions, mask=mask, cache=cache)
            for place, row in enumerate(live):
                torch.testing.assert_close(logits[place, 0], expected[row][lengths[row]], atol=1e-5, rtol=1e-5)
                lengths[row] += 1


@given(st.integers(1, 70), st.integers(4, 24))
@settings(max_examples=80, deadline=None)
def test_windows_predict_every_token_after_the_first_once(length: int, context: int) -> None:
    document = np.arange(1, length + 1)
    predicted_tokens: list[int] = []
    for window in windows(document, context):
        assert len(window.tokens) <= context
        assert len(window.tokens) == len(window.weights)
        assert window.weights[0] == 0
        chosen = np.asarray(window.weights) != 0
        predicted_tokens += np.asarray(window.tokens)[chosen].tolist()
        # After the first window a token has at least about half a window before it.
        if window.tokens[0] != 1:
            assert int(np.argmax(chosen)) >= context // 2 - 1
    assert predicted_tokens == list(range(2, length + 1))


class OneDocument:
    lengths = np.array([10])

    def doc(self, number: int, /) -> np.ndarray:
        return np.array(random_tokens(10, 5))

    def bytes(self, number: int, /) -> int:
        return 23


def test_bits_per_byte_by_hand() -> None:
    model = random_decoder(1)
    tokens = OneDocument().doc(0)
    with torch.no_grad():
        logprobs = model(torch.tensor(tokens[None]))[0].double().log_softmax(-1)
        nats = -sum(float(logprobs[t - 1, tokens[t]]) for t in range(1, 10))
    got = bits_per_byte(lambda b: float(language_loss(torch.float32)(model, b)[0]), OneDocument(), 64, 128)
    assert got == pytest.approx(nats / np.log(2) / 23, rel=1e-5)


class Nothing(OneDocument):
    lengths = np.zeros(0, np.int64)


def test_bits_per_byte_of_nothing_is_not_measured() -> None:
    assert bits_per_byte(lambda batch: 0.0, Nothing(), 64, 128) is None


def test_predicted_positions_are_those_with_weight() -> None:
    model = random_decoder(1)
    packed = pack(random_examples([8, 5], 2), [[0, 1]])
    hidden, targets, weights = predicted(model, packed)
    assert len(hidden) == len(targets) == len(weights) == int((packed.weights != 0).sum())
    assert (weights != 0).all()


def test_bfloat16_is_near_float32() -> None:
    model = random_decoder(1, scale=0.1)
    packed = pack(random_examples([20, 30], 2), [[0, 1]])
    with torch.no_grad():
        exact = float(language_loss(torch.float32)(model, packed)[0])
        rough = float(language_loss(torch.bfloat16)(model, packed)[0])
    assert rough == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("longest", [512, 4], ids=["plain products", "kernel"])
def test_attention_and_its_gradients_equal_float64(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "SHORT", longest)
    rng = np.random.default_rng(6)
    q, k, v = (torch.tensor(rng.standard_normal((2, heads, 9, 8)), requires_grad=True) for heads in (4, 2, 2))
    mask = torch.tensor(rng.random((2, 1, 9, 9)) < 0.6) | torch.eye(9, dtype=torch.bool)
    scores = torch.einsum("bgntw,bgsw->bgnts", q.view(2, 2, 2, 9, 8), k) / 8**0.5
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
    expected = torch.einsum("bgnts,bgsw->bgntw", weights, v).reshape(2, 4, 9, 8)
    upstream = torch.tensor(rng.standard_normal(expected.shape))
    wanted = torch.autograd.grad(expected, (q, k, v), upstream)
    ours = [t.detach().float().requires_grad_() for t in (q, k, v)]
    got = decoder.attend(*ours, torch.zeros(mask.shape).masked_fill(~mask, -torch.inf))
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(torch.autograd.grad(got, ours, upstream.float()), wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs, atol=1e-5, rtol=1e-5)
