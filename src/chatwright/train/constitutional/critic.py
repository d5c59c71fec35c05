"""Who criticises: a model in this process here, an endpoint in `endpoint.py`.

A critic writes critiques and revisions, and says with which probability it answers a question with the letter A rather
than B. Both kinds are asked with the same messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from chatwright.config import SamplingConfig
from chatwright.engine import Engine, SamplingParams
from chatwright.engine.answering import answer_seeded
from chatwright.errors import InputError
from chatwright.model.chat import ChatTemplate
from chatwright.model.logprobs import token_logprobs
from chatwright.model.packing import Example, passes, predicted
from chatwright.records import Message, Messages
from chatwright.train.answers import answer_example
from chatwright.train.constitutional.principles import LETTERS

MICRO_TOKENS = 8192
"""Tokens of questions read in one pass."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text and whether it came to its own end."""

    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """P(A) of A and B alone, and the share of all answers that the two letters have; 0 where none could be read."""

    first: float
    mass: float


class Critic(Protocol):
    """`letters_from` says where letter probabilities come from; "text" is all or nothing, from the letter said."""

    id: str

    @property
    def letters_from(self) -> Literal["logits", "logprobs", "text"]: ...

    def fits(self, conversation: Messages, room: int) -> bool:
        """Whether `room` tokens can follow."""
        ...

    def write(
        self, conversations: Sequence[Messages], sampling: SamplingConfig, seeds: Sequence[int]
    ) -> list[Written]: ...

    def letters(self, conversations: Sequence[Messages]) -> list[Letter]: ...


class EngineCritic:
    """A model in this process, mostly the very model whose answers are criticised."""

    letters_from: Literal["logits", "logprobs", "text"] = "logits"

    def __init__(self, engine: Engine) -> None:
        self.engine, self.id = engine, engine.id

    def fits(self, conversation: Messages, room: int) -> bool:
        return len(self._tokens(conversation)) + room <= self.engine.context

    def write(self, conversations: Sequence[Messages], sampling: SamplingConfig, seeds: Sequence[int]) -> list[Written]:
        params = SamplingParams(sampling.max_tokens, sampling.temperature, sampling.top_k, sampling.top_p)
        done = answer_seeded(self.engine, conversations, params, seeds)
        return [Written(c.text.strip(), c.finish_reason == "stop") for c in done]

    @torch.no_grad()
    def letters(self, conversations: Sequence[Messages]) -> list[Letter]:
        """From the logits behind each question, in float32; the answer is never sampled."""
        model, spelled = self.engine.model, letter_tokens(self.engine.template)
        examples = []
        for tokens in map(self._tokens, conversations):
            examples.append(Example([*tokens, spelled[0]], [0.0] * len(tokens) + [1.0]))  # a place, never read
        found: list[Letter | None] = [None] * len(examples)
        width = max((len(e.tokens) for e in examples), default=1)
        for order, batch in passes(examples, width, MICRO_TOKENS):
            hidden, targets, _ = predicted(model, batch.to(str(model.head.device)))
            told = [token_logprobs(hidden, model.head, torch.full_like(targets, t)) for t in spelled]
            logprobs = torch.stack(told, dim=-1).double()
            first, mass = logprobs.softmax(-1)[:, 0].tolist(), logprobs.exp().sum(-1).tolist()
            for index, p, m in zip(order, first, mass, strict=True):
                found[index] = Letter(p, m)
        return [letter for letter in found if letter is not None]

    def _tokens(self, conversation: Messages) -> list[int]:
        return self.engine.template.render(conversation, add_generation_prompt=True).tokens


def letter_tokens(template: ChatTemplate) -> tuple[int, int]:
    """The tokens with which the answers A and B begin; raises InputError where they are the same."""

    def first(letter: str) -> int:
        example = answer_example(template, (Message("user", "?"),), letter)
        return int(next(token for token, weight in zip(example.tokens, example.weights, strict=True) if weight))

    a, b = map(first, LETTERS)
    if a == b:
        raise InputError(
            "the tokenizer of this model begins A and B with the same token, so that it cannot compare answers; name "
            "an endpoint with --critic"
        )
    return a, b
