"""Log-probabilities beside the text they belong to, in the shapes of chat and of the older completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.engine.request import Step

LEAST = -9999.0
"""JSON has no -inf; OpenAI writes this instead."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One token: its bytes, its log-probability under the model's own distribution, and the most likely ones.

    `shown` is False for a special token in the middle of an answer, which adds nothing to the text.
    """

    bytes: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...]
    shown: bool = True

    @property
    def length(self) -> int:
        return len(self.bytes) if self.shown else 0


class TokenLog:
    """Gives tokens out when their text is shown, and never before: some text is held back, some never comes.

    A token whose text lies behind a stop string is left out, as its text is; so is the token that ends an answer.
    """

    def __init__(
        self, token_bytes: Callable[[int], bytes], ends: frozenset[int], special: frozenset[int] = frozenset()
    ) -> None:
        self._bytes, self._ends, self._special = token_bytes, ends, special
        self._waiting: list[Logged] = []
        self._given = 0  # bytes of the tokens given out
        self._shown = 0  # bytes of text shown

    def push(self, step: Step) -> list[Logged]:
        """The tokens that are whole in what `step` makes visible."""
        ended = step.finish_reason == "stop" and step.token in self._ends
        if not ended and step.finish_reason != "cancelled":
            top = tuple((self._bytes(token), logprob) for token, logprob in step.alternatives)
            shown = step.token not in self._special
            self._waiting.append(Logged(self._bytes(step.token), step.model_logprob, top, shown))
        self._shown += len(step.text.encode())
        if ended or step.finish_reason in ("length", "cancelled"):
            given, self._waiting = self._waiting, []
            return given
        given = []
        while self._waiting and self._visible(self._waiting[0], last=step.finish_reason is not None):
            given.append(self._waiting.pop(0))
            self._given += given[-1].length
        return given

    def _visible(self, row: Logged, *, last: bool) -> bool:
        """A token that a stop string cuts in the middle is given out with its first half."""
        return self._given < self._shown if last else self._given + row.length <= self._shown


def token_text(raw: bytes) -> str:
    """A token that is a part of a character is written as OpenAI writes it: bytes:\\xf0\\x9f."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def chat_logprobs(rows: Sequence[Logged], top: int) -> dict[str, Any]:
    content = [
        _entry(row.bytes, row.logprob) | {"top_logprobs": [_entry(*other) for other in row.top[:top]]} for row in rows
    ]
    return {"content": content, "refusal": None}


def _entry(raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token_text(raw), "logprob": max(LEAST, logprob), "bytes": list(raw)}


def text_logprobs(rows: Sequence[Logged], top: int, offset: int) -> dict[str, Any]:
    """The older shape: four lists of one length. `offset` is the length of the text before, in characters."""
    offsets = []
    for row in rows:
        offsets.append(offset)
        offset += len(row.bytes.decode("utf-8", "ignore")) if row.shown else 0
    return {
        "tokens": [token_text(row.bytes) for row in rows],
        "token_logprobs": [max(LEAST, row.logprob) for row in rows],
        "top_logprobs": [{token_text(raw): max(LEAST, p) for raw, p in row.top[:top]} for row in rows],
        "text_offset": offsets,
    }
