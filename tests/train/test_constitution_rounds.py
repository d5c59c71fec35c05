"""Critique and revision: what is changed, what is kept, and runs that are killed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.principled import (
    ASKED,
    GREEDY,
    KEPT,
    RIGHT,
    WRONG,
    config,
    learned_critic,
    prompts,
    small_constitution,
    user,
)
from tests.train.worlds import KillAt, Killed

from chatwright.config import SamplingConfig
from chatwright.errors import InputError, WorkspaceError
from chatwright.files import Problems, iter_rows, read_records
from chatwright.progress import Progress
from chatwright.records import Demonstration, Message, Prompt
from chatwright.train.constitutional import critique
from chatwright.train.constitutional.critic import Written
from chatwright.train.constitutional.critique import Revised, Round
from chatwright.train.constitutional.journal import Journal
from chatwright.train.constitutional.refusals import evades, refuses
from chatwright.workspace import Artefact


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return learned_critic(tmp_path_factory.mktemp("critic"))


def revise(folder: Path, model: Path, progress: Progress | None = None, **changes: Any) -> Artefact:
    return critique.run(config(**changes), small_constitution(), model, prompts(), folder / "out",
                        progress or Progress(), seed=7, parents={"sft": "m"})  # fmt: skip


def rows(artefact: Artefact) -> tuple[list[Demonstration], list[dict[str, Any]]]:
    problems = Problems()
    made = list(read_records([artefact.path / critique.REVISIONS], Demonstration.from_json, problems))
    said = [row for _, row in iter_rows([artefact.path / critique.ROUNDS], problems)]
    assert not problems.count
    return made, said


def test_a_model_that_can_criticise_mends_what_is_wrong_and_leaves_the_rest(critic: Path, tmp_path: Path) -> None:
    made = revise(tmp_path, critic, **GREEDY)
    learned, said = rows(made)
    assert [d.messages[-1].content for d in learned] == [RIGHT if a.startswith("Where") else KEPT for a in ASKED]
    assert [d.meta["revised"] for d in learned] == [a.startswith("Where") for a in ASKED]
    assert all(d.source == "model" and d.given == 1 for d in learned)
    assert made.manifest.source == "model"
    for row, text in zip(said, ASKED, strict=True):
        assert row["answer"] == (WRONG if text.startswith("Where") else KEPT)
        assert sorted(r["principle"] for r in row["rounds"]) == ["mill", "river"]
        for one in row["rounds"]:
            wrong = text.startswith("Where") and one["principle"] == "mill"
            assert one["outcome"] == ("changed" if wrong else "unchanged")
            assert one["critique"] == ("the river sings" if wrong else "All is well.")
    figures = made.manifest.figures
    assert (figures["prompts"], figures["rounds"], figures["changed_prompts"]) == (6, 12, 0.5)
    assert figures["changed_by_principle"] == {"mill": 0.5, "river": 0.0}
    assert figures["refused"] == figures["over_refusal"] == {"before": 0.0, "after": 0.0}


def test_a_killed_run_ends_with_the_same_bits(critic: Path, tmp_path: Path) -> None:
    """Sampled so hot that every draw shows."""
    hot = SamplingConfig(temperature=2.5, max_tokens=24)
    whole = revise(tmp_path / "whole", critic, answer=hot, critic=hot)
    folder = tmp_path / "killed"
    for step in (2, 4):
        with pytest.raises(Killed):
            revise(folder, critic, KillAt("critique", step), answer=hot, critic=hot)
        with (folder / "out" / "state" / "journal.jsonl").open("ab") as journal:  # half of the next chunk
            journal.write(b'{"answer": "x", "whole": true, "rounds": []}\n{"answer": "ha')
    resumed = revise(folder, critic, answer=hot, critic=hot)
    assert resumed.id == whole.id
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.manifest.figures == whole.manifest.figures
    assert not (folder / "out" / "state").exists()
    assert len({row["answer"] for row in rows(whole)[1]}) > 3


def test_a_journal_of_other_inputs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, of="one", total=4, chunk=2).add([{"a": 1}, {"a": 2}])
    with pytest.raises(WorkspaceError, match="other inputs"):
        Journal(path, of="two", total=4, chunk=2)
    assert Journal(path, of="one", total=4, chunk=2).rows == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_journal_cut_anywhere_keeps_whole_chunks_only(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, of="x", total=5, chunk=2)
    for chunk in journal.open_chunks:
        journal.add([{"at": at} for at in chunk])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut])
    again = Journal(path, of="x", total=5, chunk=2)
    assert len(again.rows) in ((5,) if cut == 0 else (0, 2, 4))
    for chunk in again.open_chunks:
        again.add([{"at": at} for at in chunk])
    assert path.read_bytes() == whole
    assert [row["at"] for row in again.rows] == list(range(5))


def test_principles_are_dealt_evenly_and_none_twice_before_all_have_come() -> None:
    orders = [critique.drawn(3, at, 4) for at in range(2000)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    firsts = Counter(order[0] for order in orders)
    assert all(abs(firsts[i] - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5 for i in range(4))
    assert orders[:5] == [critique.drawn(3, at, 4) for at in range(5)] != [critique.drawn(4, at, 4) for at in range(5)]


@pytest.mark.parametrize(
    ("fits", "said", "revision", "expected"),
    [
        (False, "", None, ("old", "too_long")),
        (True, "", None, ("old", "broken")),
        (True, "All is well.", None, ("old", "unchanged")),
        (True, "bad", Written("new", True), ("new", "changed")),
        (True, "bad", Written("old", True), ("old", "unchanged")),
        (True, "bad", Written("new and", False), ("old", "broken")),
        (True, "bad", Written("", True), ("old", "broken")),
    ],
)
def test_a_revision_is_taken_only_whole(fits: bool, said: str, revision: Any, expected: Any) -> None:
    assert critique._judged("old", fits, said, revision) == expected


def revised(*texts: str, whole: bool = True) -> Revised:
    rounds = [Round(f"p{n}", "hm", text, "changed") for n, text in enumerate(texts[1:])]
    return Revised(texts[0], whole, rounds)


def test_training_takes_the_last_revision_or_all_and_nothing_broken() -> None:
    prompt = Prompt((user("Q"), Message("assistant", "bad"), user("And?")), skill="s", source="simulated")

    def texts(row: Revised, **changes: Any) -> list[str]:
        made = list(critique.demonstrations(prompt, row, small_constitution(), config(**changes)))
        assert all((d.given, d.source, d.skill) == (3, "simulated", "s") for d in made)
        assert len({d.id for d in made}) == len(made)
        return [d.messages[-1].content for d in made]

    assert texts(revised("a", "b", "c")) == ["c"]
    assert texts(revised("a", "b", "c", "b"), train_on="all") == ["b", "c"]
    assert texts(revised("a")) == texts(revised("a"), train_on="all") == ["a"]
    assert texts(revised("a", whole=False)) == []
    assert texts(revised("a", "b", whole=False)) == ["b"]


def test_refusals_are_counted_apart_on_harmless_prompts() -> None:
    asked = [Prompt((user("x"),), truth={"harmless": i < 2}) for i in range(6)]
    no = "I cannot help with that."
    told = [
        revised("fine", no),
        revised("fine"),
        revised("fine", no),
        revised("fine"),
        revised(no),
        revised("fine", no),
    ]
    figures = critique.figures_of(asked, told, refuses)
    assert figures["over_refusal"] == {"before": 0.0, "after": 0.5}
    assert figures["refused"] == {"before": 0.25, "after": 0.75}
    assert critique.figures_of(asked[2:], told[2:], refuses)["over_refusal"] == {"before": None, "after": None}


@pytest.mark.parametrize(
    ("text", "refusal", "evasion"),
    [
        ("I can't help with that.", True, True),
        ("I\u2019m sorry, but I cannot assist.", True, True),
        ("No.", True, True),
        ("I will not help with robbing, because it can harm people.", True, False),
        ("I cannot help with that. If you are angry, I can help you find calm words.", True, False),
        ("I am not able to share this.", True, True),
        ("To beat an egg, use a big bowl.", False, False),
        ("I cannot wait to tell you: yes!", False, False),
        ("There is no answer.", False, False),
    ],
)
def test_refusals_and_evasions_are_read(text: str, refusal: bool, evasion: bool) -> None:
    assert (refuses(text), evades(text)) == (refusal, evasion)


def test_prompts_that_do_not_fit_are_left_out_and_counted(critic: Path, tmp_path: Path) -> None:
    long = Prompt((user("the old mill stands by the river " * 20),))
    given: dict[str, Any] = {"seed": 1, "parents": {}}
    made = critique.run(config(**GREEDY), small_constitution(), critic, [long, *prompts(2)], tmp_path / "out",
                        Progress(), **given)  # fmt: skip
    assert made.manifest.figures["left_out"] == 1
    assert made.manifest.figures["prompts"] == 2
    with pytest.raises(InputError, match="no prompt leaves room"):
        critique.run(config(), small_constitution(), critic, [long], tmp_path / "none", Progress(), **given)


def test_examples_are_shown_as_far_as_they_fit(critic: Path) -> None:
    from chatwright.engine import Engine

    work = critique.Reviser(
        config(examples=2, **GREEDY), small_constitution(), Engine.load(critic), None, 1, prompts(1)
    )
    shown = {}
    for size in (8, 30, 50, 90, 150):
        work.config = config(examples=2, critic=GREEDY["critic"].model_copy(update={"max_tokens": size}))
        turns = work._asked(0, WRONG, small_constitution().principle("mill"))
        shown[size] = len(turns)
        assert not turns or len(work.author._tokens(turns)) + 2 * size <= work.author.engine.context
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    assert shown[8] > shown[50] > shown[150] == 0
