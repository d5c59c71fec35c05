"""What the routes of chats do: open a turn in the tree, let it be answered, find what belongs to whom."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.errors import invalid
from chatwright.product.chats.bodies import Again, Turn
from chatwright.product.chats.generation import Ask, Generation, Writer
from chatwright.product.chats.prompt import prompt_of, remembered, title_of
from chatwright.product.chats.streams import followed
from chatwright.product.recording import prompt_hash
from chatwright.product.serving import ServedModel
from chatwright.store import Person, Store
from chatwright.store.chats import OPEN, Chat, ChatMessage, branch

TEMPORARY_HOURS = 24
MOST_MESSAGES = 20_000
"""Messages in one chat."""

Opens = Callable[[str, Person], tuple[ServedModel, Ask]]
"""A model by name or id ("": the default), and how it is asked; raises ApiError where the person has none such."""


Writing = tuple[ChatMessage, dict[str, Any], Ask]
"""An answer that is to be written, what its model is asked, and how."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn: its question (None where one was asked before) and its answers."""

    chat: Chat
    user: ChatMessage | None
    answers: list[ChatMessage]


class Desk:
    """The chats of one gateway."""

    def __init__(self, store: Store, opens: Opens, writer: Writer, ending: Callable[[], bool]) -> None:
        self.store, self.writer, self.ending = store, writer, ending
        self._opens = opens

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
        return self._start(*await asyncio.to_thread(self._question, person, ident, turn))

    async def again(self, person: Person, ident: str, message: str, turn: Again, *, rest: bool) -> Begun:
        """Another answer to the question of `message`; with `rest`, one that begins as that message and goes on."""
        return self._start(*await asyncio.to_thread(self._another, person, ident, message, turn, rest))

    def _question(self, person: Person, ident: str, turn: Turn) -> tuple[Begun, list[Writing]]:
        chat, tree = self._open(ident, person)
        parent = next((message for message in tree if message.id == turn.parent), None)
        if turn.parent is not None and parent is None:
            raise ApiError(404, f"there is no message {turn.parent!r} in this chat", "message_not_found", "parent")
        if parent is not None and parent.role != "assistant":
            raise invalid("parent", "a question follows an answer")
        models = [self._opens(name, person) for name in turn.models or [turn.model or chat.model]]
        user = ChatMessage(
            f"m-{secrets.token_hex(12)}", chat.id, turn.parent, turn.id, "user", turn.text, datetime.now(UTC),
            attachments=[one.model_dump() for one in turn.attachments],
        )  # fmt: skip
        said = [*branch(tree, turn.parent), user]
        titled = chat.titled or turn.parent is not None
        changes = {} if titled else {"title": title_of(turn.text or turn.attachments[0].name)}
        return self._enter(person, chat, user, said, turn.id, models, changes)

    def _another(
        self, person: Person, ident: str, message: str, turn: Again, rest: bool
    ) -> tuple[Begun, list[Writing]]:  # fmt: skip
        chat, tree = self._open(ident, person)
        old = next((one for one in tree if one.id == message), None)
        if old is None:
            raise ApiError(404, f"there is no message {message[:80]!r} in this chat", "message_not_found")
        if old.role != "assistant" or old.status == OPEN:
            raise invalid("message", "only an answer that has ended can be asked for again")
        model = self._opens((old.version if rest else turn.model) or chat.model or old.version, person)
        if rest and (not old.content or model[0].url):
            raise ApiError(409, "this answer cannot be continued; ask for another one", "not_continuable")
        beginning = old.content if rest else ""
        return self._enter(person, chat, None, branch(tree, old.parent), turn.id, [model], {}, beginning)

    def _open(self, ident: str, person: Person) -> tuple[Chat, list[ChatMessage]]:
        found = self.store.chats.open(ident, person.id)
        if found is None:
            raise _no_chat(ident)
        if len(found[1]) >= MOST_MESSAGES:
            raise ApiError(409, f"a chat has at most {MOST_MESSAGES:,} messages; begin another", "chat_full")
        return found

    def _enter(
        self, person: Person, chat: Chat, user: ChatMessage | None, said: Sequence[ChatMessage], turn: str,
        models: Sequence[tuple[ServedModel, Ask]], changes: Mapping[str, Any], beginning: str = "",
    ) -> tuple[Begun, list[Writing]]:  # fmt: skip
        """Enters a turn; without writings where it was entered before."""
        now = datetime.now(UTC)
        prompt = prompt_of(said, self._instructions(person, chat))
        digest = prompt_hash(prompt)
        answers = [
            ChatMessage(
                f"m-{secrets.token_hex(12)}", chat.id, said[-1].id, turn, "assistant", beginning, now, OPEN,
                model=model.name, version=model.id, prompt_hash=digest, host=self.writer.host, beat=now,
            )
            for model, _ in models
        ]  # fmt: skip
        changes = {**changes, "leaf": answers[0].id}
        made, new = self.store.chats.add(chat, [*([user] if user else []), *answers], changes)
        chat = replace(chat, changed=now, **changes) if new else self.chat(chat.id, person)
        answers = [one for one in made if one.role == "assistant"]
        begun = Begun(chat, next((one for one in made if one.role == "user"), None), answers)
        body = body_of(prompt, beginning)
        asked = [(message, body, ask) for message, (_, ask) in zip(answers, models, strict=True)] if new else []
        return begun, asked

    def _start(self, begun: Begun, asked: list[Writing]) -> Begun:
        for message, body, ask in asked:
            self.writer.start(message, body, ask)
        return begun

    def _instructions(self, person: Person, chat: Chat) -> list[str]:
        chosen = person.settings
        known = []
        if chosen.get("memory") and not chat.temporary:
            known = [memory.text for memory in self.store.memories.all(person.id)]
        return [chat.system, str(chosen.get("instructions") or ""), str(chosen.get("about") or ""), remembered(known)]

    # Watching.

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
