"""Servers that answer for one model in the OpenAI shape: our own engine server, llama.cpp's and vLLM's.

Each is a child process on a loopback port. llama.cpp's and vLLM's are those of their own packages, in this Python or
in another that is named.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chatwright.errors import InputError

BACKENDS = ("chatwright", "llamacpp", "vllm")
LLAMA_SERVER = "llama-server"
LLAMA_SLOTS = 8
"""Streams that llama-server answers at once; each gets the model's whole context."""
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started, and the path that answers 200 once it is ready. `what` is said to people."""

    words: list[str]
    ready: str
    what: str


def command(
    backend: str, model: Path, name: str, port: int, *, python: str = sys.executable, gguf: Callable[[], Path]
) -> Command:
    """The command of a backend for the model folder `model`, which answers to `name`; `gguf` writes its GGUF file.

    Raises InputError where the backend is not known or not installed.
    """
    if backend == "chatwright":
        words = [python, "-m", "chatwright.engine.server", "--model", str(model), "--name", name, "--port", str(port)]
        return Command([*words, "--stdin-watch"], "/healthz", "chatwright")
    if backend == "llamacpp":
        return _llamacpp(model, name, port, python, gguf)
    if backend == "vllm":
        _need(python, "vllm", "vllm")
        words = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", name]
        return Command([*words, "--host", "127.0.0.1", "--port", str(port)], "/health", "vllm")
    raise InputError(f"the backend {backend!r} is not known; known are {', '.join(BACKENDS)}")


def _llamacpp(model: Path, name: str, port: int, python: str, gguf: Callable[[], Path]) -> Command:
    """llama-server where it is on the PATH, since it answers several streams at once; else llama-cpp-python's."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    context = int(json.loads((model / "config.json").read_text("utf-8"))["max_position_embeddings"])
    if (found := shutil.which(LLAMA_SERVER)) is not None:
        words = [found, "--model", str(gguf()), "--alias", name, "--jinja", "--parallel", str(LLAMA_SLOTS)]
        return Command([*words, "--ctx-size", str(LLAMA_SLOTS * context), *address], "/health", LLAMA_SERVER)
    _need(python, "llama_cpp.server", "llamacpp")
    words = [python, "-m", "llama_cpp.server", "--model", str(gguf()), "--model_alias", name, "--n_ctx", str(context)]
    return Command([*words, "--interrupt_requests", "false", *address], "/v1/models", "llama-cpp-python")


def _need(python: str, module: str, extra: str) -> None:
    """Raises InputError where `python` has no such module."""
    try:
        probe = f"import importlib.util as u, sys; sys.exit(u.find_spec({module.partition('.')[0]!r}) is None)"
        absent = subprocess.run([python, "-c", probe], check=False, capture_output=True).returncode
    except OSError as error:
        raise InputError(f"{python} cannot be run ({error.strerror}); name a Python") from None
    if absent:
        raise InputError(
            f"the backend {extra} is not installed; install it with `pip install 'chatwright[{extra}]'`, or name a "
            "Python that has it with --python"
        )


def free_port(wanted: int) -> int:
    """`wanted`, or a free one where it is 0. Raises InputError where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise InputError(f"port {wanted} is taken by another program; stop it or use another --port") from None
        return probe.getsockname()[1]


def run(command: Command, port: int, on_ready: Callable[[str, int], None]) -> int:
    """Starts the server, tells its URL and process id when it is ready, and waits for its end; its exit code.

    Ctrl-C and SIGTERM end the server, too. Raises InputError where it ends before it was ready.
    """
    with subprocess.Popen(
        command.words, stdin=subprocess.PIPE, stdout=sys.stderr.fileno(),
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
    ) as process:  # fmt: skip
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            url = f"http://127.0.0.1:{port}"
            while not _answers(url + command.ready):
                if (code := process.poll()) is not None:
                    raise InputError(
                        f"{command.what} ended with code {code} before it was ready; its complaint stands above"
                    )
                time.sleep(POLL_SECONDS)
            on_ready(url, process.pid)
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
            if process.poll() is None:
                process.terminate()


def _end_with_parent() -> None:
    """In the child: ends it when this process is gone, however that came (prctl(2), PR_SET_PDEATHSIG; Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
