"""Answering a whole list of prompts: the one way evaluation, ranking and samples ask a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from chatwright.engine.core import Engine
from chatwright.engine.request import Completion, Request, SamplingParams
from chatwright.records import Messages


def seeds(seed: int, stream: int, count: int) -> list[int]:
    """`count` seeds as a pure function of a run's seed and the number of a stream in it."""
    generator = np.random.Generator(np.random.Philox(key=[seed, stream]))
    return [int(n) for n in generator.integers(0, 1 << 62, count)]


def answer(
    engine: Engine,
    prompts: Sequence[Messages],
    sampling: SamplingParams,
    *,
    seed: int,
    stream: int = 0,
    on_done: Callable[[int], None] | None = None,
) -> list[Completion]:
    """One completion per prompt, in order. Prompt i draws from its own seed, whatever stands around it.

    A conversation longer than the context loses its oldest turns. `on_done` hears how many are finished.
    """
    return answer_seeded(engine, prompts, sampling, seeds(seed, stream, len(prompts)), on_done=on_done)


def answer_seeded(
    engine: Engine,
    prompts: Sequence[Messages],
    sampling: SamplingParams,
    each: Sequence[int],
    *,
    on_done: Callable[[int], None] | None = None,
) -> list[Completion]:
    """As `answer`, with the seed of each prompt in `each`: for a part of a longer list."""
    requests = [
        Request(engine.encode_cut(p, room=sampling.max_tokens)[0], replace(sampling, seed=s))
        for p, s in zip(prompts, each, strict=True)
    ]
    return engine.generate(requests, on_done=on_done)
