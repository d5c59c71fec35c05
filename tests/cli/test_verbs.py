"""The verbs on a person's own rows, their help, and how they are interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, write_rows

from chatwright.workspace import Workspace

SMALL = [
    "--preset", "tiny", "--json", "--set", "machine.threads=1", "--set", "model.layers=1", "--set", "sft.epochs=2",
    "--set", "pretrain.tokens=4096", "--set", "text.quality=false", "--set", "text.near_dedup=false",
    "--set", "tokenizer.vocab_size=400", "--set", "text.holdout_fraction=0.2",
]  # fmt: skip
VERBS = ("demo", "curate", "tokenizer", "pretrain", "sft", "reward", "ppo", "grpo", "dpo", "constitution", "best-of-n",
         "evaluate", "models", "import", "export", "engine", "serve", "bench", "bench serve", "feedback",
         "feedback export", "people", "people list", "people reset")  # fmt: skip


def own_data(folder: Path) -> dict[str, Path]:
    words = ["mill", "river", "miller", "flour", "water", "boat", "bridge", "valley", "stone", "lamp"]
    texts = [{"text": f"The {a} stands by the {b} and the old {a} knows number {i} of the {b}."}
             for i, (a, b) in enumerate((a, b) for a in words for b in words)]  # fmt: skip
    talks = [{"messages": [{"role": "user", "content": f"Where is the {w}?"},
                           {"role": "assistant", "content": f"The {w} is by the river."}]} for w in words]  # fmt: skip
    ranked = [{"prompt": f"Where is the {w}?", "responses": [f"By the {w}.", "No.", "I do not know."],
               "ranking": [0, [1, 2]]} for w in words * 2]  # fmt: skip
    return {
        "texts": write_rows(folder / "texts.jsonl", texts), "talks": write_rows(folder / "talks.jsonl", talks),
        "ranked": write_rows(folder / "ranked.jsonl", ranked),
        "prompts": write_rows(folder / "prompts.jsonl", [{"prompt": f"Where is the {w}?"} for w in words]),
    }  # fmt: skip


def test_whole_lifecycle_on_own_rows(command: Command, tmp_path: Path) -> None:
    data, workspace = own_data(tmp_path), tmp_path / "workspace"
    made = {}
    for verb, rows in (("tokenizer", "texts"), ("pretrain", "texts"), ("sft", "talks"), ("reward", "ranked"),
                       ("ppo", "prompts"), ("dpo", "ranked")):  # fmt: skip
        made[verb] = command(verb, data[rows], "-w", workspace, *SMALL).result
        assert made[verb]["kind"] == verb
        assert Path(made[verb]["path"]).is_dir()
    assert made["pretrain"]["figures"]["bits_per_byte"] > 0
    assert made["sft"]["figures"]["heldout_loss"] > 0
    # The same words again find what is there.
    assert command("sft", data["talks"], "-w", workspace, *SMALL).result["id"] == made["sft"]["id"]

    known = {row["id"]: row for row in command("models", "-w", workspace, "--json").result}
    assert {m["id"] for m in made.values()} <= known.keys()
    assert known[made["ppo"]["id"]]["parents"] | {"files": ""} == {
        "sft": made["sft"]["id"], "reward": made["reward"]["id"], "files": ""
    }  # fmt: skip
    assert all(row["source"] == "human" for row in known.values())
    tree = command("models", "-w", workspace)
    assert tree.code == 0
    assert all(m["id"] in tree.out for m in made.values())

    for model in ("base", "sft", made["dpo"]["id"][:9], made["ppo"]["path"]):
        figures = command("evaluate", model, data["texts"], data["talks"], data["ranked"], "-w", workspace, *SMALL)
        assert figures.result["bits_per_byte"] > 0
        assert figures.result["answer_loss"] > 0
        assert 0 <= figures.result["pairs_in_order"] <= 1
        assert figures.result["pairs"] == 40
    said = command("evaluate", "sft", data["talks"], "-w", workspace, *SMALL[:2])
    assert "answer loss: " in said.out


def test_grpo_on_own_rows(command: Command, workspace: Path, tmp_path: Path) -> None:
    """With a reward model and with both verifiers; rows that cannot be checked are named."""
    small = ["-w", workspace, *SMALL[:5]]
    sums = [{"prompt": f"What is {i} + 1?", "answer": i + 1} for i in range(4)]
    rows = write_rows(tmp_path / "sums.jsonl", [*sums, {"prompt": "Tell me a story."}])
    judged = command("grpo", rows, "--reward", "reward", *small).result
    assert judged["kind"] == "grpo"
    assert judged["figures"]["prompts"] == 5
    checked = command("grpo", rows, "--verify", "exact", *small, "--set", "grpo.missing_end_penalty=0").result
    assert (checked["figures"]["prompts"], checked["figures"]["rows_left_out"]) == (4, 1)
    assert "sums.jsonl:5" in checked["figures"]["first_problem"]
    assert checked["figures"]["no_variance"] == 1.0  # it cannot count
    code = write_rows(tmp_path / "code.jsonl", [{"prompt": "Write f.", "tests": ["assert f(1) == 2"]}] * 2)
    assert command("grpo", code, "--verify", "tests", *small).result["figures"]["prompts"] == 2
    known = {row["id"]: row for row in command("models", "-w", workspace, "--json").result}
    assert known[checked["id"]]["parents"]["verifier"] == "exact"
    # It is a model like others: it can be measured, and aligned further.
    assert command("grpo", rows, "--sft", "grpo", "--verify", "exact", *small).result["id"] != checked["id"]


def test_bits_per_byte_of_evaluate_is_that_of_training(command: Command, tmp_path: Path) -> None:
    data, workspace = own_data(tmp_path), tmp_path / "workspace"
    made = command("pretrain", data["texts"], "-w", workspace, *SMALL).result
    corpus = next(a for a in Workspace(workspace).artefacts() if a.manifest.kind == "corpus")
    held = corpus.path / "holdout.jsonl.gz"
    again = command("evaluate", "base", held, "-w", workspace, *SMALL).result
    assert again["bits_per_byte"] == pytest.approx(made["figures"]["bits_per_byte"], rel=1e-3)


def fresh(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=900, check=False, **more
    )


def test_help_needs_neither_torch_nor_pydantic() -> None:
    program = (
        "import sys\nsys.argv = ['chatwright', '--help']\nfrom chatwright.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code\n"
        "heavy = {'torch', 'pydantic', 'numpy', 'transformers', 'tokenizers', 'pyarrow', 'sqlalchemy', 'fastapi'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = fresh("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    for verb in VERBS:
        assert re.search(rf"^\s+{verb.partition(' ')[0]}\b", done.stdout, re.MULTILINE), verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, command: Command) -> None:
    outcome = command(*verb.split(), "--help")
    assert outcome.code == 0
    assert f"Example: chatwright {verb}" in outcome.out


def test_unknown_verb_and_option_are_refused(command: Command) -> None:
    for arguments in (["fly"], ["sft", "x", "--speed", "3"], ["sft"]):
        outcome = command(*arguments)
        assert outcome.code == 2
        assert "Traceback" not in outcome.err


def test_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C in the middle of pretraining: exit code 130, one sentence, and the next run finishes."""
    data, workspace = own_data(tmp_path), tmp_path / "workspace"
    # A shell that puts jobs into the background lets them ignore SIGINT; Ctrl-C is what is tested here.
    program = (
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from chatwright.progress import Stage\nadvance = Stage.advance\n"
        "def interrupted(self, done, **figures):\n    advance(self, done, **figures)\n"
        "    if self.name == 'pretrain' and done == 2: os.kill(os.getpid(), signal.SIGINT)\n"
        "Stage.advance = interrupted\nfrom chatwright.cli.main import main\nmain()"
    )
    words = ["pretrain", str(data["texts"]), "-w", str(workspace), *SMALL, "--set", "pretrain.checkpoint_every=1"]
    done = fresh("-c", program, *words)
    assert done.returncode == 130
    assert done.stderr.rstrip().endswith("chatwright: stopped; the same command goes on where it was")
    assert "Traceback" not in done.stderr
    assert signal.SIGINT
    events = (workspace / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["event"] == "interrupted"
    done = fresh("-m", "chatwright.cli.main", *words)
    assert done.returncode == 0, done.stderr
    assert "goes on from step" in (workspace / "events.jsonl").read_text()


def test_two_ranks_share_one_workspace(tmp_path: Path) -> None:
    """torchrun: the first rank curates and speaks, both train."""
    data, workspace = own_data(tmp_path), tmp_path / "workspace"
    words = ["pretrain", str(data["texts"]), "-w", str(workspace), *SMALL]
    done = fresh(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "chatwright.cli.main", *words,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(results) == 1
    assert results[0]["kind"] == "pretrain"
    assert len(Workspace(workspace).artefacts()) == 4
    starts = [
        e for e in map(json.loads, (workspace / "events.jsonl").read_text().splitlines()) if e["event"] == "start"
    ]
    assert [e["stage"] for e in starts] == ["curate", "tokenizer", "pretrain"]


def test_full_disk_is_one_sentence_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; the weights are the first file that meets it."""
    data, workspace = own_data(tmp_path), tmp_path / "workspace"
    words = ["pretrain", str(data["texts"]), "-w", str(workspace), *SMALL]
    limited = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from chatwright.cli.main import main\nresource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\nmain()"
    )
    done = fresh("-c", limited, *words)
    assert done.returncode == 2, done.stderr
    complaint = done.stderr.rstrip().splitlines()[-1]
    assert complaint.startswith("chatwright: ")
    assert "could not be written" in complaint
    assert "Traceback" not in done.stderr
    assert not list(workspace.rglob("*.tmp"))
    assert {a.manifest.kind for a in Workspace(workspace).artefacts()} == {"corpus", "tokenizer", "tokens"}
    assert fresh("-m", "chatwright.cli.main", *words).returncode == 0
