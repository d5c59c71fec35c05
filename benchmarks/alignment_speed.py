"""Speed and memory of SFT, reward model, DPO and PPO next to TRL: same model, same rows, alternating blocks of steps.

A Llama of 5.5 million parameters (vocabulary 4,096, width 256, 6 layers). SFT: 16 rows of 256 tokens, packed. Reward
and DPO: 16 pairs of 128 tokens, references computed before. PPO: 64 prompts of 16 tokens, answers of 53, one epoch
(`ppo`) or four (`ppo4`). TRL runs in float32 and in bf16 autocast, and the fastest counts; its SFT in both ways of
packing. TRL moves all weights with AdamW and so do we, as `ours`; `ours-muon` is the same with our default optimiser.
Targets: PPO at least 3 times, DPO 2.5, reward 1.5, SFT 2 times TRL; peak memory no higher. Run it on a quiet machine.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from _alignment import PEERS, TASKS, make_models, units
from _common import Worker, machine, parser, report, say, skip, spread

SCRIPT = str(Path(__file__).with_name("_alignment.py"))
TARGETS = {"sft": 2.0, "reward": 1.5, "dpo": 2.5, "ppo": 3.0, "ppo4": 3.0}


def measure(task: str, folder: Path, peers: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """Units a second of each peer, in turns, and our ratio to the fastest of the others."""
    workers: dict[str, Worker] = {}
    seconds: dict[str, list[float]] = {}
    peak: dict[str, int] = {}
    try:
        for peer in (p for p in peers if task == "sft" or not p.endswith("wrapped")):
            workers[peer], seconds[peer] = Worker(SCRIPT, peer, task, str(folder)), []
            workers[peer].ask(steps=2)
        for turn in range(rounds):
            for peer, worker in workers.items():
                answer = worker.ask(steps=steps)
                seconds[peer] += answer["seconds"]
                peak[peer] = answer["memory"]
                say(f"{task} turn {turn + 1} {peer}: {units(task) / spread(answer['seconds'])['median']:.1f} a second")
    finally:
        for worker in workers.values():
            worker.stop()
    rates = {peer: spread([units(task) / s for s in taken]) for peer, taken in seconds.items()}
    best = max((rate["median"] for p, rate in rates.items() if p.startswith("trl")), default=None)
    ratios = {p: round(rate["median"] / best, 2) for p, rate in rates.items() if p.startswith("ours") and best}
    return {"per_second": {p: {**rates[p], **workers[p].ready, "peak_mib": peak[p]} for p in rates}, "ratio": ratios,
            "target": TARGETS[task]}  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    options.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    options.add_argument("--rounds", type=int, default=3, help="turns of each")
    options.add_argument("--steps", type=int, default=4, help="timed steps in a turn")
    chosen = options.parse_args()
    if importlib.util.find_spec("trl") is None:
        skip("alignment_speed", "the package trl is not installed; `make env-dev` installs it")
    facts = machine()
    with tempfile.TemporaryDirectory(prefix="chatwright-alignment-") as folder:
        make_models(Path(folder))
        tasks = {t: measure(t, Path(folder), chosen.peers, chosen.rounds, chosen.steps) for t in chosen.tasks}
    report("alignment_speed", tasks=tasks, machine=facts)


if __name__ == "__main__":
    main()
