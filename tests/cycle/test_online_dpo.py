"""Online DPO: what is ranked is what the reward model scores, and the rounds follow each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.worlds import SHARED, base, comparisons, prompts

from chatwright.config import RewardConfig
from chatwright.cycle.online_dpo import online_dpo, ranked_by_scores
from chatwright.cycle.run import Run, read_all
from chatwright.errors import InputError
from chatwright.progress import Progress
from chatwright.records import Comparison, Message, Prompt
from chatwright.settings import load_settings
from chatwright.train import reward
from chatwright.workspace import Artefact, Workspace, finish, load_artefact


def test_ranking_follows_the_scores_and_ties_equal_texts() -> None:
    prompt = Prompt((Message("user", "Say it"),))
    made = ranked_by_scores(prompt, ["b", "a", "b", "c"], [0.1, 0.9, 0.1000001, -2.0])
    assert made.ranking == ((1,), (0, 2), (3,))
    assert made.source == "model"
    assert Comparison.from_json(made.to_json()) == made


@pytest.fixture
def started(tmp_path: Path) -> tuple[Artefact, Artefact]:
    start = base(tmp_path / "start")
    finish(start, kind="sft", name="sft", parents={}, config={}, seed=1, figures={}, source="human")
    judge = reward.run(RewardConfig(**(SHARED | {"epochs": 1.0})), start, comparisons(), tmp_path / "judge", Progress(),
                       seed=1, parents={})  # fmt: skip
    return load_artefact(start), judge


def test_rounds_follow_each_other_and_are_found_again(started: tuple[Artefact, Artefact], tmp_path: Path) -> None:
    settings = load_settings("tiny", environment={}, overrides=["online.prompts=5", "dpo.sequence=48"])
    start, judge = started
    with Workspace(tmp_path / "workspace") as workspace:
        run = Run(settings, workspace, Progress())
        made = online_dpo(run, start, judge, prompts(), {"files": "f"})
        kinds = [a.manifest.kind for a in workspace.artefacts()]
        assert sorted(kinds) == ["comparisons", "comparisons", "dpo", "dpo"]
        by_id = {a.id: a for a in workspace.artefacts()}
        before = by_id[made.manifest.parents["sft"]]
        assert before.manifest.parents["sft"] == start.id
        first, second = (by_id[a.manifest.parents["comparisons"]] for a in (before, made))
        assert (first.manifest.parents["policy"], second.manifest.parents["policy"]) == (start.id, before.id)
        rows = [read_all([a.path / "comparisons.jsonl.gz"], Comparison.from_json) for a in (first, second)]
        assert all(len(r) == 5 and r[0].source == "model" for r in rows)
        assert {r.prompt for r in rows[0]} != {r.prompt for r in rows[1]}  # the next prompts in their order
        assert online_dpo(run, start, judge, prompts(), {"files": "f"}).id == made.id
        assert len(workspace.artefacts()) == 4


def test_without_prompts_it_says_so(started: tuple[Artefact, Artefact], tmp_path: Path) -> None:
    with Workspace(tmp_path / "workspace") as workspace:
        run = Run(load_settings("tiny", environment={}), workspace, Progress())
        with pytest.raises(InputError, match="needs prompts"):
            online_dpo(run, *started, [], {})
