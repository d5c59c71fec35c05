"""Rating, flagging and comparing over a real gateway, and what the server notes by itself."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from scipy.stats import binomtest
from tests.product.chatting import Heard, Talker
from tests.product.running import Running, eventually, start_gateway, stop_gateway, write_serving

from chatwright.product.chats.shown import HIDDEN
from chatwright.store import Store, sqlite_url
from chatwright.store.engine import transaction
from chatwright.store.tables import comparisons, flags, messages, ratings, signals

HOSTILE = "<script>alert(1)</script> ](javascript:x) \u202eevil {{7*7}} '; DROP TABLE ratings; -- =cmd|'/c calc'!A0"


@pytest.fixture
def talker(gateway: Running) -> Talker:
    return Talker(gateway.client)


@pytest.fixture(scope="module")
def comparing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Every turn gets two answers, of any two versions."""
    workspace = tmp_path_factory.mktemp("comparing")
    write_serving(workspace, ("sft", "ppo"))
    choose(workspace, compare_rate=1.0, compare_with=["same", "sft"], feedback_per_minute=1_000)
    running = start_gateway(workspace)
    running.wait_ready("ppo")
    running.wait_ready("sft")
    yield running
    stop_gateway(running)


def choose(workspace: Path, **values: Any) -> None:
    with Store.open(sqlite_url(workspace / "chatwright.db")) as store:
        now = datetime.now(UTC)
        store.choices.choose(values, store.people.local(now), now)


def rows(running: Running, table: Any, **where: Any) -> list[Any]:
    query = table.select().where(*(table.c[name] == value for name, value in where.items()))
    with Store.open(sqlite_url(running.workspace / "chatwright.db")) as store, \
         transaction(store._engine, writes=False) as connection:  # fmt: skip
        return list(connection.execute(query))


def rate(talker: Talker, heard: Heard, value: int, **more: Any) -> httpx.Response:
    path = f"/api/chats/{heard.chat['id']}/messages/{heard.answer['id']}/rating"
    return talker.client.put(path, json={"value": value, **more})


def test_a_rating_is_shown_changed_and_taken_back(talker: Talker, gateway: Running) -> None:
    heard = talker.ask(talker.new()["id"], "hello")
    assert (heard.end["rating"], heard.end["flagged"], heard.end["comparison"]) == (None, False, None)

    def shown() -> Any:
        return talker.tree(heard.chat["id"])[heard.answer["id"]]["rating"]

    assert rate(talker, heard, 1, tags=["clear", "correct"], text=HOSTILE).status_code == 200
    assert shown() == {"value": 1, "tags": ["clear", "correct"], "text": HOSTILE}
    assert rate(talker, heard, -1, tags=["wrong"]).json() == {"value": -1, "tags": ["wrong"], "text": ""}
    assert shown()["value"] == -1
    assert rate(talker, heard, 0).status_code == 200
    assert shown() is None
    kept = rows(gateway, ratings, message=heard.answer["id"])
    assert sorted((row.number, row.value, row.newest) for row in kept) == [(1, 1, False), (2, -1, False), (3, 0, True)]
    assert {(row.model, row.version, row.consent) for row in kept} == {("ppo", "ppo-0123", False)}
    assert all(len(row.prompt_hash) == 64 for row in kept)


def test_what_makes_no_sense_is_refused_in_a_sentence(talker: Talker, gateway: Running) -> None:
    heard = talker.ask(talker.new()["id"], "hello")
    chat, answer, question = heard.chat["id"], heard.answer["id"], heard.user["id"]  # type: ignore[index]
    base = f"/api/chats/{chat}/messages/{answer}"
    for method, path, body, status in (
        ("PUT", f"{base}/rating", {"value": 2}, 400),
        ("PUT", f"{base}/rating", {"value": True}, 400),
        ("PUT", f"{base}/rating", {"value": 1, "tags": ["wrong"]}, 400),
        ("PUT", f"{base}/rating", {"value": -1, "tags": ["creative"]}, 400),
        ("PUT", f"{base}/rating", {"value": 0, "tags": ["other"]}, 400),
        ("PUT", f"{base}/rating", {"value": -1, "text": "x" * 5_000}, 400),
        ("PUT", f"{base}/rating", {"value": -1, "text": "a\0b"}, 400),
        ("PUT", f"{base}/rating", {"value": -1, "tags": ["x" * 99] * 99}, 400),
        ("PUT", f"{base}/rating", {}, 400),
        ("PUT", f"/api/chats/{chat}/messages/{question}/rating", {"value": 1}, 400),
        ("PUT", f"/api/chats/{chat}/messages/m-none/rating", {"value": 1}, 404),
        ("PUT", f"/api/chats/c-none/messages/{answer}/rating", {"value": 1}, 404),
        ("POST", f"{base}/flag", {"reason": "dull"}, 400),
        ("POST", f"{base}/signals", {"kind": "regenerated"}, 400),
        ("PUT", "/api/comparisons/cmp-none", {"choice": "left"}, 404),
        ("PUT", "/api/comparisons/cmp-none", {"choice": "middle"}, 400),
    ):
        refused = talker.client.request(method, path, json=body)
        assert refused.status_code == status, (path, body, refused.text)
        assert len(refused.json()["error"]["message"]) > 10
    assert rows(gateway, ratings, chat=chat) == []
    assert rows(gateway, flags, chat=chat) == []


def test_a_flag_is_kept_and_shown(talker: Talker, gateway: Running) -> None:
    heard = talker.ask(talker.new()["id"], "hello")
    path = f"/api/chats/{heard.chat['id']}/messages/{heard.answer['id']}/flag"
    made = talker.client.post(path, json={"reason": "unsafe", "text": HOSTILE}).json()
    assert talker.tree(heard.chat["id"])[heard.answer["id"]]["flagged"]
    (row,) = rows(gateway, flags, id=made["id"])
    assert (row.reason, row.text, row.covers, row.state) == ("unsafe", HOSTILE, "message", "open")


def test_the_server_notes_what_people_do(talker: Talker, gateway: Running) -> None:
    chat = talker.new()["id"]
    first = talker.ask(chat, "one")
    second = talker.ask(chat, "two", first.answer["id"])
    edited = talker.ask(chat, "two, better", first.answer["id"])
    talker.again(chat, edited.answer["id"])
    slow = talker.ask(chat, "forever", edited.answer["id"], until=20)
    talker.stop(chat, slow.answer["id"], 10)
    talker.stop(chat, slow.answer["id"], 10)
    base = f"/api/chats/{chat}/messages/{first.answer['id']}/signals"
    for kind in ("copied", "copied", "abandoned"):
        assert talker.client.post(base, json={"kind": kind}).status_code == 201
    expected = {
        (first.answer["id"], "continued", 1), (second.answer["id"], "edited", 1),
        (edited.answer["id"], "regenerated", 1), (edited.answer["id"], "continued", 1),
        (slow.answer["id"], "stopped", 1), (first.answer["id"], "copied", 2), (first.answer["id"], "abandoned", 1),
    }  # fmt: skip
    eventually(lambda: {(row.message, row.kind, row.count) for row in rows(gateway, signals, chat=chat)} == expected)


def test_the_same_turn_again_is_noted_once(talker: Talker, gateway: Running) -> None:
    chat = talker.new()["id"]
    first = talker.ask(chat, "one")
    body = {"id": "turn-2", "parent": first.answer["id"], "text": "two"}
    for _ in range(3):
        talker.listen("POST", f"/api/chats/{chat}/turns", body)
    last = talker.ask(chat, "end", first.answer["id"])
    eventually(lambda: any(row.kind == "edited" for row in rows(gateway, signals, chat=chat)))
    assert last.done
    assert [(row.kind, row.count) for row in rows(gateway, signals, message=first.answer["id"])] == [("continued", 1)]


def test_a_thousand_rapid_ratings_leave_one_and_a_bounded_history(tmp_path: Path) -> None:
    write_serving(tmp_path, ("ppo",))
    choose(tmp_path, feedback_per_minute=25)
    running = start_gateway(tmp_path)
    try:
        running.wait_ready("ppo")
        talker = Talker(running.client)
        heard = talker.ask(talker.new()["id"], "hello")
        statuses: list[int] = []

        def tab(number: int) -> None:
            with httpx.Client(base_url=running.url, timeout=60) as client:
                for click in range(250):
                    said = rate(Talker(client), heard, 1 if click % 2 else -1, text=f"{number}.{click}")
                    statuses.append(said.status_code)
                    if said.status_code == 429:
                        assert int(said.headers["retry-after"]) > 0

        tabs = [threading.Thread(target=tab, args=(number,)) for number in range(4)]
        for one in tabs:
            one.start()
        for one in tabs:
            one.join()
        assert len(statuses) == 1_000
        accepted = statuses.count(200)
        assert statuses.count(429) == 1_000 - accepted
        kept = rows(running, ratings)
        assert len(kept) == accepted
        assert 25 <= accepted < 200  # a minute's worth, or a few where the machine is slow
        assert sum(row.newest for row in kept) == 1
        newest = next(row for row in kept if row.newest)
        assert talker.tree(heard.chat["id"])[heard.answer["id"]]["rating"]["text"] == newest.text
    finally:
        stop_gateway(running)


# Side by side.


def told(value: Any) -> bool:
    """Whether anything here names a model or a version."""
    text = json.dumps(value)
    return any(name in text for name in ("ppo", "sft", "0123"))


def test_nothing_tells_the_models_until_it_is_settled(comparing: Running) -> None:
    talker = Talker(comparing.client)
    chat = talker.new(title="blind")["id"]
    heard = talker.ask(chat, "which of you")
    left, right = heard.answers
    assert [one["comparison"]["side"] for one in heard.answers] == ["left", "right"]
    assert left["comparison"]["id"] == right["comparison"]["id"]
    shares = comparing.client.post(f"/api/chats/{chat}/shares", json={}).json()
    path = f"/api/chats/{chat}"
    seen = [
        heard.answers, heard.ends, heard.chat, talker.tree(chat), talker.watch(chat, {left["id"]: ""}).ends,
        comparing.client.get(f"{path}/export").json(), comparing.client.get(f"{path}/export?format=markdown").text,
        comparing.client.get(f"/api/shared/{shares['token']}").json(),
        comparing.client.get("/api/search", params={"q": "which"}).json(),
        rate(talker, heard, 1).json(),
        talker.stop(chat, left["id"], 3),
    ]  # fmt: skip
    for one in seen:
        assert not told(one), one
    refused = comparing.client.post(f"{path}/messages/{left['id']}/continue", json={"id": "t-c"})
    assert (refused.status_code, told(refused.json())) == (409, False)
    ident = left["comparison"]["id"]
    settled = comparing.client.put(f"/api/comparisons/{ident}", json={"choice": "left", "tags": ["clear"]}).json()
    assert settled["left"]["message"] == left["id"]
    after = talker.tree(chat)
    for side in ("left", "right"):
        shown = after[settled[side]["message"]]
        assert shown["comparison"] == {"id": ident, "side": side, "settled": "left"}
        assert (shown["model"], shown["version"]) == (settled[side]["model"], settled[side]["version"])
        assert told(shown)
    (row,) = rows(comparing, comparisons, id=ident)
    assert (row.left, row.right, row.choice) == (left["id"], right["id"], "left")
    assert {row.version, row.other_version} <= {"ppo-0123", "sft-0123"}


def test_a_failed_answer_does_not_tell_its_model_either(comparing: Running) -> None:
    talker = Talker(comparing.client)
    heard = talker.ask(talker.new()["id"], "please refuse")
    assert {(end["status"], end["detail"]) for end in heard.ends.values()} == {("failed", HIDDEN)}
    assert not told(heard.ends)


def test_what_is_settled_stays_and_the_same_again_is_harmless(comparing: Running) -> None:
    talker = Talker(comparing.client)
    heard = talker.ask(talker.new()["id"], "again")
    path = f"/api/comparisons/{heard.answer['comparison']['id']}"
    answers: list[int] = []

    def tab(choice: str) -> None:
        answers.append(httpx.put(comparing.url + path, json={"choice": choice}).status_code)

    tabs = [threading.Thread(target=tab, args=(choice,)) for choice in ("left", "right", "tie", "both_bad") * 4]
    for one in tabs:
        one.start()
    for one in tabs:
        one.join()
    assert Counter(answers) == {200: 4, 409: 12}
    (row,) = rows(comparing, comparisons, id=heard.answer["comparison"]["id"])
    assert comparing.client.put(path, json={"choice": row.choice, "text": "because"}).json()["text"] == "because"


def test_two_answers_must_have_ended_before_one_is_chosen(comparing: Running) -> None:
    talker = Talker(comparing.client)
    heard = talker.ask(talker.new()["id"], "forever", until=20)
    path = f"/api/comparisons/{heard.answer['comparison']['id']}"
    assert comparing.client.put(path, json={"choice": "left"}).json()["error"]["code"] == "comparison_open"
    for one in heard.answers:
        talker.stop(heard.chat["id"], one["id"], 5)
    assert comparing.client.put(path, json={"choice": "tie"}).status_code == 200


def test_sides_are_shuffled_and_the_order_of_the_tree_tells_nothing(comparing: Running) -> None:
    talker = Talker(comparing.client)
    chat = talker.new()["id"]
    for number in range(60):
        talker.ask(chat, f"n {number}")
    found = [row for row in rows(comparing, comparisons, chat=chat) if row.how == "version"]
    assert {row.how for row in rows(comparing, comparisons, chat=chat)} == {"version", "sample"}
    left = sum(row.version == "ppo-0123" for row in found)
    assert 5 < len(found) < 55
    assert binomtest(left, len(found)).pvalue > 1e-4
    numbers = {row.id: row.number for row in rows(comparing, messages, chat=chat)}
    assert all(numbers[row.left] < numbers[row.right] for row in found)


def test_turns_that_name_their_models_and_temporary_chats_are_not_compared(comparing: Running) -> None:
    talker = Talker(comparing.client)
    several = talker.ask(talker.new()["id"], "both", models=["sft", "ppo"])
    assert [one["model"] for one in several.answers] == ["sft", "ppo"]
    assert len(talker.ask(talker.new(temporary=True)["id"], "one").answers) == 1
    heard = talker.ask(talker.new()["id"], "regenerate me")
    again = talker.again(heard.chat["id"], heard.answer["id"])
    assert [one["model"] for one in again.answers] == ["ppo"]
