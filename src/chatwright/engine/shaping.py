"""What a request does to its logits before the temperature: biases, penalties and a grammar.

Most requests do nothing; those that do have one `Shaper` each, which remembers their answer so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from chatwright.engine.grammar import Matcher
from chatwright.engine.request import SamplingParams


class Shaper:
    """Reshapes the logits of one request; `push` tells it every token that was drawn.

    `logit_bias` is added first, then tokens of the answer lose `presence_penalty` once and `frequency_penalty` for
    each time they stand in it, then the logits of tokens in prompt or answer are divided (where positive) or multiplied
    by `repetition_penalty`, and last the grammar forbids what it does not allow next.
    """

    def __init__(
        self,
        sampling: SamplingParams,
        prompt: Sequence[int],
        vocab_size: int,
        device: torch.device,
        matcher: Matcher | None = None,
    ) -> None:
        self._sampling, self._matcher = sampling, matcher
        self._counts: Counter[int] = Counter()
        self._bias: dict[int, float] = {}
        for token, bias in sampling.logit_bias:
            self._bias[token] = self._bias.get(token, 0.0) + bias
        self._counting = bool(sampling.presence_penalty or sampling.frequency_penalty)
        self._shift: Tensor | None = None  # what is added to the logits, V
        if self._bias or self._counting:
            self._shift = torch.zeros(vocab_size, device=device)
            for token, bias in self._bias.items():
                self._shift[token] = bias
        self._seen: Tensor | None = None  # whether a token stands in prompt or answer, V
        if sampling.repetition_penalty != 1.0:
            self._seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
            self._seen[torch.tensor(list(prompt), device=device)] = True

    def apply(self, logits_V: Tensor) -> None:
        """Changes the logits in place."""
        if self._shift is not None:
            logits_V += self._shift
        if self._seen is not None:
            penalty = self._sampling.repetition_penalty
            penalised = torch.where(logits_V > 0, logits_V / penalty, logits_V * penalty)
            torch.where(self._seen, penalised, logits_V, out=logits_V)
        if self._matcher is not None:
            allowed = torch.from_numpy(self._matcher.allowed()).to(logits_V.device)
            logits_V.masked_fill_(~allowed, -torch.inf)

    def push(self, token: int) -> None:
        """`token` is part of the answer now."""
        if self._counting and self._shift is not None:
            self._counts[token] += 1
            lost = self._sampling.presence_penalty + self._sampling.frequency_penalty * self._counts[token]
            self._shift[token] = self._bias.get(token, 0.0) - lost
        if self._seen is not None:
            self._seen[token] = True
        if self._matcher is not None:
            self._matcher.push(token)

    @property
    def complete(self) -> bool:
        """Whether the grammar allows nothing but the end."""
        return self._matcher is not None and self._matcher.complete

    @property
    def stuck(self) -> bool:
        """Whether the grammar became too complex to go on with."""
        return self._matcher is not None and self._matcher.stuck
