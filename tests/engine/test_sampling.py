"""Biases, penalties, cut-offs and log-probabilities, against plain float64 and transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.making import TEMPLATE, make_engine, make_requests
from tests.model.small import random_tokens

from chatwright.engine import Request, SamplingParams
from chatwright.engine.request import Step
from chatwright.engine.sampling import draw, uniforms
from chatwright.engine.shaping import Shaper
from chatwright.errors import InputError

V = 23


def reshaped(logits: np.ndarray, sampling: SamplingParams, prompt: list[int], answer: list[int]) -> np.ndarray:
    """The docstring of SamplingParams, token by token in float64."""
    out = logits.astype(np.float64)
    for token in range(len(out)):
        for biased, bias in sampling.logit_bias:
            if biased == token:
                out[token] += bias
        times = answer.count(token)
        if times:
            out[token] -= sampling.presence_penalty
        out[token] -= times * sampling.frequency_penalty
        if token in prompt or token in answer:
            if out[token] > 0:
                out[token] /= sampling.repetition_penalty
            else:
                out[token] *= sampling.repetition_penalty
    return out


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


penalised = st.builds(
    SamplingParams,
    presence_penalty=st.sampled_from([0.0, -2.0, 0.7, 2.0]),
    frequency_penalty=st.sampled_from([0.0, -1.1, 0.3, 2.0]),
    repetition_penalty=st.sampled_from([1.0, 0.5, 1.3, 4.0]),
    logit_bias=st.lists(st.tuples(st.integers(0, V - 1), st.floats(-100, 100)), max_size=4).map(tuple),
)


@given(penalised, st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_penalties_equal_brute_force(sampling: SamplingParams, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt, answer = rng.integers(0, V, 6).tolist(), []
    shaper = Shaper(sampling, prompt, V, torch.device("cpu"))
    for token in rng.integers(0, V, 12).tolist():
        logits = rng.standard_normal(V) * 4
        got = torch.tensor(logits, dtype=torch.float32)
        shaper.apply(got)
        np.testing.assert_allclose(got.numpy(), reshaped(logits, sampling, prompt, answer), atol=1e-4, rtol=1e-5)
        shaper.push(token)
        answer.append(token)


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.5])
def test_repetition_penalty_and_min_p_equal_transformers(penalty: float) -> None:
    from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor

    rng = np.random.default_rng(3)
    logits, prompt = torch.tensor(rng.standard_normal((1, V)), dtype=torch.float32), rng.integers(0, V, 8).tolist()
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([prompt]), logits.clone())
    ours = logits.clone()
    if penalty != 1.0:
        Shaper(SamplingParams(repetition_penalty=penalty), prompt, V, torch.device("cpu")).apply(ours[0])
    torch.testing.assert_close(ours, theirs)
    kept = torch.isfinite(MinPLogitsWarper(0.1)(torch.tensor([prompt]), ours / 0.8))[0]
    draws = 4000
    tokens, _ = draw(
        ours.expand(draws, V), torch.full((draws,), 0.8), torch.zeros(draws), torch.ones(draws),
        torch.tensor(uniforms(5, draws)), torch.full((draws,), 0.1),
    )  # fmt: skip
    drawn = torch.zeros(V, dtype=torch.bool)
    drawn[tokens] = True
    assert 1 < int(kept.sum()) < V
    assert not bool((drawn & ~kept).any())
    p = torch.softmax(ours[0] / 0.8, -1).masked_fill(~kept, 0)
    counts = torch.bincount(tokens, minlength=V) / draws
    torch.testing.assert_close(counts, p / p.sum(), atol=0.03, rtol=0)


def steps_of(requests: list[Request], **making: Any) -> list[list[Step]]:
    engine = make_engine(4, scale=0.35, **making)
    handles = [engine.submit(r) for r in requests]
    steps: dict[int, list[Step]] = {h: [] for h in handles}
    while engine.busy:
        for step in engine.step():
            steps[step.handle].append(step)
    return [steps[h] for h in handles]


CASES: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.6, "top_p": 0.9},
    {"temperature": 0.0, "frequency_penalty": 1.0},
    {"temperature": 1.4, "presence_penalty": 1.5, "frequency_penalty": 0.4, "repetition_penalty": 1.2, "min_p": 0.02},
    {"temperature": 0.8, "logit_bias": ((40, 5.0), (41, 5.5), (300, -100.0))},
]


def test_log_probabilities_are_those_of_their_definitions() -> None:
    """Whoever shares the batch: `logprob` of the reshaped and tempered, `model_logprob` and `alternatives` of the
    model's own distribution, each against a forward pass over the whole sequence."""
    requests = [
        Request(tuple(random_tokens(5 + 3 * i, i)), SamplingParams(max_tokens=12, seed=i, **case), alternatives=i)
        for i, case in enumerate(CASES)
    ]
    model = make_engine(4, scale=0.35).model
    for i, (request, steps) in enumerate(zip(requests, steps_of(requests, max_batch=4), strict=True)):
        sampling, answer = request.sampling, [s.token for s in steps]
        with torch.no_grad():
            logits = model(torch.tensor([[*request.tokens, *answer]]))[0].double().numpy()
        for at, step in enumerate(steps):
            own = logits[len(request.tokens) - 1 + at]
            changed = reshaped(own, sampling, list(request.tokens), answer[:at])
            expected = log_softmax(changed / (sampling.temperature or 1.0))
            assert step.logprob == pytest.approx(expected[step.token], abs=1e-4)
            assert step.model_logprob == pytest.approx(log_softmax(own)[step.token], abs=1e-4)
            if sampling.temperature == 0:
                assert step.token == int(changed.argmax())
            assert len(step.alternatives) == i
            best = np.sort(log_softmax(own))[::-1][:i]
            np.testing.assert_allclose([p for _, p in step.alternatives], best, atol=1e-4)
            assert all(p == pytest.approx(log_softmax(own)[t], abs=1e-4) for t, p in step.alternatives)


@pytest.mark.parametrize("load", [0, 1, 5, 11])
def test_what_a_request_draws_does_not_depend_on_its_company(load: int) -> None:
    """Other prompts, lengths and parameters beside it, and more of them than fit at once."""
    asked = [Request(tuple(random_tokens(9, 50 + i)), SamplingParams(max_tokens=14, seed=i, **c), alternatives=2)
             for i, c in enumerate(CASES)]  # fmt: skip
    company = make_requests(load, temperature=1.3, presence_penalty=0.5)
    mixed = [*company[: load // 2], *asked, *company[load // 2 :]]
    got = steps_of(mixed, max_batch=5)[load // 2 : load // 2 + len(asked)]
    for request, steps in zip(asked, got, strict=True):
        (alone,) = steps_of([request], max_batch=1)
        assert [s.token for s in steps] == [s.token for s in alone]
        assert "".join(s.text for s in steps) == "".join(s.text for s in alone)
        np.testing.assert_allclose([s.logprob for s in steps], [s.logprob for s in alone], atol=1e-5)


def test_a_forbidden_token_is_never_drawn_and_a_wanted_one_always() -> None:
    forbidden = SamplingParams(max_tokens=30, temperature=1.0, seed=1, logit_bias=((7, 100.0), (8, -100.0)))
    (steps,) = steps_of([Request(tuple(random_tokens(5, 1)), forbidden)])
    assert {s.token for s in steps} == {7}


def test_ignored_ends_do_not_end_an_answer() -> None:
    (end,) = TEMPLATE.stop_ids
    bias = ((end, 100.0),)
    for ignore, count, reason in ((False, 1, "stop"), (True, 6, "length")):
        sampling = SamplingParams(max_tokens=6, temperature=0.0, logit_bias=bias, ignore_end=ignore)
        (steps,) = steps_of([Request((1, 2, 3), sampling)])
        assert [s.token for s in steps] == [end] * count
        assert steps[-1].finish_reason == reason
        assert "".join(s.text for s in steps) == ""


def test_impossible_wishes_are_refused() -> None:
    engine = make_engine()
    for request in (
        Request((1, 2), SamplingParams(logit_bias=((100_000, 1.0),))),
        Request((1, 2), alternatives=21),
        Request((1, 2), adapter="nobody"),
    ):
        with pytest.raises(InputError):
            engine.submit(request)
    assert not engine.busy
