"""Chats on the server: trees, answers that outlive their connection, stopping, continuing, searching, sharing."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from tests.product.chatting import Heard, Talker, units
from tests.product.running import Running, eventually, start_gateway, stop_gateway, write_serving


@pytest.fixture
def talker(gateway: Running) -> Talker:
    return Talker(gateway.client)


def test_a_turn_is_streamed_and_kept(talker: Talker) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "hello 👋")
    assert heard.text == "You said: hello 👋"
    assert heard.done
    assert heard.end["content"] == heard.text
    assert (heard.end["status"], heard.end["detail"]) == ("done", "stop")
    assert (heard.end["model"], heard.end["version"]) == ("ppo", "ppo-0123")
    assert heard.chat["title"] == "hello 👋"
    tree = talker.tree(chat["id"])
    assert [one["content"] for one in tree.values()] == ["hello 👋", "You said: hello 👋"]
    assert tree[heard.answer["id"]]["parent"] == heard.user["id"]  # type: ignore[index]


def test_the_same_turn_again_is_no_second_one(talker: Talker) -> None:
    chat = talker.new()
    body = {"id": "turn-1", "parent": None, "text": "once"}
    first = talker.listen("POST", f"/api/chats/{chat['id']}/turns", body)
    second = talker.listen("POST", f"/api/chats/{chat['id']}/turns", body)
    assert first.answer["id"] == second.answer["id"]
    assert second.text == "You said: once"
    assert len(talker.tree(chat["id"])) == 2


def test_an_answer_goes_on_without_its_reader_and_is_found_again(talker: Talker) -> None:
    chat = talker.new()
    dropped = talker.ask(chat["id"], "slow and steady it goes", until=8)
    assert not dropped.done
    again = talker.watch(chat["id"], dropped.texts)
    assert again.done
    assert again.texts[dropped.answer["id"]] == "You said: slow and steady it goes"
    later = talker.watch(chat["id"], dropped.texts)
    assert later.texts[dropped.answer["id"]] == "You said: slow and steady it goes"
    assert later.ends[dropped.answer["id"]]["status"] == "done"


def test_two_pages_on_one_chat_see_the_same(talker: Talker, gateway: Running) -> None:
    chat = talker.new()
    dropped = talker.ask(chat["id"], "slow for two readers", until=5)
    found: list[str] = []

    def read() -> None:
        with httpx.Client(base_url=gateway.url, timeout=60) as client:
            found.append(Talker(client).watch(chat["id"]).texts[dropped.answer["id"]])

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == ["You said: slow for two readers"] * 4


def test_stop_stops_the_engine_and_keeps_what_was_seen(talker: Talker, gateway: Running) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "forever 👋", until=40)
    seen = heard.text[:25]
    stopped = talker.stop(chat["id"], heard.answer["id"], units(seen))
    assert (stopped["content"], stopped["status"]) == (seen, "stopped")
    assert talker.tree(chat["id"])[heard.answer["id"]]["content"] == seen
    running = 'chatwright_requests_running{model="ppo"'
    eventually(lambda: all(
        float(line.split()[-1]) == 0 for line in gateway.client.get("/metrics").text.splitlines()
        if line.startswith(running)
    ))  # fmt: skip
    assert talker.stop(chat["id"], heard.answer["id"], 3)["content"] == seen


def test_half_a_character_is_never_kept(talker: Talker) -> None:
    chat = talker.new()
    script = json.dumps({"script": ["a", "👋", "b", *["c"] * 5000]})
    heard = talker.ask(chat["id"], script, until=20)
    assert talker.stop(chat["id"], heard.answer["id"], 2)["content"] == "a"


def test_what_ended_before_the_page_showed_it_is_cut_too(talker: Talker) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "quick")
    assert talker.stop(chat["id"], heard.answer["id"], 8)["content"] == "You said"


def test_regenerating_makes_a_sibling_and_editing_a_branch(talker: Talker) -> None:
    chat = talker.new()
    first = talker.ask(chat["id"], "one")
    second = talker.ask(chat["id"], "two", first.answer["id"])
    other = talker.again(chat["id"], second.answer["id"], model="sft")
    assert other.user is None
    assert other.end["model"] == "sft"
    edited = talker.ask(chat["id"], "two, edited", first.answer["id"])
    tree = talker.tree(chat["id"])
    assert tree[other.answer["id"]]["parent"] == tree[second.answer["id"]]["parent"]
    assert edited.user is not None
    assert tree[edited.user["id"]]["parent"] == first.answer["id"]
    assert len(tree) == 7
    assert talker.client.get(f"/api/chats/{chat['id']}").json()["chat"]["leaf"] == edited.answer["id"]
    back = talker.client.patch(f"/api/chats/{chat['id']}", json={"leaf": second.answer["id"]})
    assert back.json()["leaf"] == second.answer["id"]


def test_several_models_answer_one_question(talker: Talker) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "both of you", models=["sft", "ppo"])
    assert [one["model"] for one in heard.answers] == ["sft", "ppo"]
    assert {heard.ends[one["id"]]["content"] for one in heard.answers} == {"You said: both of you"}


def test_an_answer_that_was_stopped_goes_on_as_a_sibling(talker: Talker) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "hello there")
    talker.stop(chat["id"], heard.answer["id"], 8)
    rest = talker.again(chat["id"], heard.answer["id"], "continue")
    # The scripted engine repeats its whole prompt, whose end is the beginning of the answer.
    assert rest.end["content"] == "You said" + "You said: hello thereYou said"
    assert rest.text == rest.end["content"]


def test_files_are_shown_to_the_model_behind_their_names(talker: Talker) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "read", attachments=[{"name": "a.txt", "text": "x ``` y\n````"}])
    assert heard.end["content"] == "You said: read\n\na.txt:\n\n`````\nx ``` y\n````\n`````"
    assert heard.user is not None
    assert heard.user["attachments"] == [{"name": "a.txt", "size": 12}]


def test_bad_turns_are_refused_in_a_sentence_and_change_nothing(talker: Talker) -> None:
    chat = talker.new()
    path = f"/api/chats/{chat['id']}/turns"
    for body, status in (
        ({"id": "t", "text": "   "}, 400),
        ({"id": "t", "text": "x", "parent": "m-none"}, 404),
        ({"id": "t", "text": "x", "model": "nobody"}, 404),
        ({"id": "t t", "text": "x"}, 400),
        ({"id": "t", "text": "a\0b"}, 400),
        ({"id": "t", "text": "x" * 300_000}, 400),
        ({"text": "x"}, 400),
        ([], 400),
    ):
        answer = talker.client.post(path, json=body)
        assert answer.status_code == status, (body, answer.text)
        assert len(answer.json()["error"]["message"]) > 10
    lone = talker.client.post(path, content=b'{"id": "t", "text": "\\ud800"}')
    assert lone.status_code == 400
    assert talker.tree(chat["id"]) == {}
    assert talker.client.get("/api/chats/c-none").status_code == 404


def test_chats_are_listed_pinned_archived_and_deleted(empty_gateway: Running) -> None:
    talker = Talker(empty_gateway.client)
    made = [talker.new(title=f"chat {number}")["id"] for number in range(5)]
    client = talker.client
    client.patch(f"/api/chats/{made[1]}", json={"pinned": True})
    client.patch(f"/api/chats/{made[2]}", json={"archived": True})
    talker.new(temporary=True)
    seen, cursor = [], None
    while True:
        page = client.get("/api/chats", params={"limit": 2} | ({"before": cursor} if cursor else {})).json()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next"]
        if not cursor:
            break
    assert seen == [made[1], made[4], made[3], made[0]]
    assert [one["id"] for one in client.get("/api/chats?archived=true").json()["data"]] == [made[2]]
    assert client.delete(f"/api/chats/{made[0]}").json() == {"deleted": [made[0]], "used": []}
    assert client.get(f"/api/chats/{made[0]}").status_code == 404
    assert len(client.delete("/api/chats").json()["deleted"]) == 5
    assert client.get("/api/chats").json()["data"] == []


def test_words_are_found_whatever_their_case_and_percent_signs_are_words(talker: Talker) -> None:
    chat = talker.new()
    talker.ask(chat["id"], "ÄRGER über 100% Wolle_x")
    other = talker.new()
    talker.ask(other["id"], "100 Prozent")

    def found(words: str) -> list[str]:
        rows = talker.client.get("/api/search", params={"q": words}).json()["data"]
        return [row["chat"]["id"] for row in rows if row["chat"]["id"] in (chat["id"], other["id"])]

    assert found("ärger") == [chat["id"]]
    assert found("100%") == [chat["id"]]
    assert found("wolle_X") == [chat["id"]]
    assert found("wolleyx") == []
    assert found("100") == [other["id"], chat["id"]]
    assert found("  ") == []
    snippet = talker.client.get("/api/search", params={"q": "wolle"}).json()["data"][0]["snippet"]
    assert "Wolle_x" in snippet


def test_a_shared_branch_stays_as_it_was_until_it_is_taken_back(talker: Talker) -> None:
    chat = talker.new()
    first = talker.ask(chat["id"], "public")
    made = talker.client.post(f"/api/chats/{chat['id']}/shares", json={}).json()
    talker.ask(chat["id"], "private", first.answer["id"])
    shown = talker.client.get(f"/api/shared/{made['token']}").json()
    assert [one["content"] for one in shown["messages"]] == ["public", "You said: public"]
    assert made["token"] not in json.dumps(talker.client.get("/api/shares").json())
    assert talker.client.delete(f"/api/shares/{made['id']}").status_code == 200
    assert talker.client.get(f"/api/shared/{made['token']}").status_code == 404


def test_a_chat_is_taken_along_whole(talker: Talker) -> None:
    chat = talker.new(title='a "title"/../x')
    first = talker.ask(chat["id"], "one", attachments=[{"name": "n.txt", "text": "content"}])
    talker.again(chat["id"], first.answer["id"])
    as_json = talker.client.get(f"/api/chats/{chat['id']}/export")
    assert as_json.headers["content-disposition"] == 'attachment; filename="a-title-x.json"'
    assert len(as_json.json()["messages"]) == 3
    assert as_json.json()["messages"][0]["attachments"] == [{"name": "n.txt", "text": "content"}]
    text = talker.client.get(f"/api/chats/{chat['id']}/export?format=markdown").text
    assert text.startswith('# a "title"/../x\n\n## You\n\none\n\n*n.txt*\n\ncontent\n\n## ppo\n\nYou said:')


def test_instructions_and_memories_reach_the_model(talker: Talker, gateway: Running) -> None:
    made = talker.client.post("/api/me/memories", json={"text": "likes tea"}).json()
    assert [one["text"] for one in talker.client.get("/api/me/memories").json()["data"]] == ["likes tea"]
    assert talker.client.patch(f"/api/me/memories/{made['id']}", json={"text": "likes coffee"}).status_code == 200
    assert talker.client.delete(f"/api/me/memories/{made['id']}").status_code == 200
    assert talker.client.delete(f"/api/me/memories/{made['id']}").status_code == 404


def test_a_killed_gateway_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Fifty streams, kill -9: every question is there once, every answer is marked, and can be continued."""
    write_serving(tmp_path, ("ppo",))
    running = start_gateway(tmp_path, max_batch=64)
    running.wait_ready("ppo")
    talker = Talker(running.client)
    chats = [talker.new()["id"] for _ in range(50)]
    heard: dict[str, str] = {}
    names = {chat: uuid.uuid4().hex for chat in chats}

    def ask(chat: str) -> None:
        with httpx.Client(base_url=running.url, timeout=60) as client:
            try:
                body = {"id": names[chat], "text": f"forever slow {chat}"}
                Talker(client).listen("POST", f"/api/chats/{chat}/turns", body)
            except httpx.HTTPError:
                heard[chat] = "cut"

    threads = [threading.Thread(target=ask, args=(chat,)) for chat in chats]
    for thread in threads:
        thread.start()

    def all_begun() -> bool:
        return all(len(found) == 2 and [*found.values()][1]["content"] for found in map(talker.tree, chats))

    eventually(all_begun)
    os.kill(running.process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    running.process.wait()
    stop_gateway(running)
    assert len(heard) == 50
    second = start_gateway(tmp_path)
    try:
        second.wait_ready("ppo")
        talker = Talker(second.client)
        ended = eventually(lambda: all(
            [*talker.tree(chat).values()][1]["status"] == "interrupted" for chat in chats
        ))  # fmt: skip
        assert ended
        for chat in chats:
            question, answer = talker.tree(chat).values()
            assert question["content"] == f"forever slow {chat}"
            assert "on and on".startswith(answer["content"][:9])
        chat = chats[0]
        again = talker.client.post(f"/api/chats/{chat}/turns", json={"id": names[chat], "text": "forever slow"})
        assert again.status_code == 200
        assert len(talker.tree(chat)) == 2
    finally:
        stop_gateway(second)


def test_an_engine_that_dies_marks_its_answer_and_the_next_one_comes(talker: Talker, gateway: Running) -> None:
    chat = talker.new()
    heard = talker.ask(chat["id"], "please crash now")
    assert heard.end["status"] == "interrupted"
    assert "stopped in the middle" in heard.end["detail"]
    gateway.wait_ready("ppo")
    after = talker.ask(chat["id"], "and now?", heard.answer["id"])
    assert after.end["content"] == "You said: and now?"


def test_another_answer_waits_for_the_end_of_one_that_is_being_stopped(talker: Talker) -> None:
    """The request to stop may come after the one for another answer: both are sent at once."""
    chat = talker.new()
    heard = talker.ask(chat["id"], "forever slow", until=20)
    answer = heard.answer["id"]
    found: list[Heard] = []
    path, body = f"/api/chats/{chat['id']}/messages/{answer}/regenerate", {"id": uuid.uuid4().hex}
    asking = threading.Thread(target=lambda: found.append(talker.listen("POST", path, body, until=5)))
    asking.start()
    talker.stop(chat["id"], answer, 5)
    asking.join()
    tree = talker.tree(chat["id"])
    assert (tree[answer]["status"], tree[answer]["content"]) == ("stopped", heard.text[:5])
    assert tree[found[0].answer["id"]]["parent"] == tree[answer]["parent"]
    talker.stop(chat["id"], found[0].answer["id"], 0)
