"""`chatwright feedback export`, and that the training verbs learn from what it writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command
from tests.cli.test_verbs import SMALL

from chatwright.product.chats.prompt import prompt_of
from chatwright.product.recording import prompt_hash
from chatwright.records import Comparison, Rating
from chatwright.store import LOCAL, Answer, Feedback, Store, sqlite_url
from chatwright.store.chats import Chat, ChatMessage
from chatwright.store.exports import descendants
from chatwright.store.listening import Rated, add_comparison

AT = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ["mill", "river", "miller", "flour", "water", "boat", "bridge", "valley", "stone", "lamp"]


def later(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def talk(store: Store, number: int, word: str, choice: str, **more: Any) -> tuple[ChatMessage, ChatMessage]:
    """A chat of one question with two answers, of which `choice` was chosen."""
    at = later(number)
    chat = Chat(f"c-{number}", LOCAL, at, at, **more)
    store.chats.create(chat)
    asked = ChatMessage(f"q-{number}", chat.id, None, "t", "user", f"Where is the {word}?", at)
    facts = {"sampling": {"temperature": 1.0}, "prompt_hash": prompt_hash(prompt_of([asked], [chat.system]))}
    answers = [
        ChatMessage(f"a-{number}-{side}", chat.id, asked.id, "t", "assistant", text, at, model=model,
                    version=f"{model}-1", **facts)
        for side, text, model in (("left", f"By the {word}.", "ppo"), ("right", "No.", "sft"))
    ]  # fmt: skip
    store.chats.add(
        chat,
        [asked, *answers],
        {},
        lambda connection, made: add_comparison(connection, LOCAL, *made[1:], "version", at),
    )
    if choice:
        mark = store.listening.marks(chat.id)[answers[0].id].comparison
        assert mark is not None
        store.listening.settle(mark.id, LOCAL, choice, ("clear",), "", at, 10)
    return answers[0], answers[1]


@pytest.fixture
def database(workspace: Path) -> Path:
    """Twenty choices that may be learned from, and a few rows that may not."""
    with Store.open(sqlite_url(workspace / "chatwright.db")) as store:
        store.people.local(later(-9_999))
        talk(store, 0, "early", "left")
        store.consents.choose(LOCAL, True, "1", later(1))
        for number in range(2, 22):
            talk(store, number, WORDS[number % 10] + str(number), "left" if number % 2 else "right", system="Be brief.")
        talk(store, 30, "secret", "left", temporary=True)
        talk(store, 31, "undecided", "")
        talk(store, 32, "tie", "tie")
    return workspace


def exported(command: Command, workspace: Path, out: Path, *more: object) -> tuple[dict[str, Any], list[Any]]:
    told = command("feedback", "export", "--out", out, "-w", workspace, "--json", *more).result
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert told["rows"] == len(rows)
    return told, rows


def test_reward_and_dpo_learn_from_an_export_and_name_it(command: Command, database: Path, tmp_path: Path) -> None:
    out = tmp_path / "said.jsonl"
    told, rows = exported(command, database, out)
    assert len(rows) == 21
    assert told["left_out"] == {"training was not allowed when it was said": 2}
    first = Comparison.from_json(rows[0])
    assert [message.content for message in first.prompt] == ["Be brief.", f"Where is the {WORDS[2]}2?"]
    assert first.responses[1] == "No."
    assert first.ranking == ((1,), (0,))
    assert (first.source, first.consent) == ("human", True)
    meta = first.meta
    assert (meta["versions"], meta["sampling"], meta["choice"]) == (
        ["ppo-1", "sft-1"],
        [{"temperature": 1.0}] * 2,
        "right",
    )
    assert (meta["exact"], meta["time"], meta["arm"]) == (True, later(2).isoformat(), "")
    assert len(meta["prompt_hash"]) == 64
    assert LOCAL not in first.annotator
    made = {}
    for verb in ("reward", "dpo"):
        made[verb] = command(verb, out, "-w", database, *SMALL).result["id"]
    known = {row["id"]: row for row in command("models", "-w", database, "--json").result}
    for ident in made.values():
        assert known[ident]["parents"]["feedback"] == told["export"]
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        used = store.exports.of(LOCAL)
        assert sorted(used[told["export"]]) == sorted(row["id"] for row in rows)
        assert descendants(store.exports.links(), used) == sorted(made.values())


def test_what_is_taken_back_leaves_the_next_export(command: Command, database: Path, tmp_path: Path) -> None:
    out = tmp_path / "said.jsonl"
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        store.consents.choose_for_chat(LOCAL, "c-2", False, "1", later(50))
        store.chats.delete(LOCAL, "c-3")
    told, rows = exported(command, database, out)
    assert len(rows) == 19
    assert told["left_out"]["training is not allowed now, or not of how the conversation began"] == 1
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        store.consents.choose(LOCAL, False, "1", later(60))
    before = out.read_bytes()
    refused = command("feedback", "export", "--out", out, "-w", database)
    assert "there is no comparison to export (22 left out" in refused.complaint
    assert out.read_bytes() == before
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        store.consents.choose(LOCAL, True, "1", later(70))
    assert "not allowed now" in command("feedback", "export", "--out", out, "-w", database).complaint


def test_what_was_said_before_a_yes_is_no_part_of_it(command: Command, database: Path, tmp_path: Path) -> None:
    """The answer is rated after the yes, but the conversation began before it; a yes for that chat covers all of it."""
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        message = store.chats.message("a-0-left", LOCAL)
        assert message is not None
        store.listening.rate(LOCAL, message, Rated(1), later(80), 9)
        store.consents.choose_for_chat(LOCAL, "c-2", True, "1", later(81))
        other = store.chats.message("a-2-left", LOCAL)
        assert other is not None
        store.listening.rate(LOCAL, other, Rated(-1, ("wrong",), "not there"), later(82), 9)
    told, rows = exported(command, database, tmp_path / "r.jsonl", "--kind", "rating")
    (rating,) = map(Rating.from_json, rows)
    assert (rating.exchange, rating.value, rating.tags, rating.text) == ("a-2-left", -1, ("wrong",), "not there")
    assert rating.meta["response"].startswith("By the")
    assert rating.meta["prompt"][0] == {"role": "system", "content": "Be brief."}
    assert told["left_out"] == {"training is not allowed now, or not of how the conversation began": 1}


def test_praise_beside_blame_is_a_comparison_once(command: Command, database: Path, tmp_path: Path) -> None:
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        left, right = talk(store, 40, "new", "")
        store.listening.rate(LOCAL, left, Rated(-1), later(41), 9)
        store.listening.rate(LOCAL, right, Rated(1), later(42), 9)
        for side, value in (("left", 1), ("right", -1)):  # of these two the left one was chosen already
            message = store.chats.message(f"a-5-{side}", LOCAL)
            assert message is not None
            store.listening.rate(LOCAL, message, Rated(value), later(43), 9)
        talk(store, 44, WORDS[5] + "5", "left", system="Be brief.")  # the same again as in chat 5
    told, rows = exported(command, database, tmp_path / "c.jsonl", "--since", "2026-01-01")
    assert len(rows) == 22
    made = Comparison.from_json(rows[-1])
    assert (made.responses, made.ranking) == (("No.", "By the new."), ((0,), (1,)))
    assert made.meta["how"] == "ratings"
    assert told["left_out"]["the same person chose between the same two answers before"] == 1


def test_what_programs_sent_comes_with_their_word(command: Command, database: Path, tmp_path: Path) -> None:
    row = {"prompt": "p", "responses": ["a", "b"], "ranking": [0, 1], "meta": {"better": "x"}}
    with Store.open(sqlite_url(database / "chatwright.db")) as store:
        store.answers.add(Answer("chatcmpl-1", "chat.completion", "ppo", "ppo-1", later(90), "h" * 64, {}))
        store.answers.say([
            Feedback(f"fb-{consent}", "chatcmpl-1", "comparison", "ppo-1", later(90), "h" * 64, {"n": 2}, consent, row)
            for consent in (True, False)
        ])  # fmt: skip
    _, rows = exported(command, database, tmp_path / "c.jsonl", "--since", later(90).isoformat())
    assert [(one["id"], one["meta"]["how"], one["meta"]["sampling"]) for one in rows] == [("fb-True", "api", {"n": 2})]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--kind", "poem"], "use comparison or rating"),
        (["--since", "yesterday"], "is no date"),
        (["--since", "2026-01-01T10:00:00"], "is no date"),
        (["--since", "2030-01-01"], "there is no comparison to export"),
        (["--version", "nobody"], "there is no comparison to export"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    command: Command, database: Path, tmp_path: Path, more: list[str], words: str
) -> None:
    out = tmp_path / "said.jsonl"
    assert words in command("feedback", "export", "--out", out, "-w", database, *more).complaint
    assert not out.exists()


def test_one_version_alone(command: Command, database: Path, tmp_path: Path) -> None:
    for version in ("sft", "sft-1", "ppo-1"):
        assert len(exported(command, database, tmp_path / "v.jsonl", "--version", version)[1]) == 21


def test_a_disk_without_the_file_is_told(command: Command, database: Path, tmp_path: Path) -> None:
    assert (
        "should end in .jsonl" in command("feedback", "export", "--out", tmp_path / "x.txt", "-w", database).complaint
    )
    missing = command("feedback", "export", "--out", tmp_path / "x.jsonl", "-w", tmp_path / "none")
    assert "has no database yet" in missing.complaint
