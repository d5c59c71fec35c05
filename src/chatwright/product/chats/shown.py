"""Chats and messages as the pages get them, and as somebody takes them along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatwright.store.chats import Chat, ChatMessage, Share
from chatwright.store.listening import PLAIN, Mark

HIDDEN = "this answer came to nothing; choose the other one, or ask again"


def chat_shown(chat: Chat) -> dict[str, Any]:
    names = ("id", "title", "titled", "pinned", "archived", "temporary", "system", "model", "training", "leaf")
    times = {"created": chat.created.isoformat(), "changed": chat.changed.isoformat()}
    return {name: getattr(chat, name) for name in names} | times


def message_shown(message: ChatMessage, mark: Mark = PLAIN) -> dict[str, Any]:
    """With what was said of it. Of an answer that is compared nothing tells which model wrote it."""
    names = ("id", "parent", "role", "content", "status", "model", "version", "detail", "dropped")
    files = [{"name": one["name"], "size": len(one["text"].encode())} for one in message.attachments]
    row = {name: getattr(message, name) for name in names} | {
        "created": message.created.isoformat(), "attachments": files, "turn": message.turn, "flagged": mark.flagged,
    }  # fmt: skip
    rated, compared = mark.rating, mark.comparison
    row["rating"] = rated and {"value": rated.value, "tags": list(rated.tags), "text": rated.text}
    row["comparison"] = compared and {"id": compared.id, "side": compared.side, "settled": compared.settled}
    return row | (_nameless(message) if mark.hidden else {})


def _nameless(message: ChatMessage) -> dict[str, Any]:
    """What a sentence of an error says, or how many turns did not fit, would tell the model too."""
    detail = HIDDEN if message.status in ("failed", "interrupted") else message.detail
    return {"model": "", "version": "", "detail": detail, "dropped": 0}


def share_shown(share: Share) -> dict[str, Any]:
    return {"id": share.id, "chat": share.chat, "title": share.title, "created": share.created.isoformat()}


def exported(chat: Chat, tree: Sequence[ChatMessage], marks: Mapping[str, Mark]) -> dict[str, Any]:
    """A chat with all its branches, whole, for the person whose it is."""
    rows = []
    for message in tree:
        mark = marks.get(message.id, PLAIN)
        sampling = {} if mark.hidden else message.sampling
        rows.append(message_shown(message, mark) | {"attachments": message.attachments, "sampling": sampling})
    return chat_shown(chat) | {"messages": rows}


def named(message: ChatMessage, marks: Mapping[str, Mark]) -> str:
    """The model's name, where it may be told."""
    return "" if marks.get(message.id, PLAIN).hidden else message.model


def as_markdown(title: str, branch: Sequence[ChatMessage], marks: Mapping[str, Mark]) -> str:
    """One branch as a document that people read."""
    parts = [f"# {title or 'Chat'}"]
    for message in branch:
        who = "You" if message.role == "user" else (named(message, marks) or "Assistant")
        parts.append(f"## {who}\n\n{message.content}".rstrip())
        parts += [f"*{one['name']}*\n\n{one['text']}" for one in message.attachments]
    return "\n\n".join(parts) + "\n"
