"""A person's mistake is one sentence and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, write_rows

from chatwright.workspace import Workspace

TINY = ("--preset", "tiny", "--json", "--set", "machine.threads=1", "--set", "sft.sequence=48")


def artefacts_of(workspace: Path) -> list[str]:
    return sorted(p.name for p in (workspace / "artefacts").glob("*"))


def talk(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": "assistant" if i % 2 else "user", "content": t} for i, t in enumerate(turns)]}


GOOD = [talk(f"What is {i}?", f"The capital is {i}.") for i in range(6)]
RANKED = [{"prompt": f"Say {i}", "responses": ["yes", "no", "the river"], "ranking": [0, 1, 2]} for i in range(6)]


# Data.


@pytest.mark.parametrize("verb", ["curate", "tokenizer", "pretrain", "sft", "reward", "dpo", "evaluate"])
def test_empty_folder(verb: str, command: Command, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = artefacts_of(workspace)
    model = ["sft"] if verb == "evaluate" else []
    said = command(verb, *model, tmp_path / "empty", "-w", workspace, *TINY).complaint
    assert str(tmp_path / "empty") in said
    assert artefacts_of(workspace) == before


def test_missing_file(command: Command, workspace: Path, tmp_path: Path) -> None:
    assert "does not exist" in command("sft", tmp_path / "no.jsonl", "-w", workspace, *TINY).complaint


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_binary_file(name: str, command: Command, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x7fELF\x00\x01" + bytes(range(256)) * 20)
    before = artefacts_of(workspace)
    for verb in ("curate", "sft"):
        assert name in command(verb, tmp_path / name, "-w", workspace, *TINY).complaint
    assert artefacts_of(workspace) == before


def test_broken_line_is_named_and_the_rest_goes_on(command: Command, workspace: Path, tmp_path: Path) -> None:
    bad = [
        "{not json", "[1, 2]", {"messages": [{"role": "robot", "content": "x"}]}, {"messages": []},
        {"messages": [{"role": "user", "content": "only asks"}]}, {"messages": [{"role": "user", "content": 3}]},
        '{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "x"}]}',
    ]  # fmt: skip
    data = write_rows(tmp_path / "rows.jsonl", [GOOD[0], *bad, *GOOD[1:]])
    outcome = command("sft", data, "-w", workspace, *TINY)
    figures = outcome.result["figures"]
    assert figures["demonstrations"] == len(GOOD) - 1  # one is held out
    assert figures["rows_left_out"] == len(bad)
    assert figures["first_problem"].startswith(f"{data}:2: ")
    assert f"{len(bad)} rows were left out" in outcome.err
    assert f"{data}:2" in outcome.err


def test_unknown_role_in_every_row(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [{"messages": [{"role": "robot", "content": "x"}]}] * 3)
    said = command("sft", data, "-w", workspace, *TINY).complaint
    assert "'robot' does not exist" in said
    assert f"{data}:1" in said


def test_ranking_with_unknown_indexes(command: Command, workspace: Path, tmp_path: Path) -> None:
    wrong = [RANKED[0] | {"ranking": [0, 7, 1]}, RANKED[0] | {"ranking": [0, 0, 1]}, RANKED[0] | {"preferred": 5,
             "ranking": None}, RANKED[0] | {"responses": ["alone"]}]  # fmt: skip
    data = write_rows(tmp_path / "rows.jsonl", [*wrong, *RANKED])
    for verb in ("reward", "dpo"):
        figures = command(verb, data, "-w", workspace, *TINY).result["figures"]
        assert figures["rows_left_out"] == len(wrong)
        assert "7" in figures["first_problem"]
    said = command("reward", write_rows(tmp_path / "bad.jsonl", wrong), "-w", workspace, *TINY).complaint
    assert "bad.jsonl:1" in said


def test_rankings_without_any_order(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [RANKED[0] | {"ranking": [[0, 1, 2]]}] * 3)
    before = artefacts_of(workspace)
    for verb in ("reward", "dpo"):
        assert "different rank" in command(verb, data, "-w", workspace, *TINY).complaint
    assert artefacts_of(workspace) == before


def test_long_conversation_is_cut_by_turns_and_counted(command: Command, workspace: Path, tmp_path: Path) -> None:
    long = talk("What is the capital?", "Brook.", "And?", "the old mill stands by the river " * 8)
    hopeless = talk("the old mill stands by the river " * 20, "yes")
    data = write_rows(tmp_path / "rows.jsonl", [*GOOD, long, hopeless])
    outcome = command("sft", data, "-w", workspace, *TINY)
    figures = outcome.result["figures"]
    assert (figures["cut"], figures["dropped"]) == (1, 1)
    assert figures["cut_tokens"] > 50
    assert figures["demonstrations"] == len(GOOD)
    assert "1 conversations longer than 48 tokens lost their last turns, 1 were dropped whole" in outcome.err


def test_only_conversations_that_are_too_long(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [talk("the old mill stands by the river " * 20, "yes")] * 3)
    before = artefacts_of(workspace)
    assert "within 48 tokens" in command("sft", data, "-w", workspace, *TINY).complaint
    assert artefacts_of(workspace) == before


def test_held_out_row_that_is_too_long_stops_nothing(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [talk("the old mill stands by the river " * 20, "yes"), *GOOD])
    assert command("sft", data, "-w", workspace, *TINY).result["figures"]["demonstrations"] == len(GOOD)


def test_prompts_without_room_for_an_answer(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": "the old mill stands by the river " * 20}])
    before = artefacts_of(workspace)
    assert "room for an answer" in command("ppo", data, "-w", workspace, *TINY).complaint
    assert artefacts_of(workspace) == before


def test_too_little_text(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [{"text": "The mill stands by the old river and the miller sings."}])
    said = command("pretrain", data, "-w", workspace, *TINY, "--set", "text.quality=false").complaint
    assert "give it more text" in said


def test_rows_of_another_kind(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", RANKED)
    assert "messages" in command("sft", data, "-w", workspace, *TINY).complaint
    data = write_rows(tmp_path / "talks.jsonl", GOOD)
    assert "prompt" in command("dpo", data, "-w", workspace, *TINY).complaint


# Settings and artefacts.


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--set", "sft.epoks=3"], "sft.epoks"), (["--set", "sft.epochs=-1"], "sft.epochs"),
        (["--set", "sft.epochs"], "'='"), (["--preset", "desktop"], "desktop"), (["--config", "no.toml"], "no.toml"),
    ],
)  # fmt: skip
def test_unknown_setting(options: list[str], name: str, command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    assert name in command("sft", data, "-w", workspace, "--json", *options).complaint


def test_seed_of_the_settings_file_holds_unless_an_option_says_otherwise(command: Command, tmp_path: Path) -> None:
    text = [{"text": f"The mill number {i} stands by the old river and the miller sings."} for i in range(40)]
    data = write_rows(tmp_path / "rows.jsonl", text)
    (tmp_path / "a.toml").write_text("seed = 7\n")
    workspace = tmp_path / "workspace"
    options = ["-w", workspace, *TINY, "--config", tmp_path / "a.toml", "--set", "text.quality=false",
               "--set", "text.near_dedup=false"]  # fmt: skip
    first = command("curate", data, *options).result
    assert Workspace(workspace).find(first["id"]).manifest.seed == 7
    second = command("curate", data, *options, "--seed", "8").result
    assert Workspace(workspace).find(second["id"]).manifest.seed == 8


def test_wrong_kind_of_artefact(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    assert "is a reward" in command("sft", data, "--base", "reward", "-w", workspace, *TINY).complaint
    said = command(
        "ppo", write_rows(tmp_path / "p.jsonl", [{"prompt": "x"}]), "--reward", "sft", "-w", workspace, *TINY
    )
    assert "is a sft, but a reward is needed" in said.complaint
    assert "tokenizer" in command("evaluate", "tokenizer", data, "-w", workspace, *TINY).complaint
    assert "no artefact 'nobody'" in command("sft", data, "--base", "nobody", "-w", workspace, *TINY).complaint


def test_folder_that_is_no_artefact(command: Command, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    assert "chatwright import" in command("sft", data, "--base", tmp_path / "plain", "-w", workspace, *TINY).complaint


def test_folder_of_data_does_not_hide_a_model_of_that_name(
    command: Command, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_rows(tmp_path / "base" / "rows.jsonl", GOOD)
    monkeypatch.chdir(tmp_path)
    assert command("sft", data, "--base", "base", "-w", workspace, *TINY).result["kind"] == "sft"
    assert "could be" in command("evaluate", "", data, "-w", workspace, *TINY).complaint


def test_workspace_in_use(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from chatwright.workspace import Workspace\n"
         f"with Workspace({str(workspace)!r}): print('held', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert "another process" in command("sft", data, "-w", workspace, *TINY).complaint
        assert command("models", "-w", workspace, "--json").code == 0  # reading needs no lock
    finally:
        holder.communicate()


def test_workspace_that_is_a_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    assert "cannot be written" in command("sft", data, "-w", tmp_path / "file", *TINY).complaint


# Checkpoints.


@pytest.fixture
def foreign(workspace: Path, tmp_path: Path) -> Path:
    """A model folder in three shards, without a manifest."""
    from chatwright.model.checkpoint import load_checkpoint, save_checkpoint

    found = load_checkpoint(workspace / "artefacts" / "sft-made")
    save_checkpoint(tmp_path / "foreign", found.model, found.tokenizer, shard_bytes=12_000)
    assert len(list((tmp_path / "foreign").glob("*.safetensors"))) > 2
    return tmp_path / "foreign"


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in (config | changes).items() if value != "REMOVED"}
    (folder / "config.json").write_text(json.dumps(config))


def refused(command: Command, foreign: Path, workspace: Path) -> str:
    before = artefacts_of(workspace)
    said = command("import", foreign, "-w", workspace, "--json").complaint
    assert artefacts_of(workspace) == before
    return said


def test_import_and_export(command: Command, foreign: Path, workspace: Path, tmp_path: Path) -> None:
    made = command("import", foreign, "--name", "mine", "-w", workspace, "--json").result
    assert made["kind"] == "model"
    assert command("import", foreign, "--name", "mine", "-w", workspace, "--json").result["id"] == made["id"]
    assert command("export", "mine", tmp_path / "out", "-w", workspace).code == 0
    assert not list(tmp_path.glob(".out*"))
    import transformers

    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").num_parameters() > 1000
    assert "not empty" in command("export", "mine", tmp_path / "out", "-w", workspace).complaint
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    figures = command("evaluate", "mine", data, "-w", workspace, *TINY).result
    assert figures["demonstrations"] == len(GOOD)
    assert figures["answer_loss"] > 0


def test_missing_shard(command: Command, foreign: Path, workspace: Path) -> None:
    shard = sorted(foreign.glob("*.safetensors"))[1]
    shard.unlink()
    assert f"lacks the shard {shard.name}" in refused(command, foreign, workspace)


def test_truncated_weights(command: Command, foreign: Path, workspace: Path) -> None:
    shard = sorted(foreign.glob("*.safetensors"))[1]
    for size in (0, 5, shard.stat().st_size - 7):
        os.truncate(shard, size)
        assert shard.name in refused(command, foreign, workspace)


def test_weights_that_are_no_numbers(command: Command, workspace: Path, tmp_path: Path) -> None:
    import torch

    from chatwright.model.checkpoint import load_checkpoint, save_checkpoint

    found = load_checkpoint(workspace / "artefacts" / "sft-made")
    with torch.no_grad():
        found.model.model.norm.weight.fill_(float("nan"))
    save_checkpoint(tmp_path / "nan", found.model, found.tokenizer)
    assert "not finite" in refused(command, tmp_path / "nan", workspace)


def test_pickled_weights_are_never_opened(command: Command, foreign: Path, workspace: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    for path in foreign.glob("model*.safetensors*"):
        path.unlink()
    (foreign / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert "pickled" in refused(command, foreign, workspace)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": "mamba"}, "mamba"), ({"model_type": "REMOVED"}, "None"), ({"hidden_act": "gelu"}, "gelu"),
        ({"quantization_config": {"bits": 4}}, "quantised"), ({"hidden_size": "REMOVED"}, "hidden_size"),
        ({"num_hidden_layers": 3}, "model.layers.2"), ({"num_hidden_layers": 1}, "model.layers.1"),
        ({"intermediate_size": 44}, "shape"), ({"vocab_size": "many"}, "many"), ({"num_key_value_heads": 3}, "evenly"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "factor"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "0.5"),
        ({"attention_bias": True}, "bias"), ({"use_sliding_window": True, "sliding_window": 8}, "sliding"),
    ],
    ids=str,
)  # fmt: skip
def test_foreign_architecture(
    changes: dict[str, Any], word: str, command: Command, foreign: Path, workspace: Path
) -> None:
    change_config(foreign, **changes)
    assert word in refused(command, foreign, workspace)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"]
)
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe\x00", b"{}"], ids=str)
def test_missing_or_damaged_file(
    name: str, content: bytes | None, command: Command, foreign: Path, workspace: Path
) -> None:
    (foreign / name).unlink()
    if content is not None:
        (foreign / name).write_bytes(content)
    elif name == "tokenizer_config.json":  # the template also stands in its own file
        (foreign / "chat_template.jinja").unlink()
    if name == "tokenizer_config.json" and content == b"{}":
        return  # nothing is missing: the template stands in its own file
    assert "foreign" in refused(command, foreign, workspace)


def test_folder_that_is_no_model(command: Command, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    assert "foreign" in refused(command, tmp_path / "foreign", workspace)
    shutil.rmtree(tmp_path / "foreign")
    assert "foreign" in refused(command, tmp_path / "foreign", workspace)


def test_template_that_is_no_jinja(command: Command, foreign: Path, workspace: Path) -> None:
    (foreign / "chat_template.jinja").write_text("{% for %}")
    assert "Jinja" in refused(command, foreign, workspace)


def test_damaged_artefact(command: Command, workspace: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", GOOD)
    os.truncate(workspace / "artefacts" / "pretrain-made" / "model.safetensors", 1000)
    before = artefacts_of(workspace)
    assert "damaged" in command("sft", data, "-w", workspace, *TINY).complaint
    assert artefacts_of(workspace) == before


def test_damaged_resume_state_is_one_sentence(command: Command, workspace: Path, tmp_path: Path) -> None:
    from tests.train.worlds import Killed

    from chatwright.progress import Stage

    data = write_rows(tmp_path / "rows.jsonl", GOOD * 10)
    advance = Stage.advance
    options = [data, "-w", workspace, *TINY, "--set", "sft.checkpoint_every=1", "--set", "sft.epochs=6"]

    def deadly(self: Stage, done: int, **figures: float) -> None:
        advance(self, done, **figures)
        if self.name == "sft" and done == 3:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "advance", deadly)
        with pytest.raises(Killed):
            command("sft", *options)
    saved = next(workspace.glob("artefacts/sft-*/state/step-*/state.safetensors"))
    os.truncate(saved, 100)
    assert str(saved.parent) in command("sft", *options).complaint


def test_grpo_wants_one_source_of_rewards_and_rows_it_can_check(
    command: Command, workspace: Path, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Tell me a story."}])
    before = artefacts_of(workspace)
    small = ("-w", workspace, *TINY)
    for given in ((), ("--reward", "reward", "--verify", "exact")):
        assert "either --reward MODEL or --verify" in command("grpo", rows, *given, *small).complaint
    assert "use one of exact, tests" in command("grpo", rows, "--verify", "vibes", *small).complaint
    assert (
        'rows.jsonl:1: nothing to check an answer by; give the row an "answer"'
        in command("grpo", rows, "--verify", "exact", *small).complaint
    )
    broken = write_rows(tmp_path / "broken.jsonl", [{"prompt": "Write f.", "tests": ["f(1) == 2"]}])
    assert "must be one assert" in command("grpo", broken, "--verify", "tests", *small).complaint
    assert "is a sft" in command("grpo", rows, "--reward", "sft", *small).complaint
    assert artefacts_of(workspace) == before
