"""The compiled runner where things go wrong: caches, forks, endings, weights that are no numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.engine.test_native import FORMATS, LLAMA, model_of

from chatwright.engine.native import build
from chatwright.engine.native.draw import NativeDraw
from chatwright.engine.native.runner import NativeRunner, Weights
from chatwright.engine.runner import Segment

DAMAGES = {
    "cut short": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "zeros, as after a loss of power": lambda whole: bytes(len(whole)),
    "no library": lambda whole: b"a text" * 1000,
}
FAST = ("-O1", *build.FLAGS[1:])


def built(cache: Path, *, program: str = "build.compiled({flags!r})", **environment: str) -> str:
    """What a process of its own says that builds the library with this cache folder."""
    code = f"from chatwright.engine.native import build\nprint(build.cache_folder())\n{program.format(flags=FAST)}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "CHATWRIGHT_CACHE": str(cache), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library as it is kept."""
    folder = tmp_path_factory.mktemp("library")
    built(folder)
    (file,) = (folder / "native").iterdir()
    return file


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_built_anew(damage: str, library: Path, tmp_path: Path) -> None:
    whole, file = library.read_bytes(), tmp_path / "native" / library.name
    file.parent.mkdir()
    file.write_bytes(DAMAGES[damage](whole))
    assert built(tmp_path) == ""
    assert len(file.read_bytes()) > len(whole) // 2
    assert file.read_bytes()[:4] == b"\x7fELF"


def test_without_a_cache_folder_one_sentence_says_so_and_the_library_works(tmp_path: Path) -> None:
    """A file stands where the folder should be: as with a read-only or full disk, nothing can be written there."""
    (tmp_path / "taken").write_text("")
    said = built(tmp_path / "taken")
    assert "could not be kept" in said
    assert said.count("\n") == 1


def test_without_a_home_the_library_is_built_for_this_process(tmp_path: Path) -> None:
    program = """
    from unittest.mock import patch
    with patch.object(build.Path, "home", side_effect=RuntimeError("Could not determine home directory.")):
        build.compiled({flags!r})
    """
    said = built(Path(), program=textwrap.dedent(program), CHATWRIGHT_CACHE="", XDG_CACHE_HOME="")
    assert "could not be kept" in said
    assert said.count("\n") == 1


def test_processes_that_build_at_once_leave_one_whole_library(tmp_path: Path) -> None:
    threads = [threading.Thread(target=built, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = (tmp_path / "native").iterdir()
    before = file.stat().st_mtime_ns
    assert built(tmp_path) == ""
    assert file.stat().st_mtime_ns == before


def run_script(code: str) -> str:
    before = "import os, sys, threading, time, gc, torch\nfrom chatwright.engine.runner import Segment\n"
    before += "from chatwright.engine.native.runner import NativeRunner\n"
    before += "from tests.engine.test_native import LLAMA, model_of, tokens_of\n"
    done = subprocess.run(
        [sys.executable, "-c", before + textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def test_a_forked_process_computes_and_ends() -> None:
    """Its copies of the helpers do not exist: nothing may wait for them, whether they slept or were on their way."""
    code = """
    runner = NativeRunner(model_of(LLAMA), slots=1, context=64, threads=4)
    whole = runner.forward([Segment(0, 0, tokens_of(40))]).clone()
    for pause in (0, 0, 0.05):
        time.sleep(pause)
        if (child := os.fork()) == 0:
            for _ in range(50):
                same = torch.equal(runner.forward([Segment(0, 0, tokens_of(40))]), whole)
            del runner
            gc.collect()
            sys.exit(0 if same else 1)  # with everything that runs at the end of a process
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert torch.equal(runner.forward([Segment(0, 0, tokens_of(40))]), whole)
    print("done")
    """
    assert run_script(code) == "done\n"


def test_a_process_may_end_while_another_of_its_threads_computes() -> None:
    code = """
    runner = NativeRunner(model_of(LLAMA), slots=64, context=600, threads=2)
    def work():
        while True:
            runner.forward([Segment(slot, 0, tokens_of(500)) for slot in range(64)])
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.3)
    print("done")
    """
    assert run_script(code) == "done\n"


def test_long_contexts_need_no_large_stack() -> None:
    """Scores of all positions are held at once; threads may have little stack (musl gives 128 KB)."""
    shape = replace(LLAMA, layers=1, context=400_000)
    runner, got = NativeRunner(model_of(shape), slots=1, context=400_000, threads=2), []
    before = threading.stack_size(512 << 10)
    try:
        thread = threading.Thread(target=lambda: got.append(runner.forward([Segment(0, 399_999, [3])])))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert got[0].isfinite().all()


def test_a_cache_that_memory_cannot_hold_is_told() -> None:
    with pytest.raises(MemoryError, match="cache"):
        NativeRunner(model_of(LLAMA), slots=1 << 24, context=1 << 20)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "where", ["embed_tokens.weight", "layers.0.mlp.up_proj.weight", "layers.1.self_attn.k_proj.weight"]
)
def test_weights_that_are_no_numbers_are_not_hidden(where: str, value: float, weights: Weights) -> None:
    model = model_of(LLAMA)
    with torch.no_grad():
        model.model.get_parameter(where)[7, 5] = value
    runner = NativeRunner(model, slots=1, context=64, weights=weights)
    assert not runner.forward([Segment(0, 0, [1, 7, 3])]).isfinite().all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("top_k", [0, 5])
def test_logits_that_are_no_numbers_draw_a_token_without_a_number(bad: float, everywhere: bool, top_k: int) -> None:
    """A token of the vocabulary, with a log-probability that says so; -inf in one place is a token ruled out."""
    logits = torch.randn(2, 307, generator=torch.Generator().manual_seed(0))
    logits[1, slice(None) if everywhere else 200] = bad
    draw = NativeDraw(307, *(np.array([value] * 2) for value in (1.0, top_k, 0.9 if top_k else 1.0, 0)))
    draw.uniform[:] = 0.5
    tokens, logprobs, plain = draw(logits)
    assert all(0 <= token < 307 for token in tokens)
    assert np.isfinite(logprobs[0])
    broken = everywhere or bad != -np.inf
    assert np.isnan(logprobs[1]) == np.isnan(plain[1]) == broken
