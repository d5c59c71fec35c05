"""What a model is sent of a chat. Pure: a branch of messages in, OpenAI's messages out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatwright.store.chats import ChatMessage


def prompt_of(branch: Sequence[ChatMessage], instructions: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The branch as OpenAI's messages, behind one system message of all `instructions` that say something.

    A question whose answer came to nothing is left out with that answer, except for the last one, which is asked now.
    """
    said: list[dict[str, Any]] = []
    for index, message in enumerate(branch):
        following = branch[index + 1] if index + 1 < len(branch) else None
        if message.role == "user":
            if following is None or following.content:
                said.append({"role": "user", "content": with_attachments(message)})
        elif message.content:
            said.append({"role": "assistant", "content": message.content})
    told = "\n\n".join(text.strip() for text in instructions if text.strip())
    return [{"role": "system", "content": told}, *said] if told else said


def with_attachments(message: ChatMessage) -> str:
    """A message and the text files that were added to it, each behind its name."""
    files = [f"{one['name']}:\n\n{fenced(one['text'])}" for one in message.attachments]
    return "\n\n".join([*([message.content] if message.content else []), *files])


def fenced(text: str) -> str:
    """A code block of Markdown that nothing in the text can close."""
    longest = 0
    for line in text.splitlines():
        stripped = line.lstrip()
        longest = max(longest, len(stripped) - len(stripped.lstrip("`")))
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def remembered(memories: Sequence[str]) -> str:
    """What is known of the person, as one of the instructions."""
    if not memories:
        return ""
    return "What you know about the person you talk to:\n" + "\n".join(f"- {text}" for text in memories)


def title_of(text: str, most: int = 60) -> str:
    """A chat's title until somebody gives it another: the first line of its first message, cut between words."""
    line = " ".join(next((line for line in text.splitlines() if line.strip()), "").split())
    if len(line) <= most:
        return line
    return line[: most + 1].rsplit(" ", 1)[0].rstrip(",;:")[:most] + "…"
