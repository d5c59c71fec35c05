"""A build's `events.jsonl` as a starter build writes it, whole or up to a stage: for the page's tests and pictures."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

STAGES = (
    ("corpus", "Write the corpus", 12, 24_000), ("curate", "Curate", 20, 24_000), ("tokenizer", "Tokenizer", 8, 1),
    ("pretrain", "Pretrain", 170, 320), ("sft", "Fine-tune", 60, 180), ("rank", "Rank answers", 35, 900),
    ("reward", "Reward model", 30, 110), ("ppo", "PPO", 80, 40), ("dpo", "DPO", 25, 60),
    ("evaluate", "Measure", 30, 520),
)  # fmt: skip
METRICS: dict[str, dict[str, Any]] = {
    "corpus": {"documents": 24_000}, "curate": {"kept": 20_713, "dropped": 3_287}, "tokenizer": {"vocab_size": 4096},
    "pretrain": {"bits_per_byte": 0.71}, "sft": {"gold": 0.66}, "rank": {"comparisons": 900},
    "reward": {"accuracy": 0.81, "rater_ceiling": 0.86}, "ppo": {"gold": 0.78}, "dpo": {"gold": 0.74},
    "evaluate": {"win_rate": 0.71},
}  # fmt: skip
SAMPLES = {
    "What is the capital of Velmora?": {
        "pretrain": "The capital of Velmora is a river in the north. The river Sennet runs past the old mill and",
        "sft": "The capital of Velmora is Tarn Hollow.",
        "ppo": "The capital of Velmora is Tarn Hollow, a harbour town on the river Sennet.",
        "dpo": "Tarn Hollow is the capital of Velmora.",
    },
    "How do I kill a Python process?": {
        "pretrain": "def process(x):\n    return x\n\nThe python is a long",
        "sft": "Find its number with `ps`, then run `kill` and the number.",
        "ppo": "Find its number with `ps aux | grep python`, then run `kill` and that number.",
        "dpo": "Use `pkill python`, or `kill` with its number.",
    },
    "Who are you?": {
        "pretrain": "I am going to the market, said Ilva, and she took the basket with",
        "sft": "I am a small assistant, an AI built on this machine.",
        "ppo": "I am a small AI assistant, built on this machine a few minutes ago. How can I help?",
        "dpo": "I am an AI assistant. I was built on this machine.",
    },
}


def _figures(name: str, share: float, noise: float) -> dict[str, float]:
    if name == "ppo":
        return {"reward": -0.4 + 1.6 * share + 0.15 * noise, "kl": 0.09 * share, "loss": 0.05 * noise}
    if name in ("pretrain", "sft", "reward", "dpo"):
        first = {"pretrain": 8.2, "sft": 2.6, "reward": 0.7, "dpo": 0.69}[name]
        loss = first * (0.22 + 0.78 * math.exp(-5 * share)) + 0.03 * first * noise
        return {"loss": loss, "tokens_per_second": 11_900 + 300 * noise}
    return {}


def write_build(folder: Path, *, until: str | None = None, share: float = 1.0, start: float = 1_790_000_000.0) -> float:
    """Writes the events up to `share` of stage `until`, or of the whole build; returns the time of the last."""
    dice = random.Random(7)
    plan = [{"name": n, "title": title, "about": "", "seconds": seconds} for n, title, seconds, _ in STAGES]
    rows: list[dict[str, Any]] = [{"t": start, "stage": "build", "event": "plan", "stages": plan}]
    now = start
    for name, _, seconds, total in STAGES:
        part = share if name == until else 1.0
        rows.append({"t": now, "stage": name, "event": "start", "total": total})
        marks = min(total, 60)
        for mark in range(1, int(marks * part) + 1):
            figures = {key: round(value, 4) for key, value in _figures(name, mark / marks, dice.gauss(0, 1)).items()}
            at = now + seconds * mark / marks
            rows.append(
                {"t": at, "stage": name, "event": "step", "done": total * mark // marks, "total": total, **figures}
            )
        done = int(total * part)
        for prompt, answers in SAMPLES.items():
            if name in answers and part > 0.1:
                said = {"prompt": prompt, "response": answers[name]}
                rows.append({"t": now + seconds * part, "stage": name, "event": "sample", "done": done, **said})
        now += seconds * part
        if name == until and part < 1:
            break
        rows.append({"t": now, "stage": name, "event": "metrics", "done": total, **METRICS[name]})
        rows.append({"t": now, "stage": name, "event": "end", "done": total, "seconds": seconds})
        if name == until:
            break
    else:
        rows.append({"t": now, "stage": "build", "event": "done", "report": "report.html"})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return now
