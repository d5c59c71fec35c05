"""The engine benchmarks run, and their ratios are those of the medians."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *words], cwd=BENCHMARKS, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_ratios_are_of_medians_with_their_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from engine_speed import ratios  # type: ignore[import-not-found]

    found = ratios({"ours-fp32": [90.0, 100.0, 120.0], "vllm-bf16": [40.0, 50.0, 60.0], "llama-bench-f16": [200.0]})
    assert found == {
        "ours-fp32 / vllm-bf16": {"ratio": 2.0, "low": 1.5, "high": 3.0},
        "ours-fp32 / llama-bench-f16": {"ratio": 0.5, "low": 0.45, "high": 0.6},
    }


@pytest.mark.slow
def test_the_speed_benchmark_gives_every_peer_the_same_work() -> None:
    words = ["--sizes", "5.5M", "--peers", "ours-default", "transformers-fp32", "llama-bench-f16", "--streams", "1",
             "3", "--rounds", "1", "--new", "16", "--threads", "1", "--llama-bench", ""]  # fmt: skip
    figures = benchmark("engine_speed.py", *words)["sizes"]["5.5M"]
    assert figures["tokens_equal_to_transformers_fp32"] == {"ours-default": True, "transformers-fp32": True}
    assert figures["tokens_per_second"]["3"].keys() == {"ours-default", "transformers-fp32"}
    assert "--llama-bench" in figures["absent"]["llama-bench-f16"]


@pytest.mark.slow
def test_the_prefix_benchmark_reuses_nothing_that_changes_an_answer() -> None:
    figures = benchmark("engine_prefix.py", "--size", "5.5M", "--rounds", "2", "--threads", "1", "--weights", "default")
    assert figures["same_answers_as_a_fresh_engine"] is True
    assert figures["prompt_tokens"] == 448
    assert figures["ratio"]["median"] > 0
