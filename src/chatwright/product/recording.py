"""Notes every answer the gateway gives: its id, version and sampling; its text only where `store` asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from chatwright.engine.protocol.errors import invalid
from chatwright.product.frames import Collector, EventReader
from chatwright.product.measures import Timed
from chatwright.product.serving import ServedModel
from chatwright.records import content_id
from chatwright.store import Answer, Answers

SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "seed", "n", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "stop",
)  # fmt: skip
MOST_METADATA, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512


def checked_metadata(raw: Any) -> dict[str, str]:
    """Up to 16 pairs of short texts, as OpenAI has them; raises ApiError(400) otherwise."""
    if raw is None:
        return {}
    if not isinstance(raw, dict) or len(raw) > MOST_METADATA:
        raise invalid("metadata", f"it must be an object with at most {MOST_METADATA} pairs")
    for key, value in raw.items():
        if not isinstance(value, str) or len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            why = f"keys have at most {LONGEST_KEY} characters, values are texts of at most {LONGEST_VALUE}"
            raise invalid("metadata", why)
    return raw


def prompt_hash(prompt: Any) -> str:
    return content_id(prompt, 64)


class Recorder:
    """Hears one answer on its way to the client (`proxy.Tap`) and enters it before the client has all of it.

    Of a stream that nobody wants stored only the first chunk is read, for its id. A stream that breaks off is
    entered too, as far as it came.
    """

    def __init__(
        self, answers: Answers, model: ServedModel, body: dict[str, Any], *, store: bool, timed: Timed, owner: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._answers, self._model, self._body, self._store = answers, model, body, store
        self._metadata = checked_metadata(body.get("metadata")) if store else {}
        self._timed, self._owner, self._clock = timed, owner, clock
        self._reader, self._collector = EventReader(), Collector()
        self._entering: asyncio.Future[None] | None = None

    async def whole(self, answer: dict[str, Any]) -> None:
        self._timed.first()
        self._timed.done()
        await self._enter(answer)

    async def block(self, block: bytes) -> None:
        self._timed.first()
        if self._entering is not None:
            return
        for chunk in self._reader.feed(block):
            self._collector.add(chunk)
            if not self._store and self._collector.base:
                # Beside the stream, so that the first token does not wait for the disk.
                self._entering = asyncio.ensure_future(self._enter(self._collector.base))
                return

    async def end(self) -> None:
        self._timed.done()
        if self._entering is None:
            self._entering = asyncio.ensure_future(self._enter(self._collector.whole()))
        await self._entering

    async def _enter(self, answer: dict[str, Any]) -> None:
        ident = answer.get("id")
        if not isinstance(ident, str) or not 0 < len(ident) <= 120:
            return
        content = None
        if self._store:
            request = {key: value for key, value in self._body.items() if key not in ("stream", "stream_options")}
            content = {"request": request, "answer": answer, "metadata": self._metadata}
        prompt = self._body.get("messages", self._body.get("prompt"))
        row = Answer(
            ident, str(answer.get("object")), self._model.name, self._model.id, self._clock(), prompt_hash(prompt),
            sampling_of(self._body), content, self._owner,
        )  # fmt: skip
        await asyncio.to_thread(self._answers.add, row)


def sampling_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in SAMPLING if body.get(name) is not None}
