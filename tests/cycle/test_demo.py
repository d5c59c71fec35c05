"""The first build from the command line: killed in every stage it ends the same, and what it built opens elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatwright.progress import EVENTS_FILE
from chatwright.workspace import Workspace

KILLER = Path(__file__).parent / "killed.py"
STAGES = ("corpus", "curate", "tokenizer", "pretrain", "sft", "rank", "reward", "ppo", "dpo", "evaluate")


def demo(workspace: Path, *, killed_in: str = "") -> subprocess.CompletedProcess[str]:
    start = [str(KILLER), killed_in] if killed_in else ["-m", "chatwright.cli.main"]
    arguments = ["demo", "--preset", "tiny", "--no-serve", "--json", "--seed", "3", "--set", "machine.threads=1"]
    return subprocess.run(
        [sys.executable, *start, *arguments, "--workspace", str(workspace)],
        capture_output=True, text=True, timeout=900, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace built in one go, and the closing line."""
    workspace = tmp_path_factory.mktemp("whole")
    done = demo(workspace)
    assert done.returncode == 0, done.stderr[-2000:]
    return workspace, json.loads(done.stdout.splitlines()[-1])


def timeless(table: dict[str, Any]) -> dict[str, Any]:
    stages = [{k: v for k, v in stage.items() if k != "seconds"} for stage in table["stages"]]
    return {key: value for key, value in table.items() if key != "seconds_total"} | {"stages": stages}


def events(workspace: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workspace / EVENTS_FILE).read_text().splitlines()]


def test_closing_line_has_the_promised_shape(built: tuple[Path, dict[str, Any]]) -> None:
    workspace, table = built
    assert [stage["name"] for stage in table["stages"]] == ["base", "sft", "ppo", "dpo"]
    numbers = {"gold", "harmful_refused", "lookalikes_refused", "facts", "arithmetic", "seconds"}
    for stage in table["stages"]:
        assert stage.keys() == {"name", "gold_ci", *numbers}
        assert all(isinstance(stage[key], int | float | None) for key in numbers)
        low, high = stage["gold_ci"]
        assert 0 <= low <= stage["gold"] <= high <= 1
    assert table.keys() == {"stages", "win_rate_over_sft", "win_rate_ci", "reward_pair_accuracy", "rater_ceiling",
                            "served", "seconds_total"}  # fmt: skip
    assert (workspace / "report.html").read_text().startswith("<!doctype html>")
    assert Workspace(workspace).find(table["served"]).manifest.source == "simulated"


def test_every_stage_is_announced_with_its_steps_and_its_end(built: tuple[Path, dict[str, Any]]) -> None:
    rows = events(built[0])
    for stage in STAGES:
        of_stage = [row["event"] for row in rows if row["stage"] == stage]
        assert of_stage[0] == "start"
        assert of_stage[-1] == "end"
        assert "step" in of_stage
    assert rows[0]["event"] == "plan"
    assert [s["name"] for s in rows[0]["stages"]] == list(STAGES)
    assert rows[-1]["event"] == "done"


def test_second_run_finds_everything_and_says_the_same(built: tuple[Path, dict[str, Any]]) -> None:
    workspace, table = built
    before = {a.id: (a.path / "manifest.json").stat().st_mtime_ns for a in Workspace(workspace).artefacts()}
    done = demo(workspace)
    assert done.returncode == 0, done.stderr[-2000:]
    assert timeless(json.loads(done.stdout.splitlines()[-1])) == timeless(table)
    after = {a.id: (a.path / "manifest.json").stat().st_mtime_ns for a in Workspace(workspace).artefacts()}
    assert after == before


def test_build_killed_in_each_stage_ends_with_the_same_bits(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """One workspace, killed with SIGKILL once in every stage, each time going on from the kill before."""
    whole, table = built
    for stage in STAGES:
        died = demo(tmp_path, killed_in=stage)
        assert died.returncode == -signal.SIGKILL, (stage, died.stderr[-2000:])
        assert events(tmp_path)[-1]["stage"] == stage
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert timeless(json.loads(done.stdout.splitlines()[-1])) == timeless(table)
    ours, theirs = Workspace(whole).artefacts(), Workspace(tmp_path).artefacts()
    assert {a.manifest.kind: a.id for a in ours} == {a.manifest.kind: a.id for a in theirs}
    assert len(ours) == len(theirs) == 11
    for kind in ("pretrain", "sft", "reward", "ppo", "dpo"):
        one, other = (next(a for a in some if a.manifest.kind == kind) for some in (ours, theirs))
        name = "model.safetensors"
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
    evaluations = [
        json.loads((next(a for a in some if a.manifest.kind == "evaluation").path / "evaluation.json").read_text())
        for some in (ours, theirs)
    ]
    assert timeless(evaluations[0]) == timeless(evaluations[1])
    assert not list(tmp_path.rglob("state"))
    assert not list(tmp_path.rglob("*.tmp"))


def test_other_seed_is_another_build_beside_it(built: tuple[Path, dict[str, Any]]) -> None:
    workspace, _ = built
    assert all(a.manifest.seed == 3 for a in Workspace(workspace).artefacts())


@pytest.mark.parametrize("name", ["base", "sft", "ppo", "dpo"])
def test_built_model_opens_in_transformers_with_the_same_greedy_answer(
    name: str, built: tuple[Path, dict[str, Any]]
) -> None:
    import torch
    import transformers

    from chatwright.engine import Engine, Request, SamplingParams
    from chatwright.records import Message

    folder = Workspace(built[0]).find(name).path
    question = "Who are you?"
    engine = Engine.load(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    prompt = engine.encode([Message("user", question)])
    assert asked["input_ids"][0].tolist() == list(prompt)
    got = engine.generate([Request(prompt, SamplingParams(max_tokens=24, temperature=0.0))])[0]
    with torch.no_grad():
        whole = theirs.generate(**asked, max_new_tokens=24, do_sample=False)[0, len(prompt) :]
    assert got.text == tokenizer.decode(whole, skip_special_tokens=True)


def test_gateway_is_told_what_to_serve(built: tuple[Path, dict[str, Any]]) -> None:
    workspace, table = built
    serving = json.loads((workspace / "serving.json").read_text())
    assert [m["name"] for m in serving["models"]] == ["base", "sft", "ppo", "dpo"]
    assert [m["id"] for m in serving["models"] if m["default"]] == [table["served"]]
    assert all((workspace / m["path"] / "config.json").exists() for m in serving["models"])
    assert serving["starters"]


@pytest.mark.parametrize("verb", ["sft", "reward", "ppo", "grpo", "dpo", "constitution", "best-of-n"])
def test_the_example_of_a_verb_runs_as_printed_on_what_was_built(
    verb: str, built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """In the folder of a build, in a shell; the environment only makes it short, as the tiny model's context asks."""
    shutil.copytree(built[0], tmp_path / ".chatwright")
    short = {"SFT__EPOCHS": "0.1", "REWARD__EPOCHS": "0.2", "DPO__EPOCHS": "0.2", "PPO__ITERATIONS": "2",
             "PPO__ROLLOUTS": "16", "GRPO__ITERATIONS": "2", "GRPO__PROMPTS": "6", "CONSTITUTION__ROUNDS": "1",
             "CONSTITUTION__SFT__EPOCHS": "0.2", "CONSTITUTION__ANSWER__MAX_TOKENS": "16", "GRPO__MAX_TOKENS": "16",
             "CONSTITUTION__CRITIC__MAX_TOKENS": "16", "MACHINE__THREADS": "1"}  # fmt: skip
    environment = os.environ | {f"CHATWRIGHT_{name}": value for name, value in short.items()} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
                              timeout=600, check=False)  # fmt: skip

    (example,) = re.findall(r"Example: (.*)", shell(f"chatwright {verb} --help").stdout)
    assert example.startswith(f"chatwright {verb} ")
    before = {path.name for path in (tmp_path / ".chatwright" / "artefacts").iterdir()}
    done = shell(example)
    assert done.returncode == 0, done.stderr[-2000:]
    made = {path.name for path in (tmp_path / ".chatwright" / "artefacts").iterdir()} - before
    assert any((tmp_path / ".chatwright" / "artefacts" / name / "manifest.json").exists() for name in made), made
