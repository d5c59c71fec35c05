"""Who is read when, what is not computed again, and that none of it changes an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.making import TEMPLATE, TOKENIZER, drain, make_engine, make_requests, wide_decoder
from tests.model.small import random_tokens, write_model

from chatwright.engine import Request, SamplingParams
from chatwright.engine.core import Engine
from chatwright.engine.native.runner import NativeRunner
from chatwright.engine.request import Step
from chatwright.engine.runner import Segment
from chatwright.engine.schedule import shares
from chatwright.errors import InputError
from chatwright.model.logprobs import token_logprobs


class Watched(NativeRunner):
    """A runner that remembers what it was asked to read: a list of (slot, tokens) for every pass."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.passes: list[list[tuple[int, int]]] = []
        self.copies = 0

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        self.passes.append([(s.slot, len(s.tokens)) for s in segments])
        return super().forward(segments)

    def copy(self, source: int, target: int, length: int) -> None:
        self.copies += 1
        super().copy(source, target, length)

    @property
    def read(self) -> int:
        return sum(count for each in self.passes for _, count in each)


def watched(seed: int = 0, *, max_batch: int = 4, chunk: int = 256, **changes: Any) -> tuple[Engine, Watched]:
    model = wide_decoder(seed, scale=0.35, **changes)
    runner = Watched(model, max_batch + 1, model.shape.context)
    return Engine(model, TOKENIZER, TEMPLATE, max_batch=max_batch, chunk=chunk, runner=runner), runner


def answers(engine: Engine, requests: Sequence[Request]) -> list[list[Step]]:
    handles = [engine.submit(r) for r in requests]
    steps = drain(engine)
    return [steps[h] for h in handles]


def fresh(requests: Sequence[Request], seed: int = 0, **changes: Any) -> list[list[Step]]:
    """The answers without any sharing: each request alone in an engine of its own."""
    return [answers(watched(seed, max_batch=1, **changes)[0], [r])[0] for r in requests]


def assert_same(got: Sequence[Sequence[Step]], expected: Sequence[Sequence[Step]]) -> None:
    for one, other in zip(got, expected, strict=True):
        assert [s.token for s in one] == [s.token for s in other]
        assert "".join(s.text for s in one) == "".join(s.text for s in other)
        assert one[-1].finish_reason == other[-1].finish_reason
        np.testing.assert_allclose([s.logprob for s in one], [s.logprob for s in other], atol=1e-5)


def asking(prompt: Sequence[int], seed: int = 0, **sampling: Any) -> Request:
    return Request(tuple(prompt), SamplingParams(**({"max_tokens": 8, "temperature": 1.0, "seed": seed} | sampling)))


# Prompts in parts.


@given(st.lists(st.integers(1, 400), max_size=20), st.integers(1, 300))
@settings(max_examples=200)
def test_a_budget_is_shared_without_starving_anyone(pending: list[int], budget: int) -> None:
    given = shares(pending, budget)
    assert sum(given) == min(budget, sum(pending))
    assert all(0 <= g <= p for g, p in zip(given, pending, strict=True))
    if pending:
        assert given[0] >= min(pending[0], budget / 2)
    unserved = [p for p, g in zip(pending[1:], given[1:], strict=True) if g == 0]
    whole = [p for p, g in zip(pending[1:], given[1:], strict=True) if g == p]
    assert not unserved or not whole or max(whole) <= min(unserved)


@pytest.mark.parametrize("changes", [{}, {"family": "mistral", "sliding_window": 9}], ids=["llama", "window"])
@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_chunked_prompts_give_the_answers_of_whole_ones(chunk: int, changes: dict[str, Any]) -> None:
    requests = [asking(random_tokens(4 + 9 * i, i), i) for i in range(6)]
    engine, runner = watched(1, chunk=chunk, **changes)
    assert_same(answers(engine, requests), fresh(requests, 1, **changes))
    for each in runner.passes:  # a step reads at most the budget beside one token of each running request
        assert sum(count for _, count in each if count > 1) <= chunk


def test_a_long_prompt_stalls_nobody() -> None:
    """In steps, not seconds: runners draw in each of them, a short prompt is answered at once, the long one in time."""
    engine, runner = watched(2, chunk=16, max_batch=8, context=1200)
    (end,) = TEMPLATE.stop_ids
    endless = {"max_tokens": 150, "logit_bias": ((end, -100.0),)}
    running = [engine.submit(asking(random_tokens(5, i), i, **endless)) for i in range(3)]
    engine.step()
    long = engine.submit(asking(random_tokens(1000, 9), 9))
    seen: dict[int, int] = {}
    short = -1
    for turn in range(1, 200):
        if turn == 20:
            short = engine.submit(asking(random_tokens(8, 10), 10))
        steps = engine.step()
        if turn <= 100:
            assert {s.handle for s in steps} >= set(running)
        for step in steps:
            seen.setdefault(step.handle, turn)
    assert seen[short] == 20
    assert seen[long] <= -(-1000 // 8)
    assert max(sum(count for _, count in each) for each in runner.passes) <= 16 + 8


def test_crowds_that_nobody_watches_are_read_in_large_passes() -> None:
    engine, runner = watched(3, chunk=16, max_batch=8)
    engine.generate([asking(random_tokens(40, i), i) for i in range(8)])
    assert max(sum(count for _, count in each) for each in runner.passes) == 8 * 40


# What is not computed again.


def test_a_second_turn_computes_only_what_is_new() -> None:
    engine, runner = watched(4)
    prompt = random_tokens(30, 1)
    (first,) = answers(engine, [asking(prompt)])
    assert [s.cached for s in first] == [0] * len(first)
    answer = [s.token for s in first]
    second = asking([*prompt, *answer, *random_tokens(6, 2)])
    before = runner.read
    (again,) = answers(engine, [second])
    # The answer's last token was drawn but never read.
    assert [s.cached for s in again] == [len(prompt) + len(answer) - 1] * len(again)
    assert runner.read - before == len(second.tokens) - again[0].cached + len(again) - 1
    assert runner.copies == 0
    assert_same([again], fresh([second], 4))


def test_the_same_prompt_again_computes_its_last_token() -> None:
    engine, _ = watched(5)
    requests = [asking(random_tokens(30, 1), seed) for seed in range(3)]
    got = [answers(engine, [r])[0] for r in requests]
    assert [steps[0].cached for steps in got] == [0, 29, 29]
    assert_same(got, fresh(requests, 5))


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("chunk", [5, 256])
def test_answers_to_one_prompt_share_its_computation(chunk: int, text: bool) -> None:
    engine, runner = watched(6, max_batch=8, chunk=chunk)
    requests = [asking(random_tokens(40, 1), seed, max_tokens=6) for seed in range(8)]
    handles = [engine.submit(r, text=text) for r in requests]
    steps = drain(engine)
    drawn = sum(len(s) for s in steps.values())
    assert runner.read == 40 + 7 + drawn - 8  # the prompt once, its last token for the others, and the answers
    assert runner.copies == 7
    assert sorted(steps[h][0].cached for h in handles) == [0, *[39] * 7]
    expected = fresh(requests, 6)
    for handle, other in zip(handles, expected, strict=True):
        assert [s.token for s in steps[handle]] == [s.token for s in other]
        np.testing.assert_allclose([s.logprob for s in steps[handle]], [s.logprob for s in other], atol=1e-5)


def test_conversations_under_one_system_prompt_share_it() -> None:
    """Some finished, some running, in fewer slots than conversations, three turns each."""
    engine, runner = watched(7, max_batch=3, context=200)
    system = random_tokens(40, 99)
    talks = [[*system, *random_tokens(5, i)] for i in range(5)]
    whole = 0
    for turn in range(3):
        requests = [asking(talk, 10 * turn + i, max_tokens=6) for i, talk in enumerate(talks)]
        got = answers(engine, requests)
        assert_same(got, fresh(requests, 7, context=200))
        if turn:
            assert all(steps[0].cached >= 40 for steps in got)
        for talk, steps in zip(talks, got, strict=True):
            whole += len(talk) + len(steps) - 1
            talk.extend([s.token for s in steps] + random_tokens(4, len(talk)))
    assert runner.read < 0.6 * whole


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_reuse_never_changes_an_answer(seed: int) -> None:
    """Random prompts with common beginnings, arriving and cancelled at random, in few slots and small chunks."""
    rng = np.random.default_rng(seed)
    engine, _ = watched(8, max_batch=3, chunk=int(rng.integers(2, 30)))
    stems = [random_tokens(int(rng.integers(1, 30)), i) for i in range(3)]
    requests = [
        asking([*stems[rng.integers(3)][: rng.integers(1, 30)], *random_tokens(int(rng.integers(1, 12)), i)], i,
               max_tokens=int(rng.integers(1, 7)))
        for i in range(12)
    ]  # fmt: skip
    handles: dict[int, int] = {}
    steps: dict[int, list[Step]] = {}
    todo = list(range(len(requests)))
    while todo or engine.busy:
        if todo and rng.random() < 0.5:
            number = todo.pop(0)
            handles[engine.submit(requests[number])] = number
        if handles and rng.random() < 0.05:
            engine.cancel(int(rng.choice(list(handles))))
        for step in engine.step():
            steps.setdefault(handles[step.handle], []).append(step)
    expected = fresh(requests, 8)
    for i, got in steps.items():
        drawn = [s for s in got if s.finish_reason != "cancelled"]
        assert [s.token for s in drawn] == [s.token for s in expected[i][: len(drawn)]]
        assert got[-1].finish_reason in ("cancelled", expected[i][-1].finish_reason)
        np.testing.assert_allclose(
            [s.logprob for s in drawn], [s.logprob for s in expected[i][: len(drawn)]], atol=5e-5
        )
    assert len(steps) == 12


# Leaving early.


def test_a_request_is_cancelled_within_one_step_in_every_state() -> None:
    engine, _ = watched(9, max_batch=3, chunk=8)
    prompt = random_tokens(40, 1)
    running = engine.submit(asking(random_tokens(5, 2), 2, max_tokens=40))
    engine.step()
    reading = engine.submit(asking(prompt, 3))
    joining = engine.submit(asking(prompt, 4))  # waits for the prompt that is being read
    waiting = engine.submit(asking(prompt, 5))
    engine.step()
    assert engine.waiting == 1
    for handle in (waiting, joining, reading, running):
        engine.cancel(handle)
        ended = [s for s in engine.step() if s.finish_reason]
        assert [(s.handle, s.finish_reason, s.text) for s in ended] == [(handle, "cancelled", "")]
    assert not engine.busy
    assert engine.step() == []
    (after,) = answers(engine, [asking(prompt, 6)])
    assert after[0].cached > 0  # the part that was read is still there
    assert_same([after], fresh([asking(prompt, 6)], 9))


def test_who_waits_for_a_cancelled_prompt_reads_the_rest_itself() -> None:
    engine, runner = watched(9, max_batch=3, chunk=8)
    prompt = random_tokens(40, 1)
    leader, follower = (engine.submit(asking(prompt, seed)) for seed in (3, 4))
    for _ in range(2):
        engine.step()
    engine.cancel(leader)
    steps = drain(engine)[follower]
    assert steps[0].cached == 16
    assert runner.copies == 1
    assert_same([steps], fresh([asking(prompt, 4)], 9))


def test_sixty_four_requests_at_once_do_not_mix() -> None:
    """Each wants a token of its own above all others, and its own text comes back to its own handle."""
    engine, _ = watched(10, max_batch=16, chunk=32)
    requests = [
        asking(random_tokens(3 + i % 20, i), i, max_tokens=4 + i % 5, logit_bias=((30 + i, 100.0),)) for i in range(64)
    ]
    for i, steps in enumerate(answers(engine, requests)):
        assert [s.token for s in steps] == [30 + i] * (4 + i % 5)
        assert "".join(s.text for s in steps) == TOKENIZER.decode([s.token for s in steps])


# New weights.


def test_new_weights_answer_everything_from_then_on() -> None:
    """Changed in place, or another model; nothing that the old ones computed is used again."""
    requests = [asking(random_tokens(30, 1), 1), asking(random_tokens(20, 2), 2)]
    engine, _ = watched(11)
    old = engine.generate(requests)
    assert {c.version for c in old} == {0}
    with torch.no_grad():
        for name, weight in wide_decoder(12, scale=0.35).named_parameters():
            engine.model.get_parameter(name).copy_(weight)
    engine.swap(engine.model)
    new = engine.generate(requests)
    assert {c.version for c in new} == {1}
    assert [list(c.tokens) for c in new] == [[s.token for s in steps] for steps in fresh(requests, 12)]
    engine.swap(wide_decoder(11, scale=0.35))
    assert [c.tokens for c in engine.generate(requests)] == [c.tokens for c in old]
    assert engine.version == 2


def test_running_requests_go_on_with_new_weights() -> None:
    """As if the new ones had been given the prompt and the answer so far; whoever was being read begins again."""
    engine, _ = watched(13, max_batch=4, chunk=8)
    request = asking(random_tokens(12, 1), 1, max_tokens=12, temperature=0.0)
    handle = engine.submit(request)
    steps = [s for _ in range(6) for s in engine.step()]
    twins = [engine.submit(asking(random_tokens(30, 2), 2)) for _ in range(2)]
    steps += [s for s in engine.step() if s.handle == handle]
    engine.swap(wide_decoder(14, scale=0.35))
    rest = drain(engine)
    before = [s.token for s in steps]
    other = asking([*request.tokens, *before], max_tokens=12 - len(before), temperature=0.0)
    (expected,) = fresh([other], 14)
    assert [s.token for s in rest[handle]] == [s.token for s in expected]
    for twin in twins:
        assert_same([rest[twin]], fresh([asking(random_tokens(30, 2), 2)], 14))


def test_weights_of_another_shape_are_refused() -> None:
    engine, _ = watched(15)
    with pytest.raises(InputError, match="shape"):
        engine.swap(wide_decoder(15, layers=3))
    assert engine.version == 0


# Against other computations.


@pytest.mark.parametrize("chunk", [7, 256])
def test_greedy_answers_equal_transformers(tmp_path: Path, chunk: int) -> None:
    from transformers import AutoModelForCausalLM

    write_model(tmp_path, 3, context=128)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    theirs.generation_config.eos_token_id = list(TEMPLATE.stop_ids)
    loaded = Engine.load(tmp_path)
    engine = Engine(loaded.model, loaded.tokenizer, loaded.template, max_batch=3, chunk=chunk)
    prompts = [random_tokens(4 + 13 * i, i) for i in range(6)]
    prompts += [[*prompts[5], *random_tokens(5, 8)], prompts[5]]
    for prompt, steps in zip(prompts, answers(engine, [asking(p, temperature=0.0, max_tokens=20) for p in prompts]),
                             strict=True):  # fmt: skip
        given = torch.tensor([prompt])
        expected = theirs.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=20, do_sample=False, pad_token_id=0
        )
        assert [s.token for s in steps] == expected[0, len(prompt) :].tolist()


def test_log_probabilities_equal_the_training_forward() -> None:
    """With chunks, shared beginnings and evictions on the way."""
    engine, _ = watched(16, max_batch=3, chunk=9)
    stem = random_tokens(18, 1)
    requests = [asking([*stem[: 6 + 3 * (i % 5)], *random_tokens(5, i)], i, max_tokens=20) for i in range(12)]
    for request, completion in zip(requests, engine.generate(requests), strict=True):
        tokens = torch.tensor([[*request.tokens, *completion.tokens]])
        with torch.no_grad():
            hidden = engine.model.model(tokens)[0, len(request.tokens) - 1 : -1]
            expected = token_logprobs(hidden, engine.model.head, torch.tensor(completion.tokens))
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_embeddings_are_mean_hidden_states_and_disturb_nobody() -> None:
    engine, _ = watched(17, max_batch=3)
    texts = [random_tokens(n, n) for n in (1, 30, 7, 64, 2, 12)]
    request = asking(random_tokens(12, 1), 1)
    handle = engine.submit(request)
    got = engine.step()
    means = engine.embed(texts)
    with torch.no_grad():
        expected = [engine.model.model(torch.tensor([tokens]))[0].mean(0) for tokens in texts]
    torch.testing.assert_close(torch.tensor(means), torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert_same([[*got, *drain(engine)[handle]]], fresh([request], 17))
    (again,) = answers(engine, [asking(random_tokens(12, 1), 1)])
    assert again[0].cached == 11
    assert engine.embed([]) == []
    for impossible in ([], [1] * 65, [100_000]):
        with pytest.raises(InputError):
            engine.embed([[1], impossible])


def test_a_request_keeps_its_parameters_beside_twins() -> None:
    """The same prompt with different wishes: what is shared is the prompt and nothing else."""
    prompt = random_tokens(30, 1)
    wishes: list[dict[str, Any]] = [{}, {"temperature": 0.0}, {"frequency_penalty": 2.0}, {"top_k": 3}]
    requests = [asking(prompt, 1, **wish) for wish in wishes]
    engine, _ = watched(18)
    assert_same(answers(engine, requests), fresh(requests, 18))
    assert replace(requests[0].sampling, temperature=0.0) == requests[1].sampling


def test_first_texts_do_not_wait_for_a_queue_of_prompts() -> None:
    """Fifteen prompts of a length: the last first token comes no later than the budget needs for all of them."""
    engine, _ = watched(19, max_batch=16, chunk=32)
    for request in make_requests(16, max_tokens=2):
        engine.submit(replace(request, tokens=tuple(random_tokens(40, hash(request.sampling.seed)))))
    turns = 0
    first: dict[int, int] = {}
    while engine.busy:
        turns += 1
        for step in engine.step():
            first.setdefault(step.handle, turns)
    assert max(first.values()) <= 16 * 40 // 32 + 1
    assert make_engine().context == 64
