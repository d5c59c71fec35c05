"""What a request gives with the compiled runner is the same in every bit, alone or in any company."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.engine.making import TEMPLATE, TOKENIZER, drain, make_engine, wide_decoder
from tests.model.small import random_tokens

from chatwright.engine import Request, SamplingParams
from chatwright.engine.core import Engine
from chatwright.engine.native.runner import NativeRunner, Weights
from chatwright.engine.request import Step
from chatwright.engine.torch_runner import TorchRunner
from chatwright.errors import CheckpointError, InputError
from chatwright.model.decoder import Decoder

SCHEMA = json.dumps({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]})
SHAPINGS: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {"presence_penalty": 1.0, "frequency_penalty": 0.5}, {"repetition_penalty": 1.3},
    {"logit_bias": ((3, 5.0), (9, -100.0))}, {"schema": SCHEMA, "max_tokens": 40}, {"ignore_end": True},
)  # fmt: skip


def random_request(rng: random.Random, i: int, shared: list[int]) -> Request:
    prompt = random_tokens(rng.randrange(1, 60), i)
    if rng.random() < 0.5:
        prompt = [*shared[: rng.randrange(8, 60)], *prompt[:20]]
    sampling = {
        "max_tokens": rng.choice([1, 3, 14, 30]), "temperature": rng.choice([0, 0.5, 1.0, 1.7]), "seed": i,
        "top_k": rng.choice([0, 0, 5]), "top_p": rng.choice([1.0, 0.8]), "min_p": rng.choice([0, 0.05]),
    }  # fmt: skip
    return Request(tuple(prompt), SamplingParams(**(sampling | rng.choice(SHAPINGS))), rng.choice([0, 0, 3]))


def seen(steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    return [(s.token, s.logprob, s.model_logprob, s.alternatives) for s in steps if s.finish_reason != "cancelled"]


def alone(model: Decoder, request: Request, weights: Weights) -> list[tuple[Any, ...]]:
    engine = Engine(model, TOKENIZER, TEMPLATE, max_batch=1, weights=weights)
    handle = engine.submit(request)
    return seen(drain(engine)[handle])


@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("seed", [1, 3])
def test_company_changes_no_bit(seed: int, weights: Weights) -> None:
    """Requests come and go at random, some are cancelled, texts are embedded and the same weights swapped in."""
    rng, shared = random.Random(seed), random_tokens(60, seed)
    model = wide_decoder(seed, scale=0.3, context=120)
    requests = [random_request(rng, i, shared) for i in range(24)]
    engine = Engine(
        model, TOKENIZER, TEMPLATE, max_batch=rng.choice([4, 12]), weights=weights, chunk=rng.choice([7, 64])
    )
    steps: dict[int, list[Step]] = {}
    came: dict[int, int] = {}
    cancelled: set[int] = set()
    while len(came) < len(requests) or engine.busy:
        while len(came) < len(requests) and rng.random() < 0.4:
            came[engine.submit(requests[len(came)], text=rng.random() < 0.5)] = len(came)
        for step in engine.step():
            steps.setdefault(step.handle, []).append(step)
        if came and rng.random() < 0.05:
            engine.cancel(gone := rng.choice(list(came)))
            cancelled.add(gone)
        if rng.random() < 0.05:
            engine.embed([random_tokens(rng.randrange(1, 100), 5) for _ in range(rng.randrange(1, 6))])
        if rng.random() < 0.05:
            engine.swap(model)
    for handle, i in came.items():
        got, expected = seen(steps[handle]), alone(model, requests[i], weights)
        assert got == (expected[: len(got)] if handle in cancelled else expected)


def test_the_drawn_token_has_one_log_probability() -> None:
    engine = make_engine(3)
    engine.submit(Request((1, 2, 3), SamplingParams(max_tokens=30, temperature=0.0, ignore_end=True), alternatives=4))
    (steps,) = drain(engine).values()
    assert all(step.alternatives[0] == (step.token, step.model_logprob) for step in steps)


@pytest.mark.parametrize("runner", [NativeRunner, TorchRunner])
@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"top_k": 3}, {"presence_penalty": 1.0}])
def test_damaged_weights_are_told_in_a_sentence(
    runner: type[NativeRunner] | type[TorchRunner], sampling: dict[str, Any]
) -> None:
    model = wide_decoder(0)
    with torch.no_grad():
        model.model.get_parameter("layers.0.mlp.up_proj.weight")[0, 0] = torch.nan
    engine = Engine(model, TOKENIZER, TEMPLATE, max_batch=2, runner=runner(model, 3, 64))
    with pytest.raises(CheckpointError, match="no numbers"):
        engine.generate([Request((1, 2, 3), SamplingParams(**sampling))])


def test_numbers_beyond_every_register_are_taken_or_refused() -> None:
    engine = make_engine(0)
    plain, cut = (
        engine.generate([Request((1, 2, 3), SamplingParams(seed=4, top_k=top_k))])[0].tokens
        for top_k in (0, (1 << 32) + 1)
    )
    assert plain == cut
    engine.generate([Request((1, 2, 3), SamplingParams(seed=4, top_k=1 << 80))])
    with pytest.raises(InputError, match="seed"):
        SamplingParams(seed=1 << 128)
