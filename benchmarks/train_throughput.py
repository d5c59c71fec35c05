"""Training speed next to the transformers Trainer's: same model, same cores, alternating blocks of steps.

A Llama of 5.5 million parameters (vocabulary 4,096, width 256, 6 layers, 4 heads, SwiGLU 640, tied), 16 rows of 256
tokens a step. Ours packs documents and masks attention between them; the Trainer's rows are one document each, which
is less work. Target: 1.5 times the Trainer's faster precision, which is bf16 autocast only where the CPU multiplies
bfloat16: a precision that takes more than three times as long as the other in the first step gets no turns, and its
one step is reported. Each program keeps its own defaults for threads and waiting; run it on a quiet machine.
"""

from __future__ import annotations

from pathlib import Path

from _common import Worker, machine, parser, report, say, spread

SCRIPT = str(Path(__file__).with_name("_training.py"))
PEERS = ("ours", "transformers-fp32", "transformers-bf16")
TOKENS_PER_STEP = 16 * 256
HOPELESS = 3


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=6, help="turns of each")
    options.add_argument("--steps", type=int, default=10, help="timed steps in a turn")
    options.add_argument("--warmup", type=int, default=3, help="steps before the first turn")
    options.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    chosen = options.parse_args()
    facts = machine()
    workers: dict[str, Worker] = {}
    rates: dict[str, list[float]] = {}
    hopeless: dict[str, float] = {}
    best = float("inf")
    try:
        for peer in chosen.peers:
            workers[peer], rates[peer] = Worker(SCRIPT, peer), []
            say(f"{peer}: {workers[peer].ready}")
            (first,) = workers[peer].ask(steps=1)["seconds"]
            if peer != "ours" and first > HOPELESS * best:
                hopeless[peer] = round(TOKENS_PER_STEP / first, 1)
                say(f"{peer}: {first:.1f} s for the first step, against {best:.1f}; it gets no turns")
                workers.pop(peer).stop()
                continue
            best = min(best, first) if peer != "ours" else best
            workers[peer].ask(steps=chosen.warmup)
        for turn in range(chosen.rounds):
            for peer, worker in workers.items():
                seconds = worker.ask(steps=chosen.steps)["seconds"]
                rates[peer] += [TOKENS_PER_STEP / second for second in seconds]
                say(f"turn {turn + 1} {peer}: {spread(rates[peer][-chosen.steps :])['median']} tokens/s")
    finally:
        for worker in workers.values():
            worker.stop()
    figures = {peer: {**spread(rates[peer]), **workers[peer].ready} for peer in workers}
    theirs = [figures[peer]["median"] for peer in workers if peer != "ours"]
    ratio = round(figures["ours"]["median"] / max(theirs), 3) if theirs and "ours" in figures else None
    report("train_throughput", tokens_per_second=figures, first_step_only=hopeless, ratio_to_faster_peer=ratio,
           target=">= 1.5", machine=facts)  # fmt: skip


if __name__ == "__main__":
    main()
