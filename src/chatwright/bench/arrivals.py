"""When requests are sent, and what they ask. Everything random follows from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatwright.errors import InputError

Messages = list[dict[str, Any]]
TEXT = (
    "the river runs past an old mill and every evening a lamp is lit on the bridge so that boats find their way home "
    "while in the valley people bake bread count sheep mend nets and talk about rain wind and the price of flour"
)


@dataclass(frozen=True, slots=True)
class Load:
    """How requests arrive: `rate` a second as a Poisson process (open), or `clients` that each ask, wait and ask again
    (closed). Exactly one of them is set. It ends after `requests`, or `seconds`, whichever comes first; what runs then
    has `grace` seconds to come to its end.
    """

    requests: int = 100
    seconds: float = 60.0
    rate: float | None = None
    clients: int | None = None
    grace: float = 30.0
    seed: int = 1

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.clients is None):
            raise InputError("say either a rate (open arrival) or a number of clients (closed arrival)")
        if self.rate is not None and self.rate <= 0:
            raise InputError(f"the rate must be positive, not {self.rate}")
        if self.clients is not None and self.clients < 1:
            raise InputError(f"there must be at least 1 client, not {self.clients}")
        if self.requests < 1 or self.seconds <= 0:
            raise InputError("a measurement needs at least 1 request and more than 0 seconds")


def poisson_times(rate: float, requests: int, seconds: float, seed: int) -> list[float]:
    """Arrival times in seconds from the start: gaps are exponential with mean 1/rate; none after `seconds`."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, requests)
    times = np.cumsum(gaps)
    return times[times < seconds].tolist()


def made_prompt(words: int, seed: int) -> Messages:
    """A user message of so many words, different for every seed, so that no server has its beginning in a cache."""
    rng, known = np.random.default_rng(seed), TEXT.split()
    picked = [word for _ in range(0, max(1, words), len(known)) for word in rng.permutation(known)]
    return [{"role": "user", "content": " ".join(picked[: max(1, words)])}]


def words_for(tokens: int, short: tuple[int, int], long: tuple[int, int]) -> int:
    """How many words give a prompt of `tokens`, from two measured (words, prompt tokens): a line through both.

    Raises InputError where the template alone takes more.
    """
    (few, few_tokens), (many, many_tokens) = short, long
    per_word = (many_tokens - few_tokens) / (many - few)
    words = round(few + (tokens - few_tokens) / per_word) if per_word > 0 else 0
    if words < 1:
        raise InputError(f"a prompt of {tokens} tokens is too short: one word takes {few_tokens} with the template")
    return words


def read_prompts(path: Path) -> list[Messages]:
    """Prompts of a file: one a line, as text or as JSON with `prompt` or `messages`. Raises InputError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
    prompts = [_prompt(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise InputError(f"{path} holds no prompts")
    return prompts


def _prompt(line: str, where: str) -> Messages:
    if not line.lstrip().startswith("{"):
        return [{"role": "user", "content": line}]
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is no JSON ({error})") from None
    if isinstance(messages := row.get("messages"), list) and messages:
        return messages
    if isinstance(prompt := row.get("prompt"), str):
        return [{"role": "user", "content": prompt}]
    raise InputError(f"{where} has neither `prompt` nor `messages`")


def cycle(prompts: Sequence[Messages]) -> Iterator[Messages]:
    """The prompts in order, again and again."""
    while True:
        yield from prompts
