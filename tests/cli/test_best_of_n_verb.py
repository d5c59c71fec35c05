"""`best-of-n` and the watched `ppo` from the command line, on the small world's own prompts and on a person's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, write_rows

from chatwright import starter
from chatwright.train.scoring import ScoringModel, from_decoder, save_scoring
from chatwright.workspace import finish

TINY = ("--preset", "tiny", "--json", "--set", "machine.threads=1")
ASKED = [{"prompt": f"Say {i}"} for i in range(12)]
HELD_OUT = [{"prompt": f"Ask {i}"} for i in range(32)]
LONG = ("--set", "best_of_n.max_tokens=40", "--n", "8")  # an untrained model seldom ends


def second_reward(workspace: Path) -> str:
    """Another untrained reward model."""
    parent, folder = workspace / "artefacts" / "sft-made", workspace / "artefacts" / "reward-other"
    model: ScoringModel = from_decoder(parent, 2)
    save_scoring(folder, parent, dict(model.named_parameters()), 0.0, 1.0)
    finish(folder, kind="reward", name="other", parents={}, config={"other": True}, seed=2, figures={})
    return "other"


def truths(split: Any, count: int) -> list[dict[str, Any]]:
    """Short prompts of the small world, which leave room in a context of 64."""
    return [p.to_json() for p in starter.prompts(3, split, 400) if len(p.messages[-1].content) < 22][:count]


def test_help_shows_an_example(command: Command) -> None:
    outcome = command("best-of-n", "--help")
    assert outcome.code == 0
    assert "Example: chatwright best-of-n" in outcome.out


def test_best_of_n_and_back_into_sft(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "prompts.jsonl", ASKED)
    made = command("best-of-n", data, "-w", workspace, *TINY, *LONG).result
    assert made["kind"] == "best-of-n"
    figures = made["figures"]
    assert list(figures["by_n"]) == ["1", "2", "4", "8"]
    assert figures["by_n"]["8"]["proxy"][0] > figures["by_n"]["1"]["proxy"][0]
    assert figures["kept"] + figures["left_out"] == len(ASKED)
    again = command("best-of-n", data, "-w", workspace, *TINY, *LONG).result
    assert again["id"] == made["id"]
    kept = Path(made["path"]) / "demonstrations.jsonl.gz"
    tuned = command("sft", kept, "--base", "sft", "-w", workspace, *TINY, "--set", "sft.sequence=64").result
    assert tuned["kind"] == "sft"
    shown = command("best-of-n", data, "-w", workspace, *TINY[:2], *TINY[3:], *LONG)
    assert "  by n:\n    1:\n      kl: 0\n      proxy: " in shown.out


def test_gold_by_truth_and_by_another_reward_model(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "truths.jsonl", truths("train", 12))
    by_truth = command("best-of-n", data, "--gold", "starter", "-w", workspace, *TINY, *LONG).result
    assert 0 <= by_truth["figures"]["by_n"]["8"]["gold"][0] <= 1
    other = second_reward(workspace)
    by_model = command("best-of-n", data, "--gold", other, "-w", workspace, *TINY, *LONG).result
    assert by_model["id"] != by_truth["id"]
    both = command("best-of-n", data, "--reward", "reward", "--reward", other, "-w", workspace, *TINY, *LONG).result
    assert both["figures"]["disagreement"] > 0


@pytest.mark.parametrize("gold", ["starter", "other"])
def test_ppo_under_watch(gold: str, command: Command, workspace: Path, tmp_path: Path) -> None:
    practised = write_rows(tmp_path / "prompts.jsonl", ASKED)
    held = write_rows(tmp_path / "held.jsonl", truths("heldout", 60) if gold == "starter" else HELD_OUT)
    second_reward(workspace)
    words = ("ppo", practised, "--heldout", held, "--gold", gold, "-w", workspace, "--preset", "tiny", "--set",
             "machine.threads=1", "--set", "ppo.monitor.prompts=60")  # fmt: skip
    made = command(*words, "--json").result
    report = made["figures"]["monitor"]
    assert [row["step"] for row in report["curve"]][:3] == [0, 1, 2]
    assert report["said"]
    shown = command(*words)
    assert "said: " in shown.out
    assert "curve" not in shown.out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("best-of-n", "PROMPTS", "--n", "1"), "best_of_n.n"),
        (("best-of-n", "PROMPTS", "--gold", "starter"), "12 of 12 prompts hold no truth"),
        (("best-of-n", "PROMPTS", "--gold", "reward"), "cannot be its own judge"),
        (("best-of-n", "PROMPTS", "--reward", "reward", "--reward", "reward"), "named twice"),
        (("best-of-n", "PROMPTS", "--reward", "sft"), "a reward is needed"),
        (("ppo", "PROMPTS", "--gold", "reward"), "--gold and --heldout go together"),
        (("ppo", "PROMPTS", "--heldout", "PROMPTS"), "--gold and --heldout go together"),
        (("ppo", "PROMPTS", "--heldout", "PROMPTS", "--gold", "other"), "held out for the gold measure"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    words: tuple[str, ...], complaint: str, command: Command, workspace: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "prompts.jsonl", ASKED)
    second_reward(workspace)
    before = sorted(p.name for p in (workspace / "artefacts").iterdir())
    said = command(*(data if w == "PROMPTS" else w for w in words), "-w", workspace, *TINY).complaint
    assert complaint in said
    assert sorted(p.name for p in (workspace / "artefacts").iterdir()) == before
