"""Everything that is kept of a person, as one zip: JSON for programs, Markdown for people, files as they were."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from chatwright.product.chats.shown import as_markdown, exported
from chatwright.store import Person, Store, Uploads
from chatwright.store.chats import branch

IN_MEMORY = 16_000_000
"""Bytes; a larger archive grows on the disk."""
BLOCK = 1 << 16
NAMED = ("model", "version", "sampling", "other_model", "other_version", "other_sampling", "detail", "dropped")
"""What would tell the model of an answer that waits to be compared."""


def archive(store: Store, uploads: Uploads, person: Person) -> IO[bytes]:
    """The open zip, at its beginning."""
    out = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed by `blocks`
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        rows = store.belongings.rows(person.id)
        chats = rows.pop("chats")
        messages = rows.pop("messages")
        hidden = _hidden(rows["comparisons"])
        for one in (*rows["ratings"], *rows["flags"], *rows["signals"], *rows["comparisons"]):
            if hidden & {one.get("message"), one.get("left")}:
                one |= {name: None for name in NAMED if name in one}
        rows["chats"] = [{"id": chat["id"], "title": chat["title"]} for chat in chats]
        rows["messages"] = [{"id": one["id"], "chat": one["chat"]} for one in messages]
        made.writestr("data.json", _json(rows))
        for number, chat in enumerate(chats, 1):
            _add_chat(made, store, person, chat["id"], number)
        for row in rows["files"]:
            made.write(uploads.content(row["id"]), f"files/{row['id']}-{_harmless(row['filename'])}")
    out.seek(0)
    return out


def _add_chat(made: zipfile.ZipFile, store: Store, person: Person, ident: str, number: int) -> None:
    chat = store.chats.get(ident, person.id)
    if chat is None:
        return  # deleted while the archive is made
    tree, marks = store.chats.tree(ident), store.listening.marks(ident)
    name = f"chats/{number:04d}-{_harmless(chat.title)}"
    made.writestr(f"{name}.json", _json(exported(chat, tree, marks)))
    made.writestr(f"{name}.md", as_markdown(chat.title, branch(tree, chat.leaf), marks))


def _hidden(comparisons: list[dict[str, Any]]) -> set[str]:
    return {one[side] for one in comparisons if one["choice"] is None for side in ("left", "right")}


def _harmless(name: str) -> str:
    """Letters, digits, dots and dashes; no path, no hidden file."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "chat"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block
