"""Generation next to transformers, llama.cpp and vLLM: the same weights, the same prompts, peers in turn.

Llama shapes of 5.5, 12 and 135 million parameters with random weights; prompts of 16 tokens, 128 greedy tokens after
them, nothing ends early. One stream, and 8 and 16 at once. Every peer is a process of its own (`_generation.py`), in
this Python or, with --peer-python NAME=PATH, in the one that has it; llama.cpp's own programs are named with
--llama-bench and --llama-server. In every turn each peer generates once; figures are output tokens a second, prompts
included in the time (llama-bench alone does not read one). A ratio is that of the medians; its `low` and `high` divide
our slowest turn by their fastest and our fastest by their slowest.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from _common import Worker, machine, parser, report, say, spread

SCRIPT = str(Path(__file__).with_name("_generation.py"))
SIZES: dict[str, dict[str, Any]] = {
    "5.5M": {"vocab_size": 4096, "width": 256, "layers": 6, "heads": 4, "kv_heads": 4, "mlp_width": 640},
    "12M": {"vocab_size": 4096, "width": 384, "layers": 6, "heads": 6, "kv_heads": 6, "mlp_width": 1024},
    "135M": {"vocab_size": 49152, "width": 576, "layers": 30, "heads": 9, "kv_heads": 3, "mlp_width": 1536},
}
PEERS = ("ours-fp32", "ours-bf16", "ours-int8", "ours-default", "transformers-fp32", "transformers-bf16",
         "llama-cpp-python-f16", "llama-cpp-python-q8_0", "llama-bench-f16", "llama-bench-q8_0", "llama-server-f16",
         "llama-server-q8_0", "vllm-bf16")  # fmt: skip
USUAL = tuple(peer for peer in PEERS if peer not in ("ours-bf16", "ours-default"))
ALONE = ("llama-cpp-python", "llama-bench")
"""Peers that answer one stream at a time; they have no turns with more."""
HOPELESS_SECONDS = 60.0
"""A peer whose first block takes longer gets no further turns; that block is its figure."""
TARGETS = {
    "alone": {"transformers": {"5.5M": 4, "12M": 4, "135M": 5}, "llama": {"5.5M": 0.5, "12M": 0.5, "135M": 0.9},
              "vllm": {"5.5M": 1.5, "12M": 1.5, "135M": 1.5}},
    "batch": {"transformers": {"5.5M": 3, "12M": 3}, "llama": {"5.5M": 1, "12M": 1, "135M": 1},
              "vllm": {"5.5M": 1, "12M": 1, "135M": 0.8}},
}  # fmt: skip


def write_models(folder: Path, size: str, seed: int = 1) -> None:
    """`model/` and its GGUF files."""
    from chatwright.model.checkpoint import save_checkpoint
    from chatwright.model.decoder import Decoder, initialise
    from chatwright.model.gguf import export_gguf
    from chatwright.model.shape import Shape
    from chatwright.model.tokenizer import Tokenizer

    sizes = SIZES[size]
    shape = Shape(head_width=64, context=256, tie_embeddings=True, **sizes)
    tokenizer = Tokenizer.train(["the old mill stands by the river and the miller sings of flour and water"] * 20, 320)
    save_checkpoint(folder / "model", initialise(Decoder(shape), seed), tokenizer)
    for type_ in ("f16", "q8_0"):
        export_gguf(folder / "model", folder / f"{type_}.gguf", number_format=type_)


def start(peers: list[str], folder: Path, threads: int, pythons: dict[str, str], programs: dict[str, str | None]
          ) -> tuple[dict[str, Worker], dict[str, str]]:  # fmt: skip
    """The peers that are there, and why the others are not."""
    workers: dict[str, Worker] = {}
    absent: dict[str, str] = {}
    for peer in peers:
        name = next((n for n in ("llama-bench", "llama-server") if peer.startswith(n)), None)
        if name and not programs[name]:
            absent[peer] = f"{name} is not on the PATH; name it with --{name}"
            continue
        environment = {"LLAMA_BENCH": programs["llama-bench"] or "", "LLAMA_SERVER": programs["llama-server"] or "",
                       "OMP_NUM_THREADS": str(threads)}  # fmt: skip
        python = next((path for n, path in pythons.items() if peer.startswith(n)), sys.executable)
        worker = Worker(SCRIPT, peer, str(folder), str(threads), python=python, **environment)
        if "absent" in worker.ready:
            absent[peer] = worker.ready["absent"]
            worker.stop()
        else:
            workers[peer] = worker
    return workers, absent


def take_turns(workers: dict[str, Worker], streams: list[int], new: int, rounds: int) -> dict[int, Any]:
    """By streams and peer: output tokens a second in every turn. The first block of each warms it up."""
    rates: dict[int, dict[str, list[float]]] = {n: {} for n in streams}
    for turn in range(rounds + 1):
        for n in streams:
            for peer, worker in workers.items():
                found = rates[n].setdefault(peer, [])
                if (n > 1 and peer.startswith(ALONE)) or (found and n * new / found[0] > HOPELESS_SECONDS):
                    continue
                answer = worker.ask(streams=n, new=new)
                rate = n * new / answer["seconds"]
                if turn == 1:
                    found.clear()  # what the warm-up showed
                found.append(rate)
                say(f"turn {turn} {n} streams {peer}: {rate:,.0f} tokens/s")
    return {n: {peer: found for peer, found in peers.items() if found} for n, peers in rates.items()}


def ratios(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Each of ours over each of theirs."""
    ours = {peer: spread(found) for peer, found in rates.items() if peer.startswith("ours")}
    theirs = {peer: spread(found) for peer, found in rates.items() if not peer.startswith("ours")}
    return {
        f"{one} / {other}": {
            "ratio": round(a["median"] / b["median"], 3),
            "low": round(a["min"] / b["max"], 3),
            "high": round(a["max"] / b["min"], 3),
        }
        for one, a in ours.items()
        for other, b in theirs.items()
    }


def same_tokens(workers: dict[str, Worker]) -> dict[str, bool]:
    """Whether the first 16 greedy tokens are those of transformers in float32; quantised peers may differ."""
    known = {peer: worker.ask(streams=1, new=16)["tokens"] for peer, worker in workers.items()}
    oracle = known.get("transformers-fp32")
    return {peer: tokens == oracle for peer, tokens in known.items() if oracle and tokens}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options.add_argument("--peers", nargs="+", choices=PEERS, default=list(USUAL))
    options.add_argument("--streams", nargs="+", type=int, default=[1, 8, 16])
    options.add_argument("--rounds", type=int, default=5, help="turns of each, after one to warm up")
    options.add_argument("--new", type=int, default=128, help="tokens generated by each stream")
    options.add_argument("--threads", type=int, default=0, help="threads of each; 0: the cores there are")
    options.add_argument("--peer-python", action="append", default=[], metavar="NAME=PATH",
                         help="Python of peers whose names begin so, as llama-cpp=/peers/bin/python")  # fmt: skip
    options.add_argument("--llama-bench", default=shutil.which("llama-bench"))
    options.add_argument("--llama-server", default=shutil.which("llama-server"))
    chosen = options.parse_args()
    facts = machine()
    threads = chosen.threads or facts["cores"]
    pythons = dict(pair.partition("=")[::2] for pair in chosen.peer_python)
    programs = {"llama-bench": chosen.llama_bench, "llama-server": chosen.llama_server}
    figures: dict[str, Any] = {}
    for size in chosen.sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_models(Path(folder), size)
            workers, absent = start(chosen.peers, Path(folder), threads, pythons, programs)
            try:
                equal = same_tokens(workers)
                rates = take_turns(workers, chosen.streams, chosen.new, chosen.rounds)
            finally:
                for worker in workers.values():
                    worker.stop()
        figures[size] = {
            "tokens_per_second": {n: {peer: spread(found) for peer, found in by.items()} for n, by in rates.items()},
            "ratios": {n: ratios(by) for n, by in rates.items()},
            "tokens_equal_to_transformers_fp32": equal,
            "absent": absent,
        }
    report("engine_speed", threads=threads, new_tokens=chosen.new, sizes=figures, targets=TARGETS, machine=facts)


if __name__ == "__main__":
    main()
