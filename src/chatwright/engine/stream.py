"""From tokens to text a person may see: whole characters only, stop strings held back."""

from __future__ import annotations

from chatwright.model.tokenizer import Tokenizer

MOST_PENDING = 8
"""Tokens that may wait for a whole character before those that can no longer become one are let go."""


class TextStream:
    """Grows by one token at a time; `push` returns what became visible.

    Text waits while its last bytes are not yet a whole character, and while its end may be the beginning of a stop
    string. `finish` releases what waits. Joined, the pieces equal the decoding of the whole up to the stop string.
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        # The tokens decoded last stand before the next ones: some decoders drop the first space of what they are given.
        self._context: list[int] = []
        self._context_length = 0
        self._pending: list[int] = []  # tokens whose text is not final
        self._held = ""  # final text that may begin a stop string
        self.stopped = False

    def push(self, token: int) -> str:
        self._pending.append(token)
        text = self._decode(self._pending)
        if not text.endswith("\ufffd"):
            return self._settle(len(self._pending), text)
        if len(self._pending) >= MOST_PENDING:
            # Only the last bytes may still become a character; what stands apart from them never will.
            for cut in range(len(self._pending) - 1, 0, -1):
                before, after = self._decode(self._pending[:cut]), self._tokenizer.decode(self._pending[cut:])
                if before + after == text:
                    return self._settle(cut, before)
        return ""

    def finish(self) -> str:
        """What was still waiting; a stop string can no longer be completed."""
        text = self._settle(len(self._pending), self._decode(self._pending)) if self._pending else ""
        if not self.stopped:
            text, self._held = text + self._held, ""
        return text

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode([*self._context, *tokens])[self._context_length :]

    def _settle(self, count: int, text: str) -> str:
        self._context, self._pending = self._pending[:count], self._pending[count:]
        self._context_length = len(self._tokenizer.decode(self._context))
        return self._release(text)

    def _release(self, text: str) -> str:
        if not self._stop:
            return text
        if self.stopped:
            return ""
        text, self._held = self._held + text, ""
        found = [at for s in self._stop if (at := text.find(s)) >= 0]
        if found:
            self.stopped = True
            return text[: min(found)]
        held = max((_overlap(text, s) for s in self._stop), default=0)
        if held:
            text, self._held = text[:-held], text[-held:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
