"""`bench serve`: a load on any server that speaks the OpenAI API."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatwright.cli.options import EndedEarly, Json, complain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatwright.bench.arrivals import Load, Messages
    from chatwright.bench.driver import Target
    from chatwright.bench.timing import Timing

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Url = Annotated[str, typer.Argument(help="Address of the server; /v1 is added where it is missing.")]
CALIBRATION = (4, 24)
"""Words of the two prompts that show how many tokens a word and the template take."""


@app.callback()
def bench() -> None:
    """Measure servers under load.

    \b
    Example: chatwright bench serve http://127.0.0.1:8601 --clients 8
    """


@app.command("serve")
def serve(
    url: Url,
    rate: Annotated[float | None, typer.Option(help="Open arrival: so many requests a second, Poisson.")] = None,
    clients: Annotated[int | None, typer.Option(help="Closed arrival: so many clients, each asks again.")] = None,
    requests: Annotated[int, typer.Option(help="Requests at most.")] = 100,
    seconds: Annotated[float, typer.Option(help="Seconds at most until the last request is sent.")] = 60.0,
    prompt_tokens: Annotated[
        str, typer.Option(help="Lengths of made prompts, taken in turn: 16 or 16,128,512.")
    ] = "64",
    prompts: Annotated[Path | None, typer.Option(help="Prompts from a file instead: text lines or JSONL.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 128,
    temperature: Annotated[float, typer.Option(help="Temperature of the answers.")] = 1.0,
    body: Annotated[str, typer.Option(help="More fields of every request, as a JSON object.")] = "{}",
    model: Annotated[str, typer.Option(help="Model to ask; default: the first the server names.")] = "",
    max_first: Annotated[float | None, typer.Option(help="Goodput: milliseconds to the first token at most.")] = None,
    max_between: Annotated[float | None, typer.Option(help="Goodput: milliseconds of 95 in 100 gaps at most.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json and bench.png.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of arrival times, prompts and answers.")] = 1,
    json: Json = False,
) -> None:
    """Send streamed chat completions and tell what their users would feel.

    The time to the first token counts from when a request was due. Text arrives in chunks, and a chunk may hold several
    tokens: "between chunks" takes each pause whole and once, undivided; "per token" divides an answer's time by its
    tokens, which are always the server's own count (usage). Ctrl-C tells what was measured so far. An API key is taken
    from OPENAI_API_KEY.

    \b
    Example: chatwright bench serve http://127.0.0.1:8601 --clients 8 --requests 64
    Example: chatwright bench serve http://127.0.0.1:8601 --rate 5 --seconds 30 --max-first 200 --out report/
    """
    import os

    from chatwright.bench.arrivals import Load
    from chatwright.bench.driver import Target, api_url
    from chatwright.bench.timing import Bounds, summarise

    load = Load(requests, seconds, rate, clients, seed=seed)
    fields = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, **_fields(body)}
    target = Target(api_url(url), model, fields, key=os.environ.get("OPENAI_API_KEY", ""))
    timings, target, interrupted = _measured(target, load, prompts, _lengths(prompt_tokens))
    bounds = Bounds(_in_seconds(max_first), _in_seconds(max_between)) if max_first or max_between else None
    figures = _about(target, load) | {"interrupted": interrupted} | summarise(timings, bounds)
    if out is not None:
        _keep(out, figures, timings)
    _show(figures, json)
    if interrupted:
        raise EndedEarly


def _measured(
    target: Target, load: Load, prompts: Path | None, lengths: list[int]
) -> tuple[list[Timing], Target, bool]:
    """The timings, the target with its model filled in, and whether Ctrl-C ended it."""
    import asyncio
    import signal
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import Progress

    from chatwright.bench.arrivals import cycle, read_prompts
    from chatwright.bench.driver import first_model, run_load

    console = Console(stderr=True)
    asked = read_prompts(prompts) if prompts is not None else None

    async def run() -> tuple[list[Timing], Target, bool]:
        stop = asyncio.Event()
        whole = replace(target, model=target.model or await first_model(target))
        texts = cycle(asked) if asked is not None else await _made(whole, lengths, load.seed)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        try:
            with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
                bar = bars.add_task("requests", total=load.requests)

                def on_done(done: int) -> None:
                    bars.update(bar, completed=done)

                return await run_load(whole, texts, load, stop=stop, on_done=on_done), whole, stop.is_set()
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    return asyncio.run(run())


async def _made(target: Target, lengths: list[int], seed: int) -> Iterator[Messages]:
    """Prompts of about these lengths in tokens, after two requests that show how many tokens a word takes."""
    from itertools import count

    from chatwright.bench.arrivals import made_prompt, words_for
    from chatwright.bench.driver import prompt_size

    async with target.client() as client:
        short, long = [(words, await prompt_size(client, target, made_prompt(words, seed))) for words in CALIBRATION]
    sizes = [words_for(length, short, long) for length in lengths]
    return (made_prompt(sizes[n % len(sizes)], seed * 1_000_003 + n) for n in count())


def _fields(body: str) -> dict[str, Any]:
    from chatwright.errors import InputError

    try:
        fields = json_.loads(body)
    except ValueError as error:
        raise InputError(f"--body is no JSON ({error})") from None
    if not isinstance(fields, dict):
        raise InputError("--body must be a JSON object, such as '{\"ignore_eos\": true}'")
    return fields


def _lengths(given: str) -> list[int]:
    from chatwright.errors import InputError

    try:
        lengths = [int(part) for part in given.split(",")]
    except ValueError:
        raise InputError(f"--prompt-tokens takes numbers with commas between, not {given!r}") from None
    if any(length < 1 for length in lengths):
        raise InputError("a prompt has at least 1 token")
    return lengths


def _in_seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _about(target: Target, load: Load) -> dict[str, Any]:
    arrival = {"rate": load.rate} if load.rate is not None else {"clients": load.clients}
    return {"url": target.url, "model": target.model, "arrival": arrival, "seed": load.seed, "body": target.body}


def _keep(out: Path, figures: dict[str, Any], timings: list[Timing]) -> None:
    from chatwright.bench.report import plot
    from chatwright.files import write_json

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "bench.json", figures)
    arrival = ", ".join(f"{key} {value:g}" for key, value in figures["arrival"].items())
    plot(timings, f"{figures['model']}: {arrival}", out / "bench.png")
    complain(f"{out / 'bench.json'} and {out / 'bench.png'}")


def _show(figures: dict[str, Any], json: bool) -> None:
    if json:
        print(json_.dumps(figures))
        return
    from rich.console import Console

    from chatwright.bench.report import lines, table

    console = Console(highlight=False)
    console.print(table(figures))
    for line in lines(figures):
        console.print(line)
