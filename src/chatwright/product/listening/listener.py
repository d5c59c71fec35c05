"""What the desk tells of turns as they happen: draws comparisons, and notes weak signals beside the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from chatwright.errors import ChatwrightError
from chatwright.product.chosen import SAME, Choices, Chosen
from chatwright.product.consent.lineage import Lineage
from chatwright.product.consent.wording import VERSION
from chatwright.product.listening.pairing import Pair, pair
from chatwright.store import Person, Store
from chatwright.store.chats import Chat, ChatMessage
from chatwright.store.listening import Mark, add_comparison

SECRET = "listening.secret"
log = logging.getLogger(__name__)

Offers = Callable[[str, Person], str | None]
"""The id of the version behind a name, where the person may use it and it can answer now."""


class Listener:
    """Hears of everything that happens in the chats of one gateway."""

    def __init__(
        self, store: Store, chosen: Chosen, offers: Offers, lineage: Lineage,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._store, self._chosen, self._offers, self._clock = store, chosen, offers, clock
        self._lineage = lineage
        self._secret = store.choices.secret(SECRET, clock())
        self._noting: set[asyncio.Task[None]] = set()

    # Two answers.

    async def choices(self) -> Choices:
        return await self._chosen.now()

    def pair(self, choices: Choices, person: Person, chat: Chat, turn: str, current: str) -> Pair | None:
        """Two versions for a turn that was to be answered by `current`; None for almost all turns."""
        if not choices.compare_rate or chat.temporary:
            return None
        named = [current if name == SAME else self._offers(name, person) for name in choices.compare_with]
        others = [one for name, one in zip(choices.compare_with, named, strict=True)
                  if one is not None and (name == SAME or one != current)]  # fmt: skip
        return pair(self._secret, chat.id, turn, choices.compare_rate, current, others)

    def enters(
        self, person: Person, drawn: Pair | None
    ) -> Callable[[Connection, Sequence[ChatMessage]], None]:  # fmt: skip
        """What notes the comparison in the transaction that makes its two answers, so that it never shows without."""

        def enter(connection: Connection, made: Sequence[ChatMessage]) -> None:
            answers = [one for one in made if one.role == "assistant"]
            if drawn is not None and len(answers) == 2:
                add_comparison(connection, person.id, answers[0], answers[1], drawn.how, self._clock())

        return enter

    def marks(self, chat: str) -> Mapping[str, Mark]:
        return self._store.listening.marks(chat)

    # What may be learned from a chat.

    async def training(self, person: Person, chat: str, training: bool | None) -> None:
        """The chat's own choice; a no takes back what has left."""
        await asyncio.to_thread(
            self._store.consents.choose_for_chat, person.id, chat, training, VERSION, self._clock()
        )  # fmt: skip
        if training is False:
            await asyncio.to_thread(self._lineage.take_back, person.id, chat, "consent withdrawn")

    async def deleting(self, person: Person, chat: str | None) -> list[dict[str, str]]:
        """Before a chat, or all chats, are deleted: takes back what has left, and names what learned from it."""
        used = await asyncio.to_thread(self._lineage.take_back, person.id, chat, "chat deleted")
        return [asdict(one) for one in used]

    # Weak signals.

    def asked(self, person: Person, tree: Sequence[ChatMessage], parent: str | None) -> None:
        """A question below `parent`: the first one goes on from it, a further one is the last one edited."""
        earlier = [one.id for one in tree if one.role == "user" and one.parent == parent]
        if earlier:
            answers = [one for one in tree if one.role == "assistant" and one.parent == earlier[-1]]
            self.noted(person, answers[-1:], "edited")
        else:
            self.noted(person, [one for one in tree if one.id == parent], "continued")

    def noted(self, person: Person, about: Sequence[ChatMessage], kind: str) -> None:
        """Notes a signal beside the answer, which does not wait for it."""
        for message in about:
            task = asyncio.create_task(self._note(person, message, kind))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def _note(self, person: Person, message: ChatMessage, kind: str) -> None:
        try:
            await asyncio.to_thread(self._store.listening.signal, person.id, message, kind, self._clock())
        except (ChatwrightError, SQLAlchemyError) as error:
            log.warning("a signal (%s) could not be kept (%s)", kind, error)

    async def close(self) -> None:
        """Waits for what is being noted."""
        if self._noting:
            await asyncio.wait(self._noting)
