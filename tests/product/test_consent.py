"""Consent, what is kept of a person, all of it to take along, and its end, over a real gateway."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.product.chatting import Heard, Talker
from tests.product.running import Running, start_gateway, stop_gateway, write_serving
from tests.product.test_listening import choose, rate, rows, told

from chatwright.product.consent.wording import VERSION
from chatwright.product.listening.export import export
from chatwright.store import Store, sqlite_url
from chatwright.store.tables import chats, exported, memories, messages, ratings, withdrawals
from chatwright.workspace import finish


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    write_serving(tmp_path, ("sft", "ppo"))
    choose(tmp_path, compare_rate=1.0, compare_with=["sft"], feedback_per_minute=1_000)
    made = start_gateway(tmp_path)
    made.wait_ready("ppo")
    made.wait_ready("sft")
    yield made
    stop_gateway(made)


@pytest.fixture
def talker(running: Running) -> Talker:
    return Talker(running.client)


def allow(running: Running, training: bool) -> dict[str, Any]:
    answer = running.client.put("/api/me/consent", json={"training": training})
    assert answer.status_code == 200, answer.text
    return answer.json()


def settle(running: Running, text: str) -> Heard:
    """Asks and chooses the left answer; the scripted engine says the same twice, so the right one is made another."""
    talker = Talker(running.client)
    heard = talker.ask(talker.new()["id"], text)
    with Store.open(sqlite_url(running.workspace / "chatwright.db")) as store:
        store.chats.end(heard.answers[1]["id"], {"content": "No."}, opened=False)
    path = f"/api/comparisons/{heard.answer['comparison']['id']}"
    assert talker.client.put(path, json={"choice": "left"}).status_code == 200
    return heard


def exporting(running: Running, name: str = "said.jsonl", kind: Any = "comparison") -> list[dict[str, Any]]:
    """As `chatwright feedback export` does, beside the running gateway."""
    out = running.workspace / name
    with Store.open(sqlite_url(running.workspace / "chatwright.db")) as store:
        export(store, kind, out, datetime.now(UTC), "operator")
    return [json.loads(line) for line in out.read_text().splitlines()]


def learn(running: Running, kind: str, **parents: str) -> str:
    """An artefact as a training verb leaves it."""
    folder = running.workspace / "artefacts" / f"{kind}-made"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(kind)
    return finish(folder, kind=kind, name=kind, parents=parents, config={}, seed=1, figures={}).id


def test_nobody_has_allowed_anything_until_they_say_so(running: Running, talker: Talker) -> None:
    before = running.client.get("/api/me/consent").json()
    assert (before["training"], before["data"], before["version"]) == (False, [], VERSION)
    assert len(before["wording"]) > 80
    assert allow(running, True)["version"] == VERSION
    wrong = running.client.put("/api/me/consent", json={"training": True, "version": "1999"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (409, "wording_changed")
    for bad in ({}, {"training": "yes"}, {"training": None}):
        assert running.client.put("/api/me/consent", json=bad).status_code == 400
    allow(running, False)
    chat = talker.new()["id"]
    for choice in (True, True, None):
        shown = running.client.patch(f"/api/chats/{chat}", json={"training": choice}).json()
        assert shown["training"] is choice
    log = running.client.get("/api/me/consent").json()["data"]
    assert [(line["chat"], line["training"]) for line in log] == [
        (None, True), (None, False), (chat, True), (chat, None),
    ]  # fmt: skip


def test_consent_withdrawn_between_rating_and_export(running: Running, talker: Talker) -> None:
    allow(running, True)
    kept, other = settle(running, "kept"), settle(running, "other")
    assert rate(talker, kept, 1).status_code == 200
    assert [row["prompt"][0]["content"] for row in exporting(running)] == ["kept", "other"]
    assert [row["value"] for row in exporting(running, "r.jsonl", "rating")] == [1]
    model = learn(running, "reward", feedback=exporting(running)[0]["meta"]["export"])
    running.client.patch(f"/api/chats/{other.chat['id']}", json={"training": False})
    assert [row["prompt"][0]["content"] for row in exporting(running)] == ["kept"]
    told_ = allow(running, False)
    assert told_["used"] == [{"id": model, "kind": "reward", "name": "reward"}]
    with pytest.raises(Exception, match="there is no comparison to export"):
        exporting(running)
    taken = rows(running, withdrawals)
    assert [(row.chat, row.why) for row in taken] == [
        (other.chat["id"], "consent withdrawn"),
        (None, "consent withdrawn"),
    ]
    assert json.loads(taken[1].artefacts) == [model]
    allow(running, True)
    settle(running, "anew")
    assert [row["prompt"][0]["content"] for row in exporting(running)] == ["anew"]


def test_what_is_kept_and_what_learned_from_it(running: Running, talker: Talker) -> None:
    allow(running, True)
    heard = settle(running, "wörds 👋")
    first = exporting(running)[0]["meta"]["export"]
    reward = learn(running, "reward", feedback=first)
    policy = learn(running, "ppo", reward=reward, sft="sft-0")
    learn(running, "dpo", feedback="export-of-somebody-else")
    data = running.client.get("/api/me/data").json()
    assert [one["id"] for one in data["used"]] == sorted([reward, policy])
    assert (data["counts"]["chats"], data["counts"]["messages"], data["counts"]["comparisons"]) == (1, 3, 1)
    assert data["bytes"]["messages"] > len("wörds 👋".encode()) * 3
    gone = running.client.delete(f"/api/chats/{heard.chat['id']}").json()
    assert [one["id"] for one in gone["used"]] == sorted([reward, policy])
    assert [row.chat for row in rows(running, withdrawals)] == [heard.chat["id"]]


def test_everything_can_be_taken_along(running: Running, talker: Talker) -> None:
    blind = talker.ask(talker.new(title="../../etc/passwd")["id"], "which")
    seen = settle(running, "<b>seen</b>")
    rate(talker, seen, -1, tags=["wrong"], text="no!")
    rate(talker, blind, 1)
    running.client.post("/api/me/memories", json={"text": "likes tea"})
    share = running.client.post(f"/api/chats/{seen.chat['id']}/shares", json={}).json()
    uploaded = running.client.post("/v1/files", files={"file": ("a.txt", b"content")}, data={"purpose": "user_data"})
    answer = running.client.get("/api/me/export")
    assert answer.headers["content-disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        names = found.namelist()
        assert not any(name.startswith("/") or ".." in name.split("/") for name in names)
        data = json.loads(found.read("data.json"))
        texts = {name: found.read(name).decode() for name in names}
    assert [one["text"] for one in data["memories"]] == ["likes tea"]
    assert {(one["value"], one["text"]) for one in data["ratings"]} == {(-1, "no!"), (1, "")}
    assert len([name for name in names if name.startswith("chats/") and name.endswith(".md")]) == 2
    assert any("<b>seen</b>" in text for name, text in texts.items() if name.endswith(".md"))
    assert share["token"] not in answer.text
    assert share["id"] not in texts["data.json"]
    assert "password" not in data["account"][0]
    unsettled = [text for name, text in texts.items() if "etc-passwd" in name]
    assert len(unsettled) == 2
    assert not any(told(text) for text in unsettled)
    hidden = [one for one in data["comparisons"] if one["choice"] is None]
    assert not told(hidden)
    assert not told([one for one in data["ratings"] if one["message"] == blind.answer["id"]])
    assert uploaded.status_code == 200


def test_the_end_of_an_account_reaches_everything(running: Running, talker: Talker) -> None:
    allow(running, True)
    heard = settle(running, "mine")
    rate(talker, heard, 1)
    running.client.post("/api/me/memories", json={"text": "likes tea"})
    slow = talker.ask(talker.new()["id"], "forever", until=30)
    model = learn(running, "reward", feedback=exporting(running)[0]["meta"]["export"])
    for body, status in (({}, 403), ({"confirm": "yes"}, 400), ({"password": "x"}, 403)):
        assert running.client.request("DELETE", "/api/me", json=body).status_code == status
    assert len(rows(running, chats)) == 2
    gone = running.client.request("DELETE", "/api/me", json={"confirm": "delete"}).json()
    assert [one["id"] for one in gone["used"]] == [model]
    assert gone["deleted"]["chats"] == 2
    for table in (chats, messages, ratings, memories):
        assert rows(running, table) == []
    assert len(rows(running, exported)) == 1  # that it was used stays known
    assert [(row.why, json.loads(row.artefacts)) for row in rows(running, withdrawals)] == [
        ("account deleted", [model])
    ]
    assert running.client.get(f"/api/chats/{slow.chat['id']}").status_code == 404
    assert running.client.get("/api/me/data").json()["counts"]["chats"] == 0
    assert talker.ask(talker.new()["id"], "again").done  # this installation is still somebody's
