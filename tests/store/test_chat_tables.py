"""Chats in the database: order, ownership, turns that come twice, answers that grow, stop and are interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from chatwright.store import LOCAL, Store
from chatwright.store.chats import Chat, ChatMessage, Share, branch
from chatwright.store.memories import Memory

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def chat(store: Store) -> Chat:
    store.people.local(NOW)
    made = Chat("c-1", LOCAL, NOW, NOW, title="Ärger")
    store.chats.create(made)
    return made


def question(ident: str, turn: str, parent: str | None = None, text: str = "hello") -> ChatMessage:
    return ChatMessage(ident, "c-1", parent, turn, "user", text, NOW)


def answer(ident: str, turn: str, parent: str | None, host: str = "here", beat: datetime = NOW) -> ChatMessage:
    return ChatMessage(ident, "c-1", parent, turn, "assistant", "", NOW, "streaming", host=host, beat=beat)


def test_a_chat_needs_an_owner_and_is_nobody_elses(store: Store, chat: Chat) -> None:
    assert store.chats.get("c-1", LOCAL) == chat
    assert store.chats.get("c-1", "somebody") is None
    assert store.chats.change("c-1", "somebody", {"title": "mine"}) is None
    assert store.chats.delete("somebody", "c-1") == []
    assert store.chats.get("c-1", LOCAL) == chat
    with pytest.raises(IntegrityError):
        store.chats.create(replace(chat, id="c-2", owner="nobody"))


def test_a_turn_that_comes_twice_is_entered_once(store: Store, chat: Chat) -> None:
    rows = [question("m-1", "t-1"), answer("m-2", "t-1", "m-1")]
    first, new = store.chats.add(chat, rows, {"leaf": "m-2"})
    assert new
    assert [one.number for one in first] == [1, 2]
    again, new = store.chats.add(chat, [question("m-3", "t-1"), answer("m-4", "t-1", "m-3")], {"leaf": "m-4"})
    assert not new
    assert again == first
    assert [one.id for one in store.chats.tree("c-1")] == ["m-1", "m-2"]
    kept = store.chats.get("c-1", LOCAL)
    assert kept is not None
    assert kept.leaf == "m-2"


def test_two_pages_at_once_get_numbers_of_their_own(store: Store, chat: Chat) -> None:
    def add(index: int) -> None:
        store.chats.add(chat, [question(f"m-{index}", f"t-{index}"), answer(f"a-{index}", f"t-{index}", None)], {})

    together([lambda index=index: add(index) for index in range(8)])
    assert [one.number for one in store.chats.tree("c-1")] == [*range(1, 17)]


def test_the_same_turn_at_the_same_time_is_entered_once(store: Store, chat: Chat) -> None:
    made: list[bool] = []
    together([
        lambda index=index: made.append(store.chats.add(chat, [question(f"m-{index}", "t")], {})[1])
        for index in range(8)
    ])  # fmt: skip
    assert sorted(made) == [False] * 7 + [True]
    assert len(store.chats.tree("c-1")) == 1


def together(works: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_answer_grows_until_it_ends_and_not_after(store: Store, chat: Chat) -> None:
    store.chats.add(chat, [question("m-1", "t"), answer("m-2", "t", "m-1"), answer("m-3", "t", "m-1")], {})
    later = NOW + timedelta(seconds=1)
    assert store.chats.grow({"m-2": "so far", "m-3": "x"}, "here", later) == {"m-2": None, "m-3": None}
    assert store.chats.grow({"m-2": "another gateway's"}, "elsewhere", later) == {}
    store.chats.ask_stop("m-2", 4)
    assert store.chats.grow({}, "here", later) == {"m-2": 4, "m-3": None}
    ended = store.chats.end("m-2", {"content": "so f", "status": "stopped", "ended": later})
    assert ended is not None
    assert (ended.content, ended.status, ended.ended) == ("so f", "stopped", later)
    store.chats.grow({"m-2": "too late"}, "here", later)
    store.chats.end("m-2", {"content": "too late", "status": "done"})
    assert store.chats.tree("c-1")[1].content == "so f"


def test_what_a_dead_gateway_wrote_is_marked_and_the_living_ones_is_not(store: Store, chat: Chat) -> None:
    store.chats.add(chat, [question("m-1", "t"), answer("m-2", "t", "m-1"), answer("m-3", "t", "m-1", "other")], {})
    later = NOW + timedelta(minutes=1)
    store.chats.grow({"m-3": "alive"}, "other", later)
    store.chats.grow({"m-2": "half an ans"}, "here", NOW)
    limit = later - timedelta(seconds=10)
    assert store.chats.interrupt(before=limit, detail="gone", now=later) == 1
    _, dead, alive = store.chats.tree("c-1")
    assert (dead.status, dead.content, dead.detail) == ("interrupted", "half an ans", "gone")
    assert alive.status == "streaming"
    assert store.chats.interrupt(before=limit, host="other", detail="gone", now=later) == 1


def test_a_branch_is_the_way_from_the_root(store: Store, chat: Chat) -> None:
    store.chats.add(chat, [question("m-1", "t-1"), answer("m-2", "t-1", "m-1")], {})
    store.chats.add(chat, [question("m-3", "t-2", "m-2"), answer("m-4", "t-2", "m-3")], {})
    store.chats.add(chat, [question("m-5", "t-3", "m-2")], {})
    tree = store.chats.tree("c-1")
    assert [one.id for one in branch(tree, "m-4")] == ["m-1", "m-2", "m-3", "m-4"]
    assert [one.id for one in branch(tree, "m-5")] == ["m-1", "m-2", "m-5"]
    assert branch(tree, "m-9") == []
    assert branch(tree, None) == []


def test_searching_folds_case_and_takes_wildcards_as_words(store: Store, chat: Chat) -> None:
    store.chats.add(chat, [question("m-1", "t", text="ﬁne 100% of_it\\")], {})
    store.chats.create(Chat("c-2", LOCAL, NOW, NOW, temporary=True, title="Ärger"))

    def found(words: str, owner: str = LOCAL) -> list[tuple[str, str | None]]:
        return [(one.chat.id, one.message and one.message.id) for one in store.chats.search(owner, words, 10)]

    assert found("FINE") == [("c-1", "m-1")]
    assert found("0% OF_") == [("c-1", "m-1")]
    assert found("it\\") == [("c-1", "m-1")]
    assert found("of.it") == found("100_") == []
    assert found("ärger") == [("c-1", None)]
    assert found("ärger", "somebody") == []


def test_a_link_shows_its_branch_until_it_or_its_chat_goes(store: Store, chat: Chat) -> None:
    store.chats.add(chat, [question("m-1", "t")], {})
    for ident in ("hash-1", "hash-2"):
        store.chats.share(Share(ident, "c-1", "m-1", NOW))
    found = store.chats.shared("hash-1")
    assert found is not None
    assert (found[0].title, found[1][0].id) == ("Ärger", "m-1")
    assert not store.chats.unshare("hash-1", "somebody")
    assert store.chats.unshare("hash-1", LOCAL)
    assert store.chats.shared("hash-1") is None
    assert [one.id for one in store.chats.shares(LOCAL)] == ["hash-2"]
    store.chats.delete(LOCAL, "c-1")
    assert store.chats.shared("hash-2") is None
    assert store.chats.tree("c-1") == []


def test_temporary_chats_go_when_their_time_is_over(store: Store, chat: Chat) -> None:
    store.chats.create(Chat("c-2", LOCAL, NOW, NOW, temporary=True, expires=NOW + timedelta(hours=1)))
    assert store.chats.expire(NOW) == 0
    assert store.chats.expire(NOW + timedelta(hours=1)) == 1
    assert store.chats.get("c-1", LOCAL) is not None


def test_memories_are_their_owners(store: Store, chat: Chat) -> None:
    store.memories.add(Memory("mem-1", LOCAL, "likes tea", NOW))
    assert store.memories.all("somebody") == []
    assert not store.memories.change("mem-1", "somebody", "likes nothing")
    assert store.memories.change("mem-1", LOCAL, "likes coffee")
    assert [one.text for one in store.memories.all(LOCAL)] == ["likes coffee"]
    assert not store.memories.delete("mem-1", "somebody")
    assert store.memories.delete("mem-1", LOCAL)
