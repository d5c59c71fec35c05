"""Guessing ahead changes how many passes are made, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.making import TEMPLATE, TOKENIZER, wide_decoder
from tests.model.small import random_tokens

from chatwright.engine import Request, SamplingParams
from chatwright.engine.core import Engine
from chatwright.engine.lookup import TRIALS, Lookup
from chatwright.engine.native.runner import NativeRunner, Weights


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 6), st.data())
def test_what_followed_the_last_pair_before_is_guessed(tokens: list[int], most: int, data: st.DataObject) -> None:
    """However the text grew; against looking through all of it."""
    lookup, at = Lookup(), 0
    while at < len(tokens):
        at = data.draw(st.integers(at + 1, len(tokens)))
        text = tokens[:at]
        before = [end for end in range(2, len(text)) if text[end - 2 : end] == text[-2:]]
        expected = list(text)
        for ahead in range(most if before else 0):
            expected.append(expected[before[-1] + ahead])
        assert lookup.guess(text, most) == expected[at:]


def test_a_text_that_repeats_nothing_is_left_alone() -> None:
    lookup, text = Lookup(), [1, 2, 3, 1, 2]
    assert lookup.guess(text, 2) == [3, 1]
    for _ in range(TRIALS):
        lookup.count(False)
    assert lookup.guess([*text, 3, 1, 2], 2) == []


class Counting(NativeRunner):
    passes = 0

    def forward(self, segments: Any) -> Any:
        self.passes += 1
        return super().forward(segments)


def make(lookup: int, weights: Weights, scale: float = 0.35) -> Engine:
    model = wide_decoder(3, scale=scale, context=200)
    return Engine(
        model, TOKENIZER, TEMPLATE, max_batch=3, lookup=lookup, runner=Counting(model, 4, 200, weights=weights)
    )


def asked(rng: np.random.Generator) -> list[Request]:
    made = []
    for number in range(6):
        stem = random_tokens(int(rng.integers(2, 9)), number)
        heat = float(rng.choice([0.0, 0.05, 0.4, 1.0]))
        sampling = SamplingParams(
            max_tokens=int(rng.integers(1, 60)), temperature=heat, seed=number, top_p=float(rng.choice([0.6, 1.0])),
            stop=("e",) if rng.random() < 0.2 else (), presence_penalty=float(rng.choice([0, 0, 1.5])),
            ignore_end=bool(rng.random() < 0.5),
        )  # fmt: skip
        made.append(Request((*stem * int(rng.integers(1, 5)), *stem[:2]), sampling))
    return made


@given(st.integers(0, 10_000), st.sampled_from(["fp32", "int8"]), st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_every_answer_is_the_same_in_every_bit(seed: int, weights: Weights, lookup: int) -> None:
    requests = asked(np.random.default_rng(seed))
    assert make(lookup, weights).generate(requests) == make(0, weights).generate(requests)


def test_a_text_that_repeats_itself_takes_fewer_passes() -> None:
    """Greedy answers of a random model soon go round in circles."""
    request = Request(tuple(random_tokens(8, 2)), SamplingParams(max_tokens=150, temperature=0.0, ignore_end=True))
    plain, ahead = make(0, "fp32", 0.1), make(5, "fp32", 0.1)
    assert plain.generate([request]) == ahead.generate([request])
    assert isinstance(plain.runner, Counting)
    assert isinstance(ahead.runner, Counting)
    assert ahead.runner.passes < 0.5 * plain.runner.passes
