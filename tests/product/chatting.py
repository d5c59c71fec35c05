"""Talks to /api/chats as a page does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Heard:
    """What a stream of events said."""

    user: dict[str, Any] | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)
    chat: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: bool = False

    @property
    def answer(self) -> dict[str, Any]:
        return self.answers[0]

    @property
    def text(self) -> str:
        return self.texts.get(self.answer["id"], "")

    @property
    def end(self) -> dict[str, Any]:
        return self.ends[self.answer["id"]]


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def hear(heard: Heard, name: str, data: dict[str, Any]) -> None:
    """Takes one event; a piece that leaves a gap or repeats fails."""
    if name == "turn":
        heard.user, heard.answers, heard.chat = data["user"], data["answers"], data["chat"]
        heard.texts = {one["id"]: heard.texts.get(one["id"], "") for one in data["answers"]}
    elif name == "text":
        before = heard.texts.setdefault(data["message"], "")
        assert data["at"] == units(before), (data, before)
        heard.texts[data["message"]] = before + data["text"]
    elif name == "end":
        heard.ends[data["message"]["id"]] = data["message"]
    elif name == "done":
        heard.done = True


@dataclass
class Talker:
    """One person's page: a client with whatever signs it in."""

    client: httpx.Client

    def new(self, **values: Any) -> dict[str, Any]:
        answer = self.client.post("/api/chats", json=values)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def ask(self, chat: str, text: str, parent: str | None = None, *, until: int | None = None, **more: Any) -> Heard:
        """Asks and listens to the end, or until that many characters came: then the connection is dropped."""
        body = {"id": uuid.uuid4().hex, "parent": parent, "text": text, **more}
        return self.listen("POST", f"/api/chats/{chat}/turns", body, until=until)

    def again(self, chat: str, message: str, how: str = "regenerate", **more: Any) -> Heard:
        body = {"id": uuid.uuid4().hex, **more}
        return self.listen("POST", f"/api/chats/{chat}/messages/{message}/{how}", body)

    def watch(self, chat: str, had: dict[str, str] | None = None, until: int | None = None) -> Heard:
        """Attaches to what is being written; `had` are the texts that are known already."""
        said = ",".join(f"{ident}:{units(text)}" for ident, text in (had or {}).items())
        heard = Heard(texts=dict(had or {}))
        return self.listen("GET", f"/api/chats/{chat}/stream?from={said}", None, heard=heard, until=until)

    def listen(
        self, method: str, path: str, body: Any, *, until: int | None = None, heard: Heard | None = None
    ) -> Heard:  # fmt: skip
        heard = heard or Heard()
        with self.client.stream(method, path, json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                raise AssertionError(f"{answer.status_code} {answer.text}")
            for name, data in events(answer.iter_lines()):
                hear(heard, name, data)
                if until is not None and sum(map(len, heard.texts.values())) >= until:
                    break
        return heard

    def stop(self, chat: str, message: str, seen: int) -> dict[str, Any]:
        answer = self.client.post(f"/api/chats/{chat}/messages/{message}/stop", json={"seen": seen})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tree(self, chat: str) -> dict[str, dict[str, Any]]:
        answer = self.client.get(f"/api/chats/{chat}")
        assert answer.status_code == 200, answer.text
        return {one["id"]: one for one in answer.json()["messages"]}
