"""`chatwright constitution` on a person's own rows, and its bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.conftest import Command, write_rows
from tests.train.principled import ASKED, FILE, learned_critic

TINY = (
    "--preset", "tiny", "--json", "--set", "machine.threads=1", "--set", "constitution.answer.max_tokens=24",
    "--set", "constitution.critic.max_tokens=24", "--set", "constitution.answer.temperature=2.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return learned_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture
def given(tmp_path: Path, model: Path) -> list[Any]:
    """Prompts, a constitution, the model and where to work."""
    (tmp_path / "small.toml").write_text(FILE)
    rows = write_rows(tmp_path / "prompts.jsonl", [{"prompt": text} for text in ASKED if text.startswith("Where")])
    return [rows, "--constitution", tmp_path / "small.toml", "--sft", model, "-w", tmp_path / "workspace", *TINY]


def test_prompts_become_revisions_a_model_and_rows_for_the_reward_model(
    command: Command, given: list[Any], model: Path, tmp_path: Path
) -> None:
    harmless = write_rows(tmp_path / "harmless.jsonl", [{"prompt": text} for text in ASKED if text.startswith("What")])
    talk = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The miller."}]}
    helpful = write_rows(tmp_path / "helpful.jsonl", [talk] * 6)
    words = [*given, "--harmless", harmless, "--helpful", helpful, "--feedback"]
    made = command("constitution", *words).result
    figures = made["figures"]
    assert made["kind"] == "sft"
    assert figures["revisions"]["prompts"] == 6
    assert figures["revisions"]["over_refusal"]["after"] is not None
    assert figures["demonstrations"] <= figures["revisions"]["demonstrations"] + 6
    assert 0 <= figures["feedback"]["first_named_wins"] <= 1
    assert command("constitution", *words).result["id"] == made["id"]

    known = {row["id"]: row for row in command("models", "-w", tmp_path / "workspace", "--json").result}
    revisions = known[figures["revisions"]["id"]]
    assert revisions["source"] == known[made["id"]]["source"] == "model"
    assert revisions["parents"]["constitution"].startswith("constitution-")
    assert known[made["id"]]["parents"]["revisions"] == revisions["id"]
    assert known[figures["feedback"]["id"]]["parents"]["sft"] == made["id"]
    rows = Path(figures["feedback"]["path"]) / "comparisons.jsonl.gz"
    trained = command("reward", rows, "--sft", "constitution", "-w", tmp_path / "workspace", *TINY).result
    assert trained["figures"]["comparisons"] > 0


def test_the_default_constitution_is_too_long_for_a_tiny_context_and_that_is_counted(
    command: Command, given: list[Any]
) -> None:
    words = [word for word in given if word not in given[1:3]]
    figures = command("constitution", *words).result["figures"]["revisions"]
    assert figures["too_long_rounds"] == figures["rounds"] > 0


def test_bad_input_is_one_sentence(command: Command, given: list[Any], tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(FILE.replace('revision = "Say it dry."', ""))
    helpful = write_rows(tmp_path / "helpful.jsonl", [{"messages": [{"role": "assistant", "content": "x"}]}])
    for more, sentence in (
        (["--constitution", bad], "principle 2 (river) needs revision"),
        (["--constitution", tmp_path / "no.toml"], "no.toml cannot be read"),
        (["--critic", "localhost"], "is no address"),
        (["--helpful", helpful, "--set", "constitution.helpful_weight=0"], "constitution.helpful_weight"),
        (["--set", "constitution.clamp=0.5"], "constitution.clamp"),
        (["--set", "constitution.critic.max_tokens=0"], "constitution.critic.max_tokens"),
    ):
        assert sentence in command("constitution", *given, *more).complaint
    said = command("constitution", tmp_path / "none.jsonl", *given[1:]).complaint
    assert "none.jsonl does not exist" in said
