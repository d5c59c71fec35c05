"""What is kept of a person, what leaves in exports and what operators see of it, on both databases."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests.store.test_said import AT, HOSTILE, all_of, begin, later
from tests.store.test_staff import add

from chatwright.store import LOCAL, Answer, Feedback, Store, Upload
from chatwright.store.exports import Export, descendants
from chatwright.store.listening import Rated
from chatwright.store.memories import Memory
from chatwright.store.tables import chats, completions, consents, exported, feedback, people, ratings, withdrawals


def settled(store: Store, chat: str = "c-1") -> str:
    _, left, right = begin(store, chat)
    mark = store.listening.marks(chat)[left.id].comparison
    assert mark is not None
    store.listening.rate(LOCAL, right, Rated(-1, ("wrong",), HOSTILE), later(2), 9)
    store.listening.flag(LOCAL, left, "unsafe", HOSTILE, "message", later(2), 9)
    store.listening.signal(LOCAL, left, "copied", later(2))
    assert store.listening.settle(mark.id, LOCAL, "left", ("clear",), HOSTILE, later(3), 9)
    return mark.id


def allowing(store: Store) -> None:
    store.people.local(AT - timedelta(days=9))
    store.consents.choose(LOCAL, True, "1", AT - timedelta(days=1))


def test_what_was_said_is_read_with_its_conversation(store: Store) -> None:
    allowing(store)
    ident = settled(store)
    (said,) = store.exports.comparisons()
    assert (said.id, said.value, said.how, said.text, said.why_not) == (ident, "left", "version", HOSTILE, "")
    assert [one.content for one in said.asked] == ["why?"]
    assert [one.content for one in said.answers] == ["left", "right"]
    assert not said.new_account
    assert [one.value for one in store.exports.ratings()] == ["-1"]
    for version, count in (("right-1", 1), ("left", 1), ("other", 0)):
        assert len(store.exports.comparisons(version=version)) == count
    assert store.exports.comparisons(since=later(4)) == []
    assert len(store.exports.ratings(since=later(1), version="right")) == 1
    store.consents.choose(LOCAL, False, "1", later(9))
    assert store.exports.comparisons()[0].why_not
    assert store.exports.ratings()[0].why_not


def test_an_account_takes_everything_with_it_but_what_shows_that_it_was_used(store: Store) -> None:
    allowing(store)
    add(store, "una")
    ident = settled(store)
    store.memories.add(Memory("mem-1", LOCAL, "tea 🍵", AT))
    store.answers.add(Answer("a-1", "chat.completion", "m", "v", AT, "h", {}, {"x": HOSTILE}, LOCAL))
    store.answers.add(Answer("a-2", "chat.completion", "m", "v", AT, "h", {}, None, "una"))
    rows = [Feedback(f"fb-{owner}", "a-1", "rating", "v", AT, "h", {}, True, {}, owner) for owner in (LOCAL, "una")]
    store.answers.say(rows)
    sizes = store.belongings.sizes(LOCAL)
    assert (sizes["messages"][0], sizes["chats"][0], sizes["memories"]) == (3, 1, (1, len("tea 🍵".encode())))
    assert sizes["ratings"][1] >= len(HOSTILE.encode())
    assert sizes["api_answers"][0] == 1
    kept = store.belongings.rows(LOCAL)
    assert kept["ratings"][0]["text"] == HOSTILE
    assert "password" not in kept["account"][0]
    assert json.dumps(kept)
    export = Export("export-1", "comparison", {}, later(5), "operator", ((ident, LOCAL, "c-1"), ("r-2", "una", None)))
    store.exports.enter(export)
    assert store.exports.of(LOCAL) == {"export-1": [ident]}
    assert store.exports.of(LOCAL, "c-other") == {}
    assert store.belongings.delete(LOCAL, ["reward-1"], later(6)) == []
    for table in (chats, ratings, feedback):
        assert all_of(store, table) == []
    assert [row.id for row in all_of(store, people)] == ["una"]
    assert [row.id for row in all_of(store, completions)] == ["a-2"]
    assert len(all_of(store, exported)) == 2
    assert len(all_of(store, consents)) == 1
    (taken,) = store.belongings.taken_back()
    assert (taken["rows"], taken["artefacts"], taken["why"]) == ([ident], ["reward-1"], "account deleted")
    assert len(all_of(store, withdrawals)) == 1


def test_files_of_an_account_are_named_when_it_goes(store: Store, tmp_path: Path) -> None:
    store.people.local(AT)
    uploads = store.uploads(tmp_path)
    for ident, owner in (("file-1", LOCAL), ("file-2", "una")):
        written = uploads.folder / ".new"
        written.write_bytes(b"12345")
        uploads.add(Upload(ident, "a.txt", "user_data", 5, "h" * 64, AT, owner), written)
    assert store.belongings.sizes(LOCAL)["files"] == (1, 5)
    assert store.belongings.delete(LOCAL, [], AT) == ["file-1"]


def test_operators_page_through_what_people_said(store: Store) -> None:
    allowing(store)
    by = add(store, "otto", "operator")
    idents = [settled(store, f"c-{number}") for number in range(5)]
    seen: list[str] = []
    while page := store.review.feedback("comparison", after=seen[-1] if seen else None, limit=2):
        seen += [row["id"] for row in page]
    assert sorted(seen) == sorted(idents)
    for filters, count in (
        ({"value": "left", "tag": "clear", "version": "right-1", "consent": True}, 5), ({"value": "tie"}, 0),
        ({"tag": "cle"}, 0), ({"tag": "%"}, 0), ({"consent": False}, 0),
    ):  # fmt: skip
        assert len(store.review.feedback("comparison", **filters)) == count, filters
    assert len(store.review.feedback("rating", value="-1", tag="wrong")) == 5
    assert store.review.feedback("rating", value="1") == []
    assert len(store.review.feedback("signal", value="copied")) == 5
    shown = store.review.said("comparison", idents[0], by, later(9))
    assert shown is not None
    assert [one["content"] for one in shown["messages"]] == ["why?", "left", "right"]
    reports = store.review.flags("open", None, 9)
    assert len(reports) == 5
    report = store.review.flag(reports[0]["id"], by, later(9))
    assert report is not None
    assert (report["above_by"], len(report["messages"])) == ("consent", 2)
    assert store.review.settle(reports[0]["id"], "resolved", HOSTILE, by, later(9))["note"] == HOSTILE  # type: ignore[index]
    assert len(store.review.flags("open", None, 9)) == 4
    assert [row.what for row in store.audit.page()] == ["flag.settled", "flag.read", "feedback.read"]
    assert store.review.troubles(AT) == {}


def test_choices_are_set_once_and_secrets_made_once(store: Store) -> None:
    by = store.people.local(AT)
    store.choices.choose({"compare_rate": 0.5, "compare_with": ["same"]}, by, AT)
    store.choices.choose({"compare_rate": 0.5}, by, later(1))
    assert store.choices.all() == {"compare_rate": 0.5, "compare_with": ["same"]}
    assert len(store.audit.page()) == 2
    first = store.choices.secret("s", AT)
    assert store.choices.secret("s", later(9)) == first
    assert len(first) == 64


@pytest.mark.parametrize(
    ("roots", "found"), [(["e"], ["a", "b", "c"]), (["a"], ["b", "c"]), (["x"], []), (["e", "d"], ["a", "b", "c"])]
)
def test_descendants(roots: list[str], found: list[str]) -> None:
    links = {"a": ["e"], "b": ["a", "z"], "c": ["b", "a"], "z": [], "d": ["d2"]}
    assert descendants(links, roots) == found


def test_a_circle_in_a_damaged_table_ends() -> None:
    assert descendants({"a": ["b"], "b": ["a"]}, ["a"]) == ["a", "b"]
