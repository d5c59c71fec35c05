"""The engine: what it draws, that neighbours do not matter, and how requests come and go."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.engine.making import TEMPLATE, drain, make_engine, make_requests
from tests.model.small import random_tokens

from chatwright.engine import Engine, Request, SamplingParams, answer, seeds
from chatwright.engine.core import MOST_SLOTS, roomy_batch
from chatwright.engine.sampling import draw, uniforms
from chatwright.errors import InputError
from chatwright.model.logprobs import token_logprobs
from chatwright.records import Message

# What is drawn.


def kept_distribution(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """Softmax, cut to the top k, then to the smallest set that reaches p, renormalised; in float64, one row."""
    p = np.exp(logits / temperature - (logits / temperature).max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    if top_k:
        p[order[top_k:]] = 0
        p /= p.sum()
    if top_p < 1:
        reached = 0.0
        for rank, token in enumerate(order):
            if rank and reached >= top_p:
                p[token] = 0
            else:
                reached += p[token]
        p /= p.sum()
    return p


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.6), (0.8, 6, 0.7), (1.0, 1, 1.0)],
)
def test_frequencies_follow_the_cut_softmax(temperature: float, top_k: int, top_p: float) -> None:
    logits = np.random.default_rng(7).standard_normal(12) * 1.5
    draws = 20_000
    tokens, logprobs = draw(
        torch.tensor(logits, dtype=torch.float32).expand(draws, 12), torch.full((draws,), temperature),
        torch.full((draws,), top_k), torch.full((draws,), top_p), torch.tensor(uniforms(11, draws)),
    )  # fmt: skip
    expected = kept_distribution(logits, temperature, top_k, top_p)
    counts = np.bincount(tokens.numpy(), minlength=12)
    assert counts[expected == 0].sum() == 0
    kept = expected > 0
    if kept.sum() > 1:
        assert stats.chisquare(counts[kept], expected[kept] * draws).pvalue > 1e-3
    whole = torch.tensor(logits / temperature).log_softmax(-1)[tokens]
    torch.testing.assert_close(logprobs.double(), whole, atol=1e-5, rtol=1e-5)


def test_rows_of_one_batch_keep_their_own_settings() -> None:
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(2)) * 2
    rows = [(0.0, 0, 1.0), (1.0, 2, 1.0), (1.5, 0, 0.4)]
    uniform = torch.tensor([0.99, 0.5, 0.7], dtype=torch.float64)
    together = draw(
        logits, torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows]),
        torch.tensor([r[2] for r in rows]), uniform,
    )[0]  # fmt: skip
    for i, (temperature, top_k, top_p) in enumerate(rows):
        alone = draw(logits[i : i + 1], torch.tensor([temperature]), torch.tensor([top_k]), torch.tensor([top_p]),
                     uniform[i : i + 1])[0]  # fmt: skip
        assert together[i] == alone[0]
    assert together[0] == logits[0].argmax()


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0 - 2**-53])
def test_extreme_random_numbers_draw_possible_tokens(uniform: float) -> None:
    logits = torch.tensor([[-1e30, 1.0, 1.0, -1e30]])
    token, logprob = draw(logits, torch.ones(1), torch.zeros(1), torch.ones(1), torch.tensor([uniform]).double())
    assert int(token) in (1, 2)
    assert torch.isfinite(logprob).all()


@pytest.mark.parametrize("temperature", [1e-3, 1e-7, 1e-30, 1e-40, 1e-300])
def test_tiny_temperatures_are_greedy(temperature: float) -> None:
    logits = torch.tensor([[3.0, 80.0, 79.9, -5.0]])
    token, logprob = draw(logits, torch.tensor([temperature]), torch.zeros(1), torch.ones(1), torch.tensor([0.9999]))
    assert int(token) == 1
    assert torch.isfinite(logprob).all()


# Train equals serve.


@pytest.mark.parametrize("changes", [{}, {"family": "qwen3", "qk_norm": True}, {"family": "mistral",
                                     "sliding_window": 6}], ids=["llama", "qwen3", "window"])  # fmt: skip
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_of_the_engine_equal_the_training_forward(changes: dict[str, Any], temperature: float) -> None:
    engine = make_engine(3, **changes)
    requests = make_requests(9, temperature=temperature)
    for request, completion in zip(requests, engine.generate(requests), strict=True):
        tokens = torch.tensor([[*request.tokens, *completion.tokens]])
        with torch.no_grad():
            hidden = engine.model.model(tokens)[0, len(request.tokens) - 1 : -1]
            expected = token_logprobs(hidden, engine.model.head, torch.tensor(completion.tokens), temperature)
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=1e-5)


def naive(engine: Engine, request: Request) -> list[int]:
    """One token at a time with whole forward passes, the same random numbers."""
    numbers = uniforms(request.sampling.seed or 0, request.sampling.max_tokens)
    tokens = list(request.tokens)
    for number in numbers:
        with torch.no_grad():
            logits = engine.model(torch.tensor([tokens]))[0, -1].double().numpy()
        if request.sampling.temperature == 0:
            tokens.append(int(logits.argmax()))
        else:
            p = kept_distribution(logits, request.sampling.temperature, request.sampling.top_k, request.sampling.top_p)
            tokens.append(int(np.searchsorted(p.cumsum(), number, side="right")))
        if tokens[-1] in engine.template.stop_ids:
            break
    return tokens[len(request.tokens) :]


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"temperature": 0.9}, {"temperature": 1.2, "top_k": 20,
                                      "top_p": 0.8}], ids=["greedy", "whole", "cut"])  # fmt: skip
def test_answers_equal_one_sequence_at_a_time(sampling: dict[str, Any]) -> None:
    engine = make_engine(4, max_batch=3, scale=0.35)
    requests = make_requests(8, **sampling)
    for request, completion in zip(requests, engine.generate(requests), strict=True):
        assert list(completion.tokens) == naive(engine, request)
        assert completion.finish_reason == ("stop" if completion.tokens[-1] in TEMPLATE.stop_ids else "length")


def test_company_in_the_batch_does_not_change_an_answer() -> None:
    requests = make_requests(10, temperature=1.0)
    together = make_engine(5, max_batch=10).generate(requests)
    few = make_engine(5, max_batch=3).generate(requests)
    for request, one, other in zip(requests, together, few, strict=True):
        alone = make_engine(5, max_batch=1).generate([request])[0]
        assert alone.tokens == one.tokens == other.tokens
        assert alone.text == one.text == other.text
        np.testing.assert_allclose(one.logprobs, alone.logprobs, atol=1e-5)


def test_seeds_repeat_and_differ() -> None:
    engine = make_engine(6)
    prompt = tuple(random_tokens(5, 1))

    def ask(seed: int | None) -> tuple[int, ...]:
        return engine.generate([Request(prompt, SamplingParams(max_tokens=20, temperature=1.0, seed=seed))])[0].tokens

    assert ask(3) == ask(3)
    assert ask(3) != ask(4)
    assert ask(None) != ask(None)
    assert seeds(1, 2, 5) == seeds(1, 2, 8)[:5]
    assert len({*seeds(1, 2, 50), *seeds(1, 3, 50), *seeds(2, 2, 50)}) == 150


# Coming and going.


def test_queue_longer_than_the_batch_is_answered_in_order() -> None:
    engine = make_engine(7, max_batch=2)
    requests = make_requests(9, max_tokens=5, temperature=1.0)
    handles = [engine.submit(r) for r in requests]
    assert engine.waiting == 9
    first_seen: list[int] = []
    while engine.busy:
        steps = engine.step()
        assert len(steps) <= 2
        first_seen += [s.handle for s in steps if s.handle not in first_seen]
    assert first_seen == handles


def test_request_that_joins_late_gets_the_same_answer() -> None:
    request, *others = make_requests(5, temperature=1.0)
    expected = make_engine(8).generate([request])[0]
    engine = make_engine(8)
    for other in others[:3]:
        engine.submit(other)
    for _ in range(4):
        engine.step()
    handle = engine.submit(request)
    steps = drain(engine)[handle]
    assert tuple(s.token for s in steps) == expected.tokens
    assert "".join(s.text for s in steps) == expected.text


def test_cancelled_requests_end_and_disturb_nobody() -> None:
    requests = make_requests(6, max_tokens=12, temperature=1.0)
    expected = make_engine(9, max_batch=3).generate(requests)
    engine = make_engine(9, max_batch=3)
    handles = [engine.submit(r) for r in requests]
    running = next(i for i in range(3) if len(expected[i].tokens) == 12)
    steps: dict[int, list[Any]] = {h: [] for h in handles}
    for turn in range(200):
        if not engine.busy:
            break
        if turn == 3:
            engine.cancel(handles[running])
            engine.cancel(handles[5])  # waiting
            engine.cancel(99)  # unknown
        for step in engine.step():
            steps[step.handle].append(step)
    for at in (running, 5):
        assert steps[handles[at]][-1].finish_reason == "cancelled"
        assert steps[handles[at]][-1].text == ""
    assert len(steps[handles[5]]) == 1
    for at in {0, 1, 2, 3, 4} - {running}:
        assert tuple(s.token for s in steps[handles[at]]) == expected[at].tokens
    engine.cancel(handles[running])  # gone already
    assert engine.step() == []


def test_cancelled_completion_holds_only_what_was_drawn() -> None:
    engine = make_engine(9)
    request = make_requests(1, max_tokens=30, temperature=0.0)[0]
    whole = engine.generate([request])[0]
    original = engine.step
    turns = 0

    def step() -> Any:
        nonlocal turns
        turns += 1
        if turns == 4:
            engine.cancel(1)
        return original()

    engine.step = step  # type: ignore[method-assign]
    cut = engine.generate([request])[0]
    assert cut.finish_reason == "cancelled"
    assert cut.tokens == whole.tokens[:3]
    assert len(cut.logprobs) == 3


def test_requests_may_come_from_other_threads() -> None:
    engine = make_engine(10, max_batch=3)
    requests = make_requests(12, max_tokens=6, temperature=1.0)
    expected = [c.tokens for c in make_engine(10).generate(requests)]
    handles: dict[int, int] = {}

    def send(part: range) -> None:
        for i in part:
            handles[engine.submit(requests[i])] = i

    threads = [threading.Thread(target=send, args=(range(a, 12, 3),)) for a in range(3)]
    for thread in threads:
        thread.start()
    got: dict[int, list[int]] = {}
    while any(t.is_alive() for t in threads) or engine.busy:
        for step in engine.step():
            got.setdefault(step.handle, []).append(step.token)
    assert len(handles) == 12
    for handle, i in handles.items():
        assert tuple(got[handle]) == expected[i]


def test_prompt_may_fill_all_but_one_place_of_the_context() -> None:
    engine = make_engine(11)
    full = tuple(random_tokens(engine.context - 1, 3))
    got = engine.generate([Request(full, SamplingParams(max_tokens=50, temperature=0.0))])[0]
    assert len(got.tokens) == 1
    assert got.finish_reason in ("length", "stop")
    nearly = engine.generate([Request(full[:-4], SamplingParams(max_tokens=50, temperature=1.0, seed=2))])[0]
    assert len(nearly.tokens) <= 5
    with pytest.raises(InputError, match="at most 63"):
        engine.submit(Request((*full, 5)))


@pytest.mark.parametrize("tokens", [(), (1, 10_000), (-1,)])
def test_impossible_prompts_are_refused(tokens: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        make_engine().submit(Request(tokens))


def test_a_list_with_an_impossible_request_leaves_nothing_behind() -> None:
    engine = make_engine()
    with pytest.raises(InputError):
        engine.generate([*make_requests(3), Request((1, 10_000))])
    assert {s.finish_reason for s in engine.step()} == {"cancelled"}
    assert not engine.busy


def test_a_crowd_of_long_prompts_is_read_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatwright.engine import schedule

    requests = make_requests(6, temperature=1.0)
    expected = [c.tokens for c in make_engine(12, max_batch=6).generate(requests)]
    monkeypatch.setattr(schedule, "PREFILL_TOKENS", 20)
    assert [c.tokens for c in make_engine(12, max_batch=6).generate(requests)] == expected


def test_answer_cuts_old_turns_and_never_room_for_the_whole_prompt() -> None:
    """An answer may be as long as the context; the prompt still keeps half of it."""
    engine = make_engine(13)
    conversation = tuple(Message("assistant" if i % 2 else "user", f"turn {i}") for i in range(21))
    done: list[int] = []
    got = answer(engine, [conversation] * 9, SamplingParams(max_tokens=500, temperature=1.0), seed=3,
                 on_done=done.append)  # fmt: skip
    assert len(got) == 9
    assert done[-1] == 9
    assert len({c.tokens for c in got}) > 1


def test_generate_gives_the_text_that_steps_give() -> None:
    requests = make_requests(5, temperature=1.0)
    engine = make_engine(14)
    handles = [engine.submit(r) for r in requests]
    texts = dict.fromkeys(handles, "")
    while engine.busy:
        for step in engine.step():
            texts[step.handle] += step.text
    assert [c.text for c in make_engine(14).generate(requests)] == [texts[h] for h in handles]


@pytest.mark.parametrize("watched", [False, True])
def test_a_crowd_is_let_in_together_unless_someone_watches(watched: bool) -> None:
    """With 16 slots and 40 requests, a free slot waits for a second one, but nobody who watches waits for others."""
    engine = make_engine(15, max_batch=16)
    for i in range(40):
        engine.submit(
            Request(tuple(random_tokens(6, i)), SamplingParams(max_tokens=3 + i, temperature=1.0, seed=i)), text=watched
        )
    passes: list[int] = []
    waiting = engine.waiting
    while engine.busy:
        engine.step()
        if engine.waiting < waiting:
            passes.append(waiting - engine.waiting)
            waiting = engine.waiting
    assert passes[0] == 16
    assert (min(passes[:-1]) == 1) if watched else (min(passes[:-1]) >= 2)
    assert sum(passes) == 40


def test_long_lists_get_as_many_slots_as_fit() -> None:
    small = make_engine(16).model.shape
    assert roomy_batch(small, "cpu") == MOST_SLOTS
    large = replace(small, layers=80, heads=64, kv_heads=64, head_width=128, context=8192)
    assert roomy_batch(large, "cpu") == 1


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0.0},
              {"top_p": 1.5}, {"stop": ("",)}, {"seed": -3}]
)  # fmt: skip
def test_impossible_sampling_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        SamplingParams(**wrong)
