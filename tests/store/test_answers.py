"""Answers, feedback, files and idempotency keys, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatwright.store import Answer, Feedback, Store, Upload

AT = datetime(2026, 1, 1, tzinfo=UTC)


def answer(number: int, *, stored: bool = True, kind: str = "chat.completion") -> Answer:
    content = {"request": {"messages": ["\0 é"]}, "answer": {"n": number}, "metadata": {"even": str(number % 2 == 0)}}
    at = AT + timedelta(seconds=number // 2)
    return Answer(f"a-{number:04d}", kind, "ppo", "ppo-1", at, "h" * 64, {"stop": ["\0"]}, content if stored else None)


def test_answers_come_back_whole_whatever_characters_they_hold(store: Store) -> None:
    store.answers.add(answer(1))
    assert store.answers.get("a-0001") == answer(1)
    assert store.answers.get("a-0001", "response") is None
    assert store.answers.get("nobody") is None


def test_lists_are_filtered_and_turned_page_by_page(store: Store) -> None:
    for number in range(500):
        store.answers.add(answer(number, stored=number % 5 != 0))

    def even(row: Answer) -> bool:
        return (row.content or {})["metadata"]["even"] == "True"

    wanted = [f"a-{n:04d}" for n in range(500) if n % 5 and n % 2 == 0]
    for newest_first in (False, True):
        found: list[str] = []
        while page := store.answers.find(
            "chat.completion", wanted=even, after=found[-1] if found else None, limit=70, newest_first=newest_first
        ):
            found += [row.id for row in page]
        assert found == (wanted[::-1] if newest_first else wanted)
    assert store.answers.find("chat.completion", wanted=even, after="nobody", limit=1, newest_first=True) == []


def test_an_answer_whose_text_is_gone_stays_known(store: Store) -> None:
    store.answers.add(answer(1))
    store.answers.change("a-0001", None)
    assert store.answers.get("a-0001", stored=True) is None
    kept = store.answers.get("a-0001")
    assert kept is not None
    assert (kept.content, kept.prompt_hash) == (None, "h" * 64)


def test_old_answers_that_nobody_kept_or_rated_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.store.answers.BATCH", 3)
    for number in range(40):
        store.answers.add(answer(number, stored=number % 4 == 0))
    store.answers.say([Feedback("f-1", "a-0001", "rating", "ppo-1", AT, "h" * 64, {}, False, {"value": -1})])

    def left() -> set[int]:
        return {n for n in range(40) if store.answers.get(f"a-{n:04d}") is not None}

    protected = {*range(0, 40, 4), 1}
    assert store.answers.forget(None, None) == 0
    assert store.answers.forget(AT, 1_000) == 0
    assert store.answers.forget(AT + timedelta(seconds=5), 1_000) == 6, "numbers 2, 3, 5, 6, 7 and 9"
    assert left() == protected | set(range(10, 40))
    store.answers.forget(None, 7)
    unkept = [n for n in range(40) if n not in protected]
    assert left() == protected | set(unkept[-7:])
    store.answers.forget(None, 0)
    assert left() == protected
    assert len(store.answers.said()) == 1


def test_feedback_is_entered_whole_or_not_at_all(store: Store) -> None:
    store.answers.add(answer(1, stored=False))
    one = Feedback("f-1", "a-0001", "rating", "ppo-1", AT, "h" * 64, {}, False, {"value": -1, "text": "\0"})
    store.answers.say([one])
    assert store.answers.said("a-0001") == [one]
    stranger = Feedback("f-2", "nobody", "rating", "ppo-1", AT, "h" * 64, {}, True, {})
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        store.answers.say([Feedback("f-3", "a-0001", "rating", "ppo-1", AT, "h" * 64, {}, True, {}), stranger])
    assert store.answers.said() == [one]


def test_one_of_many_at_once_gets_a_key(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: store.replays.claim("k", "request", AT), range(16)))
    assert got.count(None) == 1
    assert {row.status for row in got if row is not None} == {None}
    store.replays.settle("k", 200, "{}", b"\0\xff")
    kept = store.replays.claim("k", "other", AT)
    assert kept is not None
    assert (kept.request, kept.status, kept.body) == ("request", 200, b"\0\xff")
    store.replays.release_unsettled()
    assert store.replays.claim("k", "request", AT) == kept
    assert store.replays.claim("k", "request", AT + timedelta(days=2)) is None, "a day later the key is new"
    store.replays.release_unsettled()
    assert store.replays.claim("k", "request", AT) is None


def test_files_come_and_go_with_their_rows(store: Store, tmp_path: Path) -> None:
    uploads = store.uploads(tmp_path / "files")
    uploads.folder.mkdir()
    for number in range(3):
        written = uploads.folder / ".new"
        written.write_bytes(b"x" * number)
        uploads.add(Upload(f"file-{number}", "né.jsonl", "evals", number, "s" * 64, AT), written)
    assert [row.id for row in uploads.all("evals", newest_first=False)] == ["file-0", "file-1", "file-2"]
    assert uploads.all("vision") == []
    assert uploads.content("file-2").read_bytes() == b"xx"
    assert uploads.delete("file-2")
    assert not uploads.delete("file-2")
    assert uploads.get("file-2") is None
    assert sorted(path.name for path in uploads.folder.iterdir()) == ["file-0", "file-1"]
