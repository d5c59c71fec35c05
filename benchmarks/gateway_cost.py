"""What the gateway costs over the bare engine: to the first token, and at 64 streams.

A real engine server process with a model of random weights (or --model FOLDER), and a gateway in front of it, asked in
turn: the engine through /v1/chat/completions, the gateway through /api/chats as a page asks, which keeps every message
in its database. Alone: the time to the first piece of text, on an idle server. Then --streams
at once: characters a second and events a second over all of them. The three processes and this one share the machine's
cores. Targets: at most 3 ms more at the median; at least 90 % of the engine's rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from _common import machine, parser, report, say, spread
from engine_streams import WORDS, server, write_model

Stream = Callable[[httpx.AsyncClient, int], Awaitable[tuple[str, list[float]]]]
"""Asks one question (by number) and returns the text and the times at which its pieces came."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--model", type=Path, help="a model folder; default: random weights of --size")
    options.add_argument("--size", default="5.5M", choices=("5.5M", "12M", "135M"))
    options.add_argument("--streams", type=int, default=64)
    options.add_argument("--alone", type=int, default=40, help="questions asked one after another, of each")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    from chatwright.machine import prepare_process

    prepare_process()
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        model = chosen.model or write_model(Path(folder) / "model", chosen.size)
        with (
            server(model, 2 * chosen.streams, chosen.streams) as engine,
            gateway(engine, Path(folder)) as (front, process),
        ):
            figures = asyncio.run(measure(engine, front, process, chosen))
    report("gateway_cost", streams=chosen.streams, model=str(chosen.model or chosen.size), **figures, machine=facts,
           targets={"first_text_ms_more": "<= 3", "characters_ratio": ">= 0.9"})  # fmt: skip


@contextlib.contextmanager
def gateway(engine: str, workspace: Path) -> Iterator[tuple[str, int]]:
    """Its address, and the id of its process."""
    program = """
import sys
from pathlib import Path
from chatwright import product
from chatwright.config import ServeConfig
product.serve(ServeConfig(port=0), Path(sys.argv[1]), models=[sys.argv[2]], announce=True)
"""
    command = [sys.executable, "-c", program, str(workspace), f"{engine}/v1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        while not httpx.get(f"{url}/healthz").json()["ready"]:
            time.sleep(0.05)
        yield url, process.pid
        process.terminate()
        process.wait(60)


async def measure(engine: str, front: str, process: int, chosen: Any) -> dict[str, Any]:
    async with client_of(engine) as bare, client_of(front) as kept:
        name = (await bare.get("/v1/models")).json()["data"][0]["id"]
        peers: dict[str, tuple[httpx.AsyncClient, Stream]] = {
            "engine": (bare, lambda client, number: from_engine(client, number, name)),
            "gateway": (kept, from_gateway),
        }
        first: dict[str, list[float]] = {peer: [] for peer in peers}
        for number in range(chosen.alone + 5):
            for peer, (client, stream) in peers.items():
                _, times = await stream(client, number)
                if number >= 5 and times:  # the first ones warm up
                    first[peer].append(1000 * times[0])
        rates: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
        spent = cpu_seconds(process)
        for turn in range(chosen.rounds):
            for peer, (client, stream) in peers.items():
                rates[peer].append(await crowd(client, stream, chosen.streams, 1000 * turn))
                say(f"turn {turn + 1} {peer}: {rates[peer][-1]}")
        spent = cpu_seconds(process) - spent
        heard = sum(one["all_characters"] for one in rates["gateway"])
    pairs = list(zip(rates["engine"], rates["gateway"], strict=True))
    return {
        "first_text_ms": {peer: spread(values) for peer, values in first.items()},
        "first_text_ms_more": round(median(first["gateway"]) - median(first["engine"]), 3),
        "characters_a_second": {p: spread([one["characters"] for one in rows]) for p, rows in rates.items()},
        "events_a_second": {p: spread([one["events"] for one in rows]) for p, rows in rates.items()},
        "gateway_cpu_ms_a_thousand_characters": round(1e6 * spent / heard, 1),
        "characters_ratio": spread([b["characters"] / a["characters"] for a, b in pairs]),
        "events_ratio": spread([b["events"] / a["events"] for a, b in pairs]),
    }


def client_of(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
    return httpx.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False)


def question(number: int) -> str:
    return f"{WORDS[: 20 + number % 40]} {number}"


async def from_engine(client: httpx.AsyncClient, number: int, model: str) -> tuple[str, list[float]]:
    """Times count from the moment of asking."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question(number)}]}
    said, times, begun = "", [], time.perf_counter()
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    if text := choice["delta"].get("content"):
                        said += text
                        times.append(time.perf_counter() - begun)
    return said, times


async def from_gateway(client: httpx.AsyncClient, number: int) -> tuple[str, list[float]]:
    chat = (await client.post("/api/chats", json={})).json()["id"]
    said, times, begun = "", [], time.perf_counter()
    body = {"id": uuid.uuid4().hex, "text": question(number)}
    async with client.stream("POST", f"/api/chats/{chat}/turns", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and (text := json.loads(line[6:]).get("text")):
                said += text
                times.append(time.perf_counter() - begun)
    return said, times


async def crowd(client: httpx.AsyncClient, stream: Stream, streams: int, number: int) -> dict[str, float]:
    begun = time.perf_counter()
    heard = await asyncio.gather(*(stream(client, number + one) for one in range(streams)))
    seconds = time.perf_counter() - begun
    characters, events = sum(len(said) for said, _ in heard), sum(len(times) for _, times in heard)
    return {
        "characters": round(characters / seconds), "events": round(events / seconds), "all_characters": characters,
    }  # fmt: skip


def cpu_seconds(process: int) -> float:
    """Of the processor, user's and system's, that a process has taken so far (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
