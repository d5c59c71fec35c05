"""Two gateways on one PostgreSQL behave as one: answers are followed, stopped and mourned on either."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.product.chatting import Talker, units
from tests.product.running import eventually, start_gateway, stop_gateway, write_serving


@pytest.fixture
def pair(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Talker, Talker, int]]:
    """A page on each of two gateways, and the process of the first."""
    running = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_serving(tmp_path / name, ("ppo",))
        running.append(start_gateway(tmp_path / name, database=postgres_url))
    for one in running:
        one.wait_ready("ppo")
    yield Talker(running[0].client), Talker(running[1].client), running[0].process.pid
    for one in running:
        stop_gateway(one)


def test_an_answer_is_followed_and_stopped_from_another_gateway(pair: tuple[Talker, Talker, int]) -> None:
    here, there, _ = pair
    chat = here.new(title="shared")["id"]
    assert [one["id"] for one in there.client.get("/api/chats").json()["data"]] == [chat]
    slow = here.ask(chat, "slow but sure it comes", until=5)
    followed = there.watch(chat)
    assert followed.texts[slow.answer["id"]] == "You said: slow but sure it comes"
    endless = here.ask(chat, "forever slow", slow.answer["id"], until=30)
    seen = endless.text[:12]
    stopped = there.stop(chat, endless.answer["id"], units(seen))
    assert (stopped["status"], stopped["content"]) == ("stopped", seen)
    assert here.tree(chat)[endless.answer["id"]]["content"] == seen
    again = there.ask(chat, "and here?", endless.answer["id"])
    assert here.tree(chat)[again.answer["id"]]["content"] == "You said: and here?"


def test_what_a_dead_gateway_was_writing_is_marked_by_the_other(pair: tuple[Talker, Talker, int]) -> None:
    here, there, process = pair
    chat = here.new()["id"]
    endless = here.ask(chat, "forever slow", until=30)
    eventually(lambda: there.tree(chat)[endless.answer["id"]]["content"])
    os.kill(process, signal.SIGKILL)
    followed = there.watch(chat)
    end = followed.ends[endless.answer["id"]]
    assert end["status"] == "interrupted"
    assert end["content"] == followed.texts[endless.answer["id"]]
    assert there.ask(chat, "go on", endless.answer["id"]).end["content"] == "You said: go on"
