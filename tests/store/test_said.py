"""Ratings, flags, signals, comparisons and consent, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.store import LOCAL, Store
from chatwright.store.chats import Chat, ChatMessage
from chatwright.store.consents import Consent, stands
from chatwright.store.engine import transaction
from chatwright.store.listening import Rated, TooMany, add_comparison
from chatwright.store.tables import comparisons, flags, ratings, signals

AT = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)> '); DROP TABLE ratings; -- \u202e {{7*7}} 👋"


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def begin(store: Store, name: str = "c-1", **more: Any) -> list[ChatMessage]:
    """A chat with one question and two answers to it."""
    store.people.local(AT)
    chat = Chat(name, LOCAL, AT, AT, **more)
    store.chats.create(chat)
    facts = {"sampling": {"temperature": 1}, "prompt_hash": "h" * 64}
    asked = ChatMessage(f"{name}-q", name, None, "t", "user", "why?", AT)
    made = [asked] + [
        ChatMessage(
            f"{name}-{side}", name, asked.id, "t", "assistant", side, AT, model=side, version=f"{side}-1", **facts
        )
        for side in ("left", "right")
    ]

    def pair(connection: Any, rows: list[ChatMessage]) -> None:
        add_comparison(connection, LOCAL, rows[1], rows[2], "version", AT)

    rows, new = store.chats.add(chat, made, {}, pair)
    assert new
    return rows


def all_of(store: Store, table: Any) -> list[Any]:
    with transaction(store._engine, writes=False) as connection:
        return list(connection.execute(table.select()))


def test_the_newest_rating_counts_and_the_others_stay(store: Store) -> None:
    _, left, right = begin(store)
    for number, value in enumerate((1, -1, -1, 1)):
        store.listening.rate(LOCAL, left, Rated(value, ("clear",), HOSTILE), later(number), 10)
    rows = sorted(all_of(store, ratings), key=lambda row: row.number)
    assert [(row.number, row.value, row.newest) for row in rows] == [(1, 1, False), (2, -1, False), (3, 1, True)]
    assert (rows[0].model, rows[0].version, rows[0].sampling) == ("left", "left-1", '{"temperature": 1}')
    assert (rows[0].prompt_hash, rows[0].arm, rows[0].at, rows[0].consent) == ("h" * 64, "", AT, False)
    marks = store.listening.marks("c-1")
    assert marks[left.id].rating == Rated(1, ("clear",), HOSTILE)
    assert marks[right.id].rating is None
    store.listening.rate(LOCAL, left, Rated(0), later(9), 10)
    assert store.listening.marks("c-1")[left.id].rating is None
    assert len(all_of(store, ratings)) == 4


def test_a_minute_holds_so_many_ratings_and_no_more(store: Store) -> None:
    _, left, _ = begin(store)

    def click(number: int) -> bool:
        try:
            store.listening.rate(LOCAL, left, Rated(1, (), str(number)), later(number / 100), 20)
        except TooMany:
            return False
        return True

    assert sum(map(click, range(200))) == 20
    assert len(all_of(store, ratings)) == 20
    assert click(6_200)  # 62 s later


def test_ratings_from_two_tabs_at_once_leave_one_that_counts(store: Store) -> None:
    _, left, _ = begin(store)

    def click(number: int) -> None:
        store.listening.rate(LOCAL, left, Rated(1, (), str(number)), later(number), 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(click, range(64)))
    rows = all_of(store, ratings)
    assert len(rows) == 64
    assert sorted(row.number for row in rows) == list(range(1, 65))
    assert [row.number for row in rows if row.newest] == [64]


def test_a_flag_is_one_a_message_and_opens_again(store: Store) -> None:
    _, left, _ = begin(store)
    first = store.listening.flag(LOCAL, left, "unsafe", HOSTILE, "message", AT, 5)
    assert store.listening.flag(LOCAL, left, "other", "again", "conversation", later(1), 5) == first
    (row,) = all_of(store, flags)
    assert (row.reason, row.text, row.covers, row.state) == ("other", "again", "conversation", "open")
    assert store.listening.marks("c-1")[left.id].flagged


def test_signals_are_counted(store: Store) -> None:
    _, left, _ = begin(store)
    for number in range(3):
        store.listening.signal(LOCAL, left, "copied", later(number))
    store.listening.signal(LOCAL, left, "stopped", AT)
    assert sorted((row.kind, row.count) for row in all_of(store, signals)) == [("copied", 3), ("stopped", 1)]
    store.chats.delete(LOCAL, "c-1")
    store.listening.signal(LOCAL, left, "copied", AT)
    assert all_of(store, signals) == []


def test_a_comparison_hides_its_models_until_it_is_settled_once(store: Store) -> None:
    _, left, right = begin(store)
    mark = store.listening.marks("c-1")[right.id]
    assert mark.hidden
    assert mark.comparison is not None
    assert (mark.comparison.side, mark.comparison.settled) == ("right", None)
    ident = mark.comparison.id
    assert store.listening.settle(ident, "somebody else", "left", (), "", AT, 5) is None
    assert store.listening.settle("cmp-none", LOCAL, "left", (), "", AT, 5) is None
    settled = store.listening.settle(ident, LOCAL, "left", ("clear",), HOSTILE, later(5), 5)
    assert settled is not None
    assert (settled.choice, settled.left, settled.right) == ("left", left.id, right.id)
    other = store.listening.settle(ident, LOCAL, "right", (), "no", later(6), 5)
    assert other == settled
    same = store.listening.settle(ident, LOCAL, "left", (), "yes", later(7), 5)
    assert same is not None
    assert (same.choice, same.text) == ("left", "yes")
    assert not store.listening.marks("c-1")[left.id].hidden
    (row,) = all_of(store, comparisons)
    assert (row.version, row.other_version, row.at, row.asked) == ("left-1", "right-1", later(5), AT)


def test_what_was_said_goes_with_its_chat(store: Store) -> None:
    _, left, _ = begin(store)
    _, kept, _ = begin(store, "c-2")
    for message in (left, kept):
        store.listening.rate(LOCAL, message, Rated(1), AT, 9)
        store.listening.flag(LOCAL, message, "other", "", "message", AT, 9)
        store.listening.signal(LOCAL, message, "copied", AT)
    store.chats.delete(LOCAL, "c-1")
    for table in (ratings, flags, signals, comparisons):
        assert [row.chat for row in all_of(store, table)] == ["c-2"]


def test_consent_of_account_and_chat_is_a_log_that_both_places_show(store: Store) -> None:
    _, left, _ = begin(store)
    assert store.consents.log(LOCAL) == []
    store.consents.choose(LOCAL, True, "1", AT)
    assert store.people.get(LOCAL).settings["training"] is True  # type: ignore[union-attr]
    store.listening.rate(LOCAL, left, Rated(1), later(1), 9)
    assert store.consents.choose_for_chat(LOCAL, "c-1", False, "1", later(2))
    assert store.consents.choose_for_chat(LOCAL, "c-1", False, "1", later(3))
    assert not store.consents.choose_for_chat("somebody else", "c-1", True, "1", later(3))
    assert store.chats.get("c-1", LOCAL).training is False  # type: ignore[union-attr]
    store.listening.rate(LOCAL, left, Rated(-1), later(4), 9)
    assert [(line.chat, line.training, line.at) for line in store.consents.log(LOCAL)] == [
        (None, True, AT), ("c-1", False, later(2)),
    ]  # fmt: skip
    assert sorted((row.number, row.consent) for row in all_of(store, ratings)) == [(1, True), (2, False)]


def test_nothing_said_in_a_temporary_chat_may_be_learned_from(store: Store) -> None:
    store.people.local(AT)
    store.consents.choose(LOCAL, True, "1", later(-9))
    _, left, _ = begin(store, temporary=True)
    store.listening.rate(LOCAL, left, Rated(1), later(1), 9)
    assert [row.consent for row in all_of(store, ratings)] == [False]


def line(training: bool | None, at: float, chat: str | None = None) -> Consent:
    return Consent("p", training, "1", later(at), chat)


@pytest.mark.parametrize(
    ("log", "chat", "began", "expected"),
    [
        ([], "c", 0, False),
        ([line(True, 0)], "c", 1, True),
        ([line(True, 2)], "c", 1, False),
        ([line(True, 0), line(False, 2)], "c", 1, False),
        ([line(True, 0), line(False, 2), line(True, 3)], "c", 1, False),
        ([line(True, 0), line(False, 2), line(True, 3)], "c", 4, True),
        ([line(True, 0), line(True, 2)], "c", 1, True),
        ([line(True, 0), line(False, 1, "c")], "c", 2, False),
        ([line(True, 0), line(False, 1, "other")], "c", 2, True),
        ([line(False, 0), line(True, 1, "c")], "c", 0, True),
        ([line(True, 0), line(False, 1, "c"), line(None, 2, "c")], "c", 3, True),
        ([line(True, 0, "c"), line(None, 2, "c")], "c", 3, False),
    ],
)
def test_what_stands(log: list[Consent], chat: str, began: float, expected: bool) -> None:
    assert stands(log, chat, later(began)) is expected


lines = st.builds(line, st.sampled_from([True, False, None]), st.integers(0, 9), st.sampled_from([None, "c", "d"]))


@given(st.lists(lines, max_size=8), st.integers(0, 9))
def test_a_no_at_the_end_always_counts(log: list[Consent], began: int) -> None:
    log = sorted((one for one in log if one.chat or one.training is not None), key=lambda one: one.at)
    assert not stands([*log, line(False, 9, "c")], "c", later(began))
    assert not stands([*log, line(None, 9, "c"), line(False, 9)], "c", later(began))
    assert stands([*log, line(True, 9, "c")], "c", later(began))
