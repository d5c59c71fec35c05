"""What the routes of chats do: open a turn in the tree, let it be answered, find what belongs to whom."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.errors import invalid
from chatwright.product.chats.bodies import Again, Turn
from chatwright.product.chats.generation import Ask, Generation, Writer
from chatwright.product.chats.prompt import prompt_of, remembered, title_of
from chatwright.product.chats.shown import message_shown
from chatwright.product.chats.streams import followed
from chatwright.product.chosen import Choices
from chatwright.product.listening.listener import Listener
from chatwright.product.listening.pairing import Pair
from chatwright.product.recording import prompt_hash
from chatwright.product.serving import ServedModel
from chatwright.store import Person, Store
from chatwright.store.chats import OPEN, Chat, ChatMessage, branch
from chatwright.store.listening import PLAIN

TEMPORARY_HOURS = 24
DEFAULT = "default"
MOST_MESSAGES = 20_000
"""Messages in one chat."""


class Models(Protocol):
    """What may be asked; `model` raises ApiError where the person has none such, `asking` where they ask too much."""

    def model(self, wanted: str, person: Person) -> ServedModel: ...
    def asking(self, model: ServedModel, person: Person) -> Ask: ...


Writing = tuple[ChatMessage, dict[str, Any], Ask]
"""An answer that is to be written, what its model is asked, and how."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn: its question (None where one was asked before) and its answers; the tree before it; whether it is new,
    and whether its answers are two to choose from. `writings` are its answers that are to be written."""

    chat: Chat
    user: ChatMessage | None
    answers: list[ChatMessage]
    tree: list[ChatMessage]
    writings: list[Writing]
    compared: bool = False

    @property
    def new(self) -> bool:
        return bool(self.writings)


class Desk:
    """The chats of one gateway."""

    def __init__(
        self, store: Store, models: Models, writer: Writer, ending: Callable[[], bool], listener: Listener,
        sampling: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """`sampling` is how the engines of this gateway draw where nobody says otherwise."""
        self.store, self.writer, self.ending, self.listener = store, writer, ending, listener
        self._models, self._sampling = models, dict(sampling)

    # Finding. Somebody else's is not there.

    def chat(self, ident: str, person: Person) -> Chat:
        found = self.store.chats.get(ident, person.id)
        if found is None:
            raise _no_chat(ident)
        return found

    def message(self, chat: str, ident: str, person: Person) -> ChatMessage:
        found = self.store.chats.message(ident, person.id)
        if found is None or found.chat != chat:
            raise ApiError(404, f"there is no message {ident[:80]!r} in this chat", "message_not_found")
        return found

    def branch(self, chat: Chat, leaf: str | None) -> list[ChatMessage]:
        """The messages up to `leaf`, which must be one of the chat's; without it, those that are shown."""
        found = branch(self.store.chats.tree(chat.id), leaf or chat.leaf)
        if leaf is not None and not found:
            raise ApiError(404, f"there is no message {leaf[:80]!r} in this chat", "message_not_found")
        return found

    # Asking.

    def new(self, person: Person, **values: Any) -> Chat:
        now = datetime.now(UTC)
        expires = now + timedelta(hours=TEMPORARY_HOURS) if values.get("temporary") else None
        chat = Chat(f"c-{secrets.token_hex(12)}", person.id, now, now, expires=expires, **values)
        self.store.chats.create(replace(chat, titled=bool(chat.title)))
        return chat

    async def ask(self, person: Person, ident: str, turn: Turn) -> Begun:
        """A question at the end of a branch, and its answers begin."""
        if not turn.text.strip() and not turn.attachments:
            raise invalid("text", "write something first")
        choices = await self.listener.choices()
        begun = self._start(await asyncio.to_thread(self._question, person, ident, turn, choices))
        if begun.new:
            self.listener.asked(person, begun.tree, turn.parent)
        return begun

    async def again(self, person: Person, ident: str, message: str, turn: Again, *, rest: bool) -> Begun:
        """Another answer to the question of `message`; with `rest`, one that begins as that message and goes on."""
        await self.writer.settled(message)
        begun = self._start(await asyncio.to_thread(self._another, person, ident, message, turn, rest))
        if begun.new and not rest:
            self.listener.noted(person, [one for one in begun.tree if one.id == message], "regenerated")
        return begun

    def _question(self, person: Person, ident: str, turn: Turn, choices: Choices) -> Begun:
        chat, tree = self._open(ident, person)
        parent = next((message for message in tree if message.id == turn.parent), None)
        if turn.parent is not None and parent is None:
            raise ApiError(404, f"there is no message {turn.parent!r} in this chat", "message_not_found", "parent")
        if parent is not None and parent.role != "assistant":
            raise invalid("parent", "a question follows an answer")
        models = [self._models.model(name or DEFAULT, person) for name in turn.models or [turn.model or chat.model]]
        one = models[0].id if len(models) == 1 else None
        drawn = self.listener.pair(choices, person, chat, turn.id, one) if one else None
        if drawn is not None:
            models = [self._models.model(name, person) for name in (drawn.left, drawn.right)]
        user = ChatMessage(
            f"m-{secrets.token_hex(12)}", chat.id, turn.parent, turn.id, "user", turn.text, datetime.now(UTC),
            attachments=[one.model_dump() for one in turn.attachments],
        )  # fmt: skip
        titled = chat.titled or turn.parent is not None
        changes = {} if titled else {"title": title_of(turn.text or turn.attachments[0].name)}
        return self._enter(person, chat, tree, user, turn.parent, turn.id, models, changes, drawn=drawn)

    def _another(self, person: Person, ident: str, message: str, turn: Again, rest: bool) -> Begun:
        chat, tree = self._open(ident, person)
        old = next((one for one in tree if one.id == message), None)
        if old is None:
            raise ApiError(404, f"there is no message {message[:80]!r} in this chat", "message_not_found")
        if old.role != "assistant" or old.status == OPEN:
            raise invalid("message", "only an answer that has ended can be asked for again")
        hidden = self.listener.marks(ident).get(message, PLAIN).hidden
        if rest and hidden:
            raise ApiError(409, "say first which of the two answers is better", "comparison_open")
        known = "" if hidden else old.version
        model = self._models.model((old.version if rest else turn.model) or chat.model or known or DEFAULT, person)
        if rest and (not old.content or model.url):
            raise ApiError(409, "this answer cannot be continued; ask for another one", "not_continuable")
        beginning = old.content if rest else ""
        return self._enter(person, chat, tree, None, old.parent, turn.id, [model], {}, beginning)

    def _open(self, ident: str, person: Person) -> tuple[Chat, list[ChatMessage]]:
        found = self.store.chats.open(ident, person.id)
        if found is None:
            raise _no_chat(ident)
        if len(found[1]) >= MOST_MESSAGES:
            raise ApiError(409, f"a chat has at most {MOST_MESSAGES:,} messages; begin another", "chat_full")
        return found

    def _enter(
        self, person: Person, chat: Chat, tree: list[ChatMessage], user: ChatMessage | None, leaf: str | None,
        turn: str, models: Sequence[ServedModel], changes: Mapping[str, Any], beginning: str = "",
        drawn: Pair | None = None,
    ) -> Begun:  # fmt: skip
        """Enters a turn behind `leaf`; without writings where it was entered before."""
        now = datetime.now(UTC)
        said = [*branch(tree, leaf), *([user] if user else [])]
        prompt = prompt_of(said, self._instructions(person, chat))
        digest = prompt_hash(prompt)
        answers = [
            ChatMessage(
                f"m-{secrets.token_hex(12)}", chat.id, said[-1].id, turn, "assistant", beginning, now, OPEN,
                model=model.name, version=model.id, sampling={} if model.url else self._sampling,
                prompt_hash=digest, host=self.writer.host, beat=now,
            )
            for model in models
        ]  # fmt: skip
        changes = {**changes, "leaf": answers[0].id}
        asks = [self._models.asking(model, person) for model in models]
        entered = self.listener.enters(person, drawn)
        made, new = self.store.chats.add(chat, [*([user] if user else []), *answers], changes, entered)
        chat = replace(chat, changed=now, **changes) if new else self.chat(chat.id, person)
        answers = [one for one in made if one.role == "assistant"]
        body = body_of(prompt, beginning)
        writings = [(message, body, ask) for message, ask in zip(answers, asks, strict=True)] if new else []
        asked = next((one for one in made if one.role == "user"), None)
        return Begun(chat, asked, answers, tree, writings, drawn is not None)

    def _start(self, begun: Begun) -> Begun:
        for message, body, ask in begun.writings:
            self.writer.start(message, body, ask)
        return begun

    def _instructions(self, person: Person, chat: Chat) -> list[str]:
        chosen = person.settings
        known = []
        if chosen.get("memory") and not chat.temporary:
            known = [memory.text for memory in self.store.memories.all(person.id)]
        return [chat.system, str(chosen.get("instructions") or ""), str(chosen.get("about") or ""), remembered(known)]

    # Watching.

    async def shown(self, message: ChatMessage) -> dict[str, Any]:
        """A message as its page gets it, with what was said of it."""
        marks = await asyncio.to_thread(self.listener.marks, message.chat)
        return message_shown(message, marks.get(message.id, PLAIN))

    def follow(
        self, message: ChatMessage, person: Person, at: int = 0
    ) -> AsyncIterator[tuple[int, str] | ChatMessage]:  # fmt: skip
        return followed(self.writer, self.store.chats, message, person.id, at, self.ending)

    def writing(self, message: ChatMessage) -> Generation | None:
        return self.writer.get(message.id)


def body_of(prompt: Sequence[Mapping[str, Any]], beginning: str) -> dict[str, Any]:
    """What a model is asked: old turns go where they do not fit; an answer that has a beginning goes on from it."""
    body: dict[str, Any] = {"messages": [*prompt], "truncation": "auto"}
    if beginning:
        body["messages"].append({"role": "assistant", "content": beginning})
        body["continue_final_message"] = True
    return body


def _no_chat(ident: str) -> ApiError:
    return ApiError(404, f"there is no chat {ident[:80]!r}", "chat_not_found")
