"""`export --gguf`, `import FILE.gguf` and `engine`: models that leave, come back and answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.conftest import Command
from tests.model.small import write_model

from chatwright.workspace import Workspace


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.name not in ("events.jsonl", ".lock")}


@pytest.mark.parametrize("type_", ["f32", "q8_0"])
def test_a_model_leaves_as_gguf_and_comes_back(type_: str, command: Command, workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "mine.gguf"
    told = command("export", "sft", file, "--gguf", "--type", type_, "-w", workspace, "--json").result
    assert (told["path"], told["format"]) == (str(file), "gguf")
    assert bool(told["notes"]) == (type_ == "q8_0")
    made = command("import", file, "--name", "back", "-w", workspace, "--json").result
    assert made["kind"] == "model"
    from chatwright.model.checkpoint import load_checkpoint

    before, again = load_checkpoint(workspace / "artefacts" / "sft-made"), load_checkpoint(made["path"])
    assert again.model.shape == before.model.shape
    if type_ == "f32":
        for name, weight in again.model.named_parameters():
            assert weight.equal(dict(before.model.named_parameters())[name])
    # A second export of what came back is the same file, but for its name.
    command("export", "back", tmp_path / "again.gguf", "--gguf", "--type", type_, "-w", workspace)
    assert (tmp_path / "again.gguf").stat().st_size == pytest.approx(file.stat().st_size, abs=64)


def test_exports_that_cannot_be_are_refused_in_words(command: Command, workspace: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.gguf"
    there.write_text("mine")
    assert "add --gguf" in command("export", "sft", tmp_path / "a.gguf", "-w", workspace).complaint
    assert "exists; name a new file" in command("export", "sft", there, "--gguf", "-w", workspace).complaint
    said = command("export", "sft", tmp_path / "a.gguf", "--gguf", "--type", "q2", "-w", workspace).complaint
    assert "known are f32, f16, bf16, q8_0" in said
    assert "a pretrain or" in command("export", "reward", tmp_path / "a.gguf", "--gguf", "-w", workspace).complaint
    assert there.read_text() == "mine"
    assert not (tmp_path / "a.gguf").exists()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64, b"PK\x03\x04" * 100])
def test_a_file_that_is_no_gguf_leaves_nothing(
    content: bytes, command: Command, workspace: Path, tmp_path: Path
) -> None:
    bad, before = tmp_path / "bad.gguf", files_of(workspace)
    bad.write_bytes(content)
    said = command("import", bad, "-w", workspace).complaint
    assert said.startswith(f"{bad} is not a GGUF file, or a damaged one")
    assert files_of(workspace) == before


def test_a_gguf_with_damaged_weights_leaves_nothing(command: Command, workspace: Path, tmp_path: Path) -> None:
    import gguf

    command("export", "sft", tmp_path / "mine.gguf", "--gguf", "--type", "f32", "-w", workspace)
    tensor = next(t for t in gguf.GGUFReader(tmp_path / "mine.gguf", "r+").tensors if t.name == "blk.0.ffn_up.weight")
    tensor.data[:] = float("nan")
    before = files_of(workspace)
    said = command("import", tmp_path / "mine.gguf", "-w", workspace).complaint
    assert said == f"{tmp_path / 'mine.gguf'} gives logits that are not finite; its weights are damaged"
    assert files_of(workspace) == before
    assert "does not exist" in command("import", tmp_path / "absent.gguf", "-w", workspace).complaint


def test_gguf_without_its_package_is_one_sentence(command: Command, workspace: Path, tmp_path: Path) -> None:
    """A Python in which the package cannot be found stands for one that lacks it."""
    program = (
        "import importlib.util, sys\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'gguf' else find(name, *a)\n"
        "from chatwright.cli.main import main\nmain()"
    )
    words = ["export", "sft", str(tmp_path / "a.gguf"), "--gguf", "-w", str(workspace)]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "chatwright: GGUF needs the package gguf; install it with `pip install 'chatwright[gguf]'`\n"
    )
    assert not (tmp_path / "a.gguf").exists()


@contextmanager
def running(*words: object) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """`chatwright engine WORDS --json` and what it told; it is ended when the block is left."""
    command = [sys.executable, "-m", "chatwright.cli.main", "engine", *map(str, words), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.terminate()
            process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", ["artefact", "folder"])
def test_an_engine_answers_until_it_is_ended(kind: str, workspace: Path, tmp_path: Path) -> None:
    if kind == "folder":
        write_model(tmp_path / "plain")
    words = ["sft", "-w", workspace] if kind == "artefact" else [tmp_path / "plain"]
    with running(*words) as (told, process):
        assert (told["model"], told["backend"]) == ("sft" if kind == "artefact" else "plain", "chatwright")
        body = {"model": told["model"], "max_tokens": 4, "messages": [{"role": "user", "content": "the mill"}]}
        answer = httpx.post(f"{told['url']}/chat/completions", json=body)
        assert answer.json()["usage"]["completion_tokens"] <= 4
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not alive(told["pid"])


def test_the_engine_ends_with_a_killed_command(workspace: Path) -> None:
    with running("sft", "-w", workspace) as (told, process):
        process.kill()
        process.wait(30)
        until = time.monotonic() + 60
        while answers(told["url"]):
            assert time.monotonic() < until, "the engine outlived the command that started it"


def test_engines_that_cannot_start_are_one_sentence(command: Command, workspace: Path, tmp_path: Path) -> None:
    bare = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")]
    subprocess.run(bare, check=True, timeout=120)
    python = tmp_path / "bare" / "bin" / "python"
    for backend in ("vllm", "llamacpp"):
        said = command(
            "engine", "sft", "--backend", backend, "--python", python, "--port", "0", "-w", workspace
        ).complaint
        assert f"pip install 'chatwright[{backend}]'" in said
    assert not (workspace / "exports").exists()
    said = command("engine", "sft", "--backend", "fast", "--port", "0", "-w", workspace).complaint
    assert "known are chatwright, llamacpp, vllm" in said
    said = command("engine", "sft", "--backend", "vllm", "--python", tmp_path / "none", "-w", workspace).complaint
    assert "cannot be run" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = command("engine", "sft", "--port", taken.getsockname()[1], "-w", workspace).complaint
    assert "is taken by another program" in said


def test_a_child_that_ends_before_it_is_ready_is_told(workspace: Path, tmp_path: Path) -> None:
    """A program named llama-server on the PATH that fails as one with a bad build would."""
    (tmp_path / "llama-server").write_text('#!/bin/sh\necho "$@" > "$0.said"\necho boom >&2\nexit 7\n')
    (tmp_path / "llama-server").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "chatwright.cli.main", "engine", "sft", "--backend", "llamacpp", "--port", "0",
         "--type", "f16", "-w", str(workspace)],
        capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 2
    complaint = "chatwright: llama-server ended with code 7 before it was ready; its complaint stands above"
    assert done.stderr.splitlines()[-2:] == ["boom", complaint]
    said = (tmp_path / "llama-server.said").read_text().split()
    (written,) = (workspace / "exports").glob("sft-*-f16.gguf")
    assert said[said.index("--model") + 1] == str(written)
    assert said[said.index("--host") + 1] == "127.0.0.1"
    assert said[said.index("--ctx-size") + 1] == str(8 * 64)
    assert not Workspace(workspace).root.joinpath("exports", "tmp").exists()
