"""Sixty-four people at once on one engine server: nobody's answer mixes with another's, nobody starves.

A real engine server process with a model of random weights (or --model FOLDER). 64 streams are opened at the same
moment, each with its own question and seed; meanwhile another process asks the health page ten times a second. Then
the queue is filled past its bound. Reported: whether each stream's text is the one the same question gets alone; p95
over p50 of the time between chunks (target at most 3); what was refused, and how; the time health checks took (target
at most 50 ms).

Bytes that are no whole character would be held back and blur the time between tokens, so only tokens of plain
letters are allowed (`logit_bias`) where the weights are random.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from _common import Worker, machine, obey, parser, report, say, spread

WORDS = "the old mill stands by the river and the miller sings of flour and water in the valley below"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--model", type=Path, help="a model folder; default: random weights of --size")
    options.add_argument("--size", default="5.5M", choices=("5.5M", "12M", "135M"))
    options.add_argument("--streams", type=int, default=64)
    options.add_argument("--max-batch", type=int, default=64)
    options.add_argument("--max-queue", type=int, default=16)
    options.add_argument("--new", type=int, default=96, help="tokens of every answer at most")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--watch", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.watch:
        watch(chosen.watch)
        return
    from chatwright.machine import prepare_process

    prepare_process()
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        model = chosen.model or write_model(Path(folder) / "model", chosen.size)
        body = {"max_tokens": chosen.new, "temperature": 1.0}
        if chosen.model is None:
            body["logit_bias"] = letters_only(model)
        with server(model, chosen.max_batch, chosen.max_queue) as url:
            figures = asyncio.run(measure(url, body, chosen))
    report("engine_streams", streams=chosen.streams, max_batch=chosen.max_batch, max_queue=chosen.max_queue,
           model=str(chosen.model or chosen.size), **figures, machine=facts,
           targets={"p95_over_p50": "<= 3", "health_ms_max": "<= 50", "cross_talk": 0})  # fmt: skip


def write_model(folder: Path, size: str) -> Path:
    from chatwright.model.checkpoint import save_checkpoint
    from chatwright.model.decoder import Decoder, initialise
    from chatwright.model.shape import Shape
    from chatwright.model.tokenizer import Tokenizer
    from engine_speed import SIZES

    tokenizer = Tokenizer.train([WORDS] * 20, 330)
    shape = Shape(head_width=64, context=512, tie_embeddings=True, **(SIZES[size] | {"vocab_size": 330}))
    save_checkpoint(folder, initialise(Decoder(shape), 1), tokenizer)
    return folder


def letters_only(folder: Path) -> dict[str, int]:
    """A bias against every token that is not plain letters, the end of the answer included."""
    from chatwright.model.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    tokens = {ident: tokenizer.decode([ident]) for ident in range(tokenizer.vocab_size)}
    return {str(ident): -100 for ident, text in tokens.items() if not (text.isascii() and text.strip().isalpha())}


@contextlib.contextmanager
def server(model: Path, max_batch: int, max_queue: int) -> Iterator[str]:
    command = [sys.executable, "-m", "chatwright.engine.server", "--model", str(model), "--port", "0", "--stdin-watch",
               "--max-batch", str(max_batch), "--max-queue", str(max_queue)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        while httpx.get(f"{url}/healthz").status_code != 200:
            time.sleep(0.05)
        yield url
        process.stdin.close()
        process.wait(60)


async def measure(url: str, body: dict[str, Any], chosen: Any) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)  # servers close idle connections after 5 s
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        name = (await client.get("/v1/models")).json()["data"][0]["id"]

        async def stream(seed: int) -> tuple[str, list[float]]:
            """Text and times of its chunks; the text is the status where it was refused."""
            question = {"model": name, "stream": True, "seed": seed, **body,
                        "messages": [{"role": "user", "content": f"{WORDS[: 20 + seed % 40]} {seed}"}]}  # fmt: skip
            said, times = "", []
            async with client.stream("POST", "/v1/chat/completions", json=question) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    return f"{answer.status_code} {answer.json()['error'].get('code')}", []
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        for choice in json.loads(line[6:])["choices"]:
                            if text := choice["delta"].get("content"):
                                said += text
                                times.append(time.perf_counter())
            return said, times

        alone = {}
        for seed in range(chosen.streams):
            alone[seed], times = await stream(seed)
            if not times:
                raise SystemExit(f"the server gave no text to the question alone: {alone[seed]!r}")
        say("each question was answered alone")
        rounds = [await crowd(url, stream, alone, chosen.streams) for _ in range(chosen.rounds)]
        room = chosen.max_batch + chosen.max_queue
        refused = Counter(said if not times else "answered" for said, times in
                          await asyncio.gather(*(stream(seed) for seed in range(3 * room))))  # fmt: skip
    keys = (
        "p95_over_p50",
        "p50_ms",
        "p95_ms",
        "first_chunk_p95_ms",
        "tokens_per_second",
        "health_ms_p50",
        "health_ms_max",
    )
    return {
        "cross_talk": sum(r["mixed"] for r in rounds),
        **{key: spread([r[key] for r in rounds]) for key in keys},
        "past_the_bound": {"sent": 3 * room, "bound": room, **refused},
    }


async def crowd(url: str, stream: Any, alone: dict[int, str], streams: int) -> dict[str, Any]:
    """One round: all streams at once, and the health page meanwhile."""
    import numpy as np

    with Worker(__file__, "--watch", url) as watcher:
        start = time.perf_counter()
        answers = await asyncio.gather(*(stream(seed) for seed in range(streams)))
        seconds = time.perf_counter() - start
        health = watcher.ask()["milliseconds"]
    gaps = [(b - a) * 1000 for _, times in answers for a, b in pairwise(times)]
    p50, p95 = np.percentile(gaps, (50, 95))
    firsts = [(times[0] - start) * 1000 for _, times in answers if times]
    figures = {
        "mixed": sum(said != alone[seed] for seed, (said, _) in enumerate(answers)),
        "p50_ms": p50, "p95_ms": p95, "p95_over_p50": p95 / p50, "first_chunk_p95_ms": np.percentile(firsts, 95),
        "tokens_per_second": sum(len(times) for _, times in answers) / seconds,
        "health_ms_p50": np.percentile(health, 50), "health_ms_max": max(health),
    }  # fmt: skip
    say(", ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    return {key: float(value) for key, value in figures.items()}


def watch(url: str) -> None:
    """Health checks until it is asked for them; a process of its own, so that reading 64 streams does not delay it."""
    times: list[float] = []

    def ask() -> None:
        with httpx.Client(base_url=url) as client:
            while True:
                start = time.perf_counter()
                client.get("/healthz").raise_for_status()
                times.append((time.perf_counter() - start) * 1000)
                time.sleep(0.1)

    threading.Thread(target=ask, daemon=True).start()
    obey({}, lambda _: {"milliseconds": list(times)})


if __name__ == "__main__":
    main()
