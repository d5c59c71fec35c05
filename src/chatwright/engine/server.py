"""The engine server: one process, one model version, the OpenAI shape on a Unix socket or a loopback port.

    python -m chatwright.engine.server --model DIR (--port N | --socket PATH) [--stdin-watch]

`/healthz` answers 503 while the model loads and warms up, then 200. SIGTERM lets running answers finish. With
`--stdin-watch` the end of standard input, which is the end of the parent, ends the process too. Prompts and
answers are never logged.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvicorn

from chatwright.config import SamplingConfig
from chatwright.engine.app import create_engine_app
from chatwright.engine.http import listening_socket
from chatwright.engine.metrics import EngineMetrics
from chatwright.engine.worker import EngineLike, EngineWorker
from chatwright.errors import ChatwrightError
from chatwright.machine import prepare_process, use_threads

DRAIN_SECONDS = 30
BACKLOG = 128
SMALL_MODEL = 20_000_000
"""Parameters."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A checkpoint folder, how many requests it answers at once, its weights, threads (0: chosen) and guesses."""

    path: Path
    max_batch: int
    weights: Literal["auto", "fp32", "bf16", "int8"]
    threads: int
    lookup: int = 0


Loader = Callable[[Loading], EngineLike]


def load_engine(wanted: Loading) -> EngineLike:
    """A small model gets one thread: its steps are so short that a second one has hardly begun when they end."""
    prepare_process()
    from chatwright.engine.core import Engine
    from chatwright.model.checkpoint import load_shape

    small = load_shape(wanted.path).parameters < SMALL_MODEL
    use_threads(wanted.threads or (1 if small else 0))
    engine = Engine.load(wanted.path, max_batch=wanted.max_batch, weights=wanted.weights, lookup=wanted.lookup)
    # What is loaded stays for good: the collector need not look through it again and again while people wait.
    gc.collect()
    gc.freeze()
    return engine


def fingerprint(path: Path) -> str:
    """A mark of the weights in a folder: other weights, other mark. Of the folder's name where it holds none."""
    digest = hashlib.sha256()
    files = sorted(path.glob("*.safetensors"))
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    if not files:
        digest.update(path.name.encode())
    return f"fp_{digest.hexdigest()[:12]}"


def bind(args: argparse.Namespace) -> socket.socket:
    """The listening socket, taken before the model is loaded so that a taken port costs nothing.

    Callers who have read the address and come before the server runs wait in its queue instead of being refused.
    """
    if args.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(args.socket)
        os.chmod(args.socket, 0o600)
        listener.listen(BACKLOG)
        return listener
    listener = listening_socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", args.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise ChatwrightError(
            f"port {args.port} is taken by another program; stop it or use --port with another number"
        ) from None
    return listener


def end_with_parent() -> None:
    """Ends this process when standard input closes: the parent holds its other end and never writes."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(DRAIN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chatwright.engine.server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint folder")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=8601, help="loopback port; 0 takes a free one")
    where.add_argument("--socket", help="path of a Unix socket instead of a port")
    parser.add_argument("--name", default="", help="a second name the model answers to")
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--max-queue", type=int, default=64)
    parser.add_argument("--weights", choices=("auto", "fp32", "bf16", "int8"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: one for a small model, else one per free core")
    parser.add_argument("--lookup", type=int, default=0, help="tokens guessed ahead from what stands before; 0: none")
    parser.add_argument("--sampling", default="{}", help="default sampling parameters as a JSON object")
    parser.add_argument(
        "--adapter", action="append", default=[], type=_named, metavar="NAME=FOLDER",
        help="a LoRA adapter of the peft library, served as a model of that name; may be given again",
    )  # fmt: skip
    parser.add_argument("--stdin-watch", action="store_true", help="end when standard input ends")
    return parser


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=folder")
    return name, Path(folder)


def main(arguments: Sequence[str] | None = None, load: Loader = load_engine) -> int:
    args = _parser().parse_args(arguments)
    failure: list[Exception] = []
    try:
        listener = bind(args)
    except ChatwrightError as error:
        print(error, file=sys.stderr)
        return 2
    if args.stdin_watch:
        end_with_parent()

    def ended(error: Exception) -> None:
        failure.append(error)
        server.should_exit = True

    name = args.name or args.model.name
    metrics = EngineMetrics(name)

    def loaded() -> EngineLike:
        engine = load(Loading(args.model, args.max_batch, args.weights, args.threads, args.lookup))
        for adapter, folder in args.adapter:
            engine.add_adapter(adapter, folder)
        metrics.version(engine.id)
        return engine

    worker = EngineWorker(loaded, limit=args.max_batch + args.max_queue, on_end=ended, watcher=metrics)
    defaults = SamplingConfig.model_validate_json(args.sampling)
    mark = fingerprint(args.model)
    adapters = {adapter: f"{mark}_{fingerprint(folder)[3:]}" for adapter, folder in args.adapter}
    app = create_engine_app(worker, metrics, name=name, defaults=defaults, fingerprint=mark, adapters=adapters)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=DRAIN_SECONDS)
    )
    if not args.socket:
        print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    server.run(sockets=[listener])
    if failure:
        print(_sentence(failure[0]), file=sys.stderr)
        return 2 if isinstance(failure[0], ChatwrightError) else 1
    return 0


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, ChatwrightError) else f"the engine failed: {type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
