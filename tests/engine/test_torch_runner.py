"""The PyTorch runner: whatever is read in whatever passes, the logits are those of the whole sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.small import random_decoder, random_tokens

from chatwright.engine import torch_runner
from chatwright.engine.runner import Segment
from chatwright.engine.torch_runner import TorchRunner, grouped

FAMILIES: list[dict[str, Any]] = [
    {}, {"family": "qwen3", "qk_norm": True}, {"family": "mistral", "sliding_window": 9},
]  # fmt: skip
CONTEXT = 48


def random_schedule(seed: int, slots: int) -> list[list[tuple[int, int]]]:
    """Passes of (slot, tokens to read): slots come and go, long and single-token segments mix."""
    rng = np.random.default_rng(seed)
    length = np.zeros(slots, dtype=int)
    passes = []
    for _ in range(60):
        read = []
        for slot in rng.permutation(slots)[: rng.integers(1, slots + 1)]:
            if length[slot] == CONTEXT or rng.random() < 0.05:
                length[slot] = 0
            room = CONTEXT - length[slot]
            count = 1 if rng.random() < 0.7 else int(rng.integers(1, min(room, 20) + 1))
            read.append((int(slot), count))
            length[slot] += count
        passes.append(read)
    return passes


@pytest.mark.parametrize("changes", FAMILIES, ids=["llama", "qwen3", "window"])
@pytest.mark.parametrize("seed", [0, 1])
def test_any_schedule_gives_the_logits_of_the_whole_sequence(changes: dict[str, Any], seed: int) -> None:
    slots = 5
    model = random_decoder(3, **changes)
    runner = TorchRunner(model, slots, CONTEXT)
    rng = np.random.default_rng(100 + seed)
    held: list[list[int]] = [[] for _ in range(slots)]
    for number, read in enumerate(random_schedule(seed, slots)):
        segments, expected = [], []
        for slot, count in read:
            start = len(held[slot])
            if start + count > CONTEXT:
                held[slot], start = [], 0
            new = random_tokens(count, 1000 * number + slot)
            held[slot] += new
            wanted = bool(rng.random() < 0.8)
            segments.append(Segment(slot, start, new, wanted))
            if wanted:
                with torch.no_grad():
                    expected.append(model(torch.tensor([held[slot]]))[0, -1])
        got = runner.forward(segments)
        assert got.shape == (len(expected), model.shape.vocab_size)
        if expected:
            torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_single_tokens_are_read_in_place_after_a_change_of_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = TorchRunner(random_decoder(4), 6, CONTEXT)
    runner.forward([Segment(s, 0, random_tokens(9, s)) for s in range(6)])
    chosen: list[Any] = []
    swaps: list[tuple[int, int]] = []
    cache = runner._cache
    select, swap = cache.select, cache.swap
    monkeypatch.setattr(cache, "select", lambda rows, *rest: (chosen.append(rows), select(rows, *rest))[1])
    monkeypatch.setattr(cache, "swap", lambda a, b, n: (swaps.append((a, b)), swap(a, b, n))[1])
    for step in range(4):
        runner.forward([Segment(s, 9 + step, [step]) for s in (1, 4, 5)])
    assert chosen == [slice(0, 3)] * 4
    assert len(swaps) == 2  # once, when the set changed: slot 1 was in the first three rows already


@pytest.mark.parametrize("budget", [1, 7, 40])
def test_bounded_passes_give_the_same_logits(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_decoder(5)
    segments = [Segment(s, 0, random_tokens(3 + 9 * s, s)) for s in range(5)]
    whole = TorchRunner(model, 5, CONTEXT).forward(segments)
    monkeypatch.setattr(torch_runner, "PASS_TOKENS", budget)
    monkeypatch.setattr(torch_runner, "PASS_SCORES", 12 * budget)
    torch.testing.assert_close(TorchRunner(model, 5, CONTEXT).forward(segments), whole, atol=1e-5, rtol=1e-4)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), min_size=1, max_size=12), st.integers(8, 200))
@settings(max_examples=200, deadline=None)
def test_passes_are_bounded_and_leave_nothing_out(sizes: list[tuple[int, int]], budget: int) -> None:
    segments = [Segment(s, start, list(range(count))) for s, (start, count) in enumerate(sizes)]
    old = torch_runner.PASS_TOKENS, torch_runner.PASS_SCORES
    torch_runner.PASS_TOKENS, torch_runner.PASS_SCORES = budget, 30 * budget
    try:
        passes = list(grouped(segments))
    finally:
        torch_runner.PASS_TOKENS, torch_runner.PASS_SCORES = old
    read: dict[int, list[int]] = {s: [] for s in range(len(segments))}
    for group in passes:
        width = max(len(s.tokens) for s in group)
        assert len(group) == 1 or len(group) * width <= budget
        assert len(group) == 1 or len(group) * width * max(s.start + len(s.tokens) for s in group) <= 30 * budget
        assert len({s.slot for s in group}) == len(group)
        for segment in group:
            assert segment.start == segments[segment.slot].start + len(read[segment.slot])
            read[segment.slot] += segment.tokens
            assert segment.logits == (len(read[segment.slot]) == len(segments[segment.slot].tokens))
    assert all(read[s.slot] == s.tokens for s in segments)


def test_copied_beginnings_continue_like_their_source() -> None:
    model = random_decoder(6)
    runner = TorchRunner(model, 4, CONTEXT)
    tokens = random_tokens(20, 1)
    runner.forward([Segment(2, 0, tokens), Segment(0, 0, random_tokens(30, 2))])
    runner.forward([Segment(0, 30, [3])])  # moves rows
    runner.copy(2, 3, 12)
    other = random_tokens(9, 5)
    got = runner.forward([Segment(3, 12, other), Segment(2, 20, [4])])
    with torch.no_grad():
        expected = [model(torch.tensor([s]))[0, -1] for s in ([*tokens[:12], *other], [*tokens, 4])]
    torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_hidden_states_are_those_of_the_model() -> None:
    model = random_decoder(7)
    runner = TorchRunner(model, 4, CONTEXT)
    texts = [random_tokens(n, n) for n in (1, 17, 5, 1)]
    got = runner.hidden([Segment(s, 0, tokens) for s, tokens in enumerate(texts)])
    with torch.no_grad():
        expected = torch.cat([model.model(torch.tensor([tokens]))[0] for tokens in texts])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_the_last_position_of_the_context_survives_padding() -> None:
    """A row that ends the context is padded beside one that is longer."""
    model = random_decoder(8)
    runner = TorchRunner(model, 2, CONTEXT)
    full, other = random_tokens(CONTEXT, 1), random_tokens(30, 2)
    runner.forward([Segment(0, 0, full[: CONTEXT - 3], False)])
    got = runner.forward([Segment(0, CONTEXT - 3, full[-3:]), Segment(1, 0, other)])
    with torch.no_grad():
        expected = [model(torch.tensor([s]))[0, -1] for s in (full, other)]
    torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-4)
