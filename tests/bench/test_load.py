"""`chatwright bench serve` against the engine server with a scripted engine, in its own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatwright.bench.arrivals import Load, cycle
from chatwright.bench.driver import Target, api_url, run_load
from chatwright.bench.timing import UNFINISHED, Timing, summarise
from chatwright.errors import InputError

ROOT = Path(__file__).parents[2]


@contextmanager
def scripted(folder: Path, *options: str, pause: float = 0.0) -> Iterator[str]:
    command = [sys.executable, "tests/engine_server/scripted.py", "--model", str(folder), "--port", "0",
               "--stdin-watch", *options]  # fmt: skip
    environment = os.environ | {"SCRIPTED_PAUSE": str(pause), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = json.loads(process.stdout.readline())["url"]
        while httpx.get(f"{url}/healthz").status_code != 200:
            time.sleep(0.02)
        yield url
        process.stdin.close()
        process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted(tmp_path_factory.mktemp("model"), pause=0.002) as url:
        yield url


def load(url: str, load: Load, *texts: str, **body: Any) -> list[Timing]:
    model = httpx.get(f"{url}/v1/models").json()["data"][0]["id"]
    prompts = cycle([[{"role": "user", "content": text}] for text in texts])
    target = Target(api_url(url), model, {"max_tokens": 100, **body}, timeout=20)
    return asyncio.run(run_load(target, prompts, load))


@pytest.mark.parametrize("arrival", [{"clients": 5}, {"rate": 200.0}], ids=["closed", "open"])
def test_every_request_is_answered_and_counted_by_the_server(server: str, arrival: dict[str, Any]) -> None:
    """The scripted engine gives one token a character of "You said: hello", so counts are known."""
    timings = load(server, Load(requests=40, seconds=30, **arrival), "hello")
    assert [t.error for t in timings] == [""] * 40
    # The last step says "stop" and is counted as a token, but holds no text.
    assert {t.completion_tokens for t in timings} == {len("You said: hello") + 1}
    assert {t.prompt_tokens for t in timings} == {len("hello")}
    assert all(len(t.chunks) == len("You said: hello") for t in timings)
    assert all(t.due <= t.chunks[0] <= t.chunks[-1] <= t.ended for t in timings)
    figures = summarise(timings)
    assert figures["tokens"]["output"] == 40 * 16
    seconds = max(t.ended for t in timings) - min(t.due for t in timings)
    assert figures["throughput"]["output_tokens_per_second"] == pytest.approx(640 / seconds, rel=1e-6)


def test_closed_arrival_never_has_more_out_than_clients(server: str) -> None:
    timings = load(server, Load(requests=30, seconds=30, clients=3), "hello there")
    events = sorted([(t.due, 1) for t in timings] + [(t.ended, -1) for t in timings])
    out = [sum(change for _, change in events[: n + 1]) for n in range(len(events))]
    assert max(out) == 3


def test_open_arrival_does_not_wait_for_answers(server: str) -> None:
    """Endless answers: all are sent, none comes to its end, and the grace bounds the measurement."""
    timings = load(server, Load(requests=8, seconds=30, rate=200.0, grace=2.0), "forever")
    assert [t.error for t in timings] == [UNFINISHED] * 8
    assert all(t.chunks for t in timings)
    figures = summarise(timings)
    assert (figures["requests"]["unfinished"], figures["requests"]["failed"]) == (8, 0)
    assert figures["errors"] == {}


def test_the_time_limit_ends_a_closed_load(server: str) -> None:
    timings = load(server, Load(requests=100_000, seconds=0.5, clients=2), "hello")
    assert 2 <= len(timings) < 100_000
    assert all(not t.error for t in timings)


def test_requests_past_the_bound_are_errors_by_code(tmp_path: Path) -> None:
    with scripted(tmp_path, "--max-batch", "2", "--max-queue", "1") as url:
        timings = load(url, Load(requests=12, seconds=30, rate=1000.0, grace=1.0), "forever")
    figures = summarise(timings)
    assert figures["requests"] == {"sent": 12, "completed": 0, "failed": 9, "unfinished": 3}
    assert figures["errors"] == {"429 queue_full": 9}


@pytest.mark.parametrize(("text", "error"), [("crash", "connection"), ("break", "error in the stream (engine_lost)")])
def test_a_server_that_dies_in_the_middle_is_an_error_of_its_kind(tmp_path: Path, text: str, error: str) -> None:
    with scripted(tmp_path, pause=0.02) as url:
        (timing,) = load(url, Load(requests=1, seconds=30, clients=1), f"please {text} now")
    assert timing.error.startswith(error)
    assert timing.chunks


def raw_server(*blocks: bytes) -> tuple[ThreadingHTTPServer, str]:
    """A server that sends these blocks, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            for block in blocks:
                self.wfile.write(block)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/v1"


END = b"\n\ndata: [DONE]\n\n"


def chunk(text: str, reason: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]}).encode()


@pytest.mark.parametrize(
    ("blocks", "error", "chunks"),
    [
        ([chunk("a") + b"\r\n\r", b"\n" + chunk("bc", "stop") + b"\n\ndata: [DONE]\n\n"], "", 2),
        ([b": waiting\n\n", chunk("é")[:40], chunk("é")[40:] + b"\n\n", chunk("", "stop") + END], "", 1),
        ([chunk("a") + b"\n\ndata: [DONE]\n\n"], "stream without a finish reason", 1),
        ([chunk("a") + b"\n\n"], "stream without an end", 1),
        ([b"data: {oops\n\n"], "stream with broken JSON", 0),
        ([b'data: {"error": {"code": "engine_lost"}}\n\n'], "error in the stream (engine_lost)", 0),
    ],
)  # fmt: skip
def test_streams_of_all_shapes_are_read(blocks: list[bytes], error: str, chunks: int) -> None:
    server, url = raw_server(*blocks)
    try:
        (timing,) = asyncio.run(run_load(Target(url, "m"), cycle([[]]), Load(requests=1, clients=1)))
    finally:
        server.shutdown()
        server.server_close()
    assert timing.error == error
    assert len(timing.chunks) == chunks
    assert timing.completion_tokens is None


def test_a_server_that_is_not_there_is_an_error_for_each_request() -> None:
    load_ = Load(requests=3, seconds=5, clients=1)
    timings = asyncio.run(run_load(Target("http://127.0.0.1:9/v1", "m"), cycle([[]]), load_))
    assert [t.error for t in timings] == ["connection (ConnectError)"] * 3


def test_addresses_are_completed_or_refused() -> None:
    assert api_url("http://a:1") == api_url("http://a:1/v1/") == "http://a:1/v1"
    with pytest.raises(InputError, match="no address"):
        api_url("a:1")


def bench(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chatwright.cli.main", "bench", "serve", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


def test_the_verb_prints_a_table_and_keeps_json_and_a_plot(server: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("hello\nriver\n")
    words = [server, "--clients", "2", "--requests", "6", "--prompts", str(tmp_path / "prompts.txt"),
             "--max-first", "60000", "--out", str(tmp_path / "report")]  # fmt: skip
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    for words_ in ("time to first token", "between chunks of text", "p99", "6 of 6 requests answered", "goodput"):
        assert words_ in done.stdout
    kept = json.loads((tmp_path / "report" / "bench.json").read_text())
    assert kept["goodput"]["good"] == 6
    assert (tmp_path / "report" / "bench.png").read_bytes().startswith(b"\x89PNG")
    # One token a byte and no template: prompts come out as long as they were asked for, to a word.
    made = bench(server, "--clients", "1", "--requests", "4", "--prompt-tokens", "30,60", "--json")
    assert made.returncode == 0, made.stderr
    figures = json.loads(made.stdout)
    assert figures["requests"]["completed"] == 4
    assert figures["tokens"]["prompt"] == pytest.approx(2 * 30 + 2 * 60, rel=0.3)


def test_ctrl_c_tells_what_was_measured(server: str) -> None:
    command = [sys.executable, "-m", "chatwright.cli.main", "bench", "serve", server, "--clients", "1", "--requests",
               "100000", "--seconds", "100", "--prompt-tokens", "20", "--json"]  # fmt: skip
    # A shell that puts jobs into the background lets them ignore SIGINT, which a child would inherit.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while httpx.get(f"{server}/healthz").json()["requests"] == 0:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    figures = json.loads(out)
    assert figures["interrupted"] is True
    assert figures["requests"]["sent"] >= 1
    assert err == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["http://127.0.0.1:9", "--clients", "1"], "cannot be reached"),
        (["--clients", "1", "--prompt-tokens", "1"], "too short"),
        (["--clients", "1", "--model", "other"], "refuses a first question (404 model_not_found)"),
        (["localhost", "--clients", "1"], "is no address"),
        (["http://127.0.0.1:9"], "either a rate"),
        (["http://127.0.0.1:9", "--clients", "1", "--body", "[]"], "must be a JSON object"),
        (["http://127.0.0.1:9", "--clients", "1", "--body", "{"], "is no JSON"),
        (["http://127.0.0.1:9", "--clients", "1", "--prompt-tokens", "many"], "not 'many'"),
        (["http://127.0.0.1:9", "--clients", "1", "--prompt-tokens", "0"], "at least 1 token"),
        (["http://127.0.0.1:9", "--clients", "1", "--prompts", "absent.txt"], "cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(server: str, words: list[str], sentence: str) -> None:
    done = bench(*([server] if words[0].startswith("--") else []), *words)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
