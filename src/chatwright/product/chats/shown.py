"""Chats and messages as the pages get them, and as somebody takes them along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatwright.store.chats import Chat, ChatMessage, Share


def chat_shown(chat: Chat) -> dict[str, Any]:
    names = ("id", "title", "titled", "pinned", "archived", "temporary", "system", "model", "training", "leaf")
    times = {"created": chat.created.isoformat(), "changed": chat.changed.isoformat()}
    return {name: getattr(chat, name) for name in names} | times


def message_shown(message: ChatMessage) -> dict[str, Any]:
    names = ("id", "parent", "role", "content", "status", "model", "version", "detail", "dropped")
    files = [{"name": one["name"], "size": len(one["text"].encode())} for one in message.attachments]
    return {name: getattr(message, name) for name in names} | {
        "created": message.created.isoformat(), "attachments": files, "turn": message.turn,
    }  # fmt: skip


def share_shown(share: Share) -> dict[str, Any]:
    return {"id": share.id, "chat": share.chat, "title": share.title, "created": share.created.isoformat()}


def exported(chat: Chat, tree: Sequence[ChatMessage]) -> dict[str, Any]:
    """A chat with all its branches, whole, for the person whose it is."""
    rows = [
        message_shown(message) | {"attachments": message.attachments, "sampling": message.sampling} for message in tree
    ]  # fmt: skip
    return chat_shown(chat) | {"messages": rows}


def as_markdown(title: str, branch: Sequence[ChatMessage]) -> str:
    """One branch as a document that people read."""
    parts = [f"# {title or 'Chat'}"]
    for message in branch:
        who = "You" if message.role == "user" else (message.model or "Assistant")
        parts.append(f"## {who}\n\n{message.content}".rstrip())
        parts += [f"*{one['name']}*\n\n{one['text']}" for one in message.attachments]
    return "\n\n".join(parts) + "\n"
