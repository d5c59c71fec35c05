"""What is left of training speed when somebody else needs a core: a busy program, or the build's own page.

Two OpenMP threads that spin while they wait for each other lose their pace as soon as a third program takes a core.
The build therefore lets threads sleep after a short while (`chatwright.machine`). Here it trains idle, beside a
program that computes all the time, and with its page served and polled (the event stream, and the state twice a
second); each also with OpenMP's default policy, and on wish with threads that sleep at once. Target: with the page
open at least 0.6 of the idle speed. Run it on a quiet machine.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from _common import Worker, machine, parser, report, say, spread

SCRIPT = str(Path(__file__).with_name("_training.py"))
TOKENS_PER_STEP = 16 * 256


@contextmanager
def busy_core() -> Iterator[None]:
    """A program that computes without a pause, on whichever core it gets."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def open_page(url: str, browser: bool) -> Iterator[None]:
    """A visitor of the build page: in a real browser, or the requests that one makes."""
    if browser:
        with _chromium(url):
            yield
        return
    import httpx

    closing, opened, seen = threading.Event(), threading.Event(), {"polls": 0, "bytes": 0}

    def follow() -> None:
        with httpx.Client(timeout=30) as client, client.stream("GET", f"{url}/api/build/events") as events:
            for piece in events.iter_bytes():
                seen["bytes"] += len(piece)
                if closing.is_set():
                    return

    def poll() -> None:
        with httpx.Client(timeout=30) as client:
            while not closing.wait(0.5):
                client.get(f"{url}/api/build").raise_for_status()
                opened.set()
                seen["polls"] += 1

    threads = [threading.Thread(target=job, daemon=True) for job in (follow, poll)]
    for thread in threads:
        thread.start()
    if not opened.wait(30):
        raise SystemExit("the gateway did not answer the page within 30 s")
    try:
        yield
    finally:
        closing.set()
        for thread in threads:
            thread.join(10)
        say(f"  the page polled {seen['polls']} times and read {seen['bytes']} bytes of events")


@contextmanager
def _chromium(url: str) -> Iterator[None]:
    import shutil

    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        browser.new_page().goto(url)
        yield
        browser.close()


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=5, help="turns of each condition")
    options.add_argument("--seconds", type=float, default=8, help="length of a turn, at least one step")
    options.add_argument("--warmup", type=int, default=3, help="steps before the first turn")
    options.add_argument("--policies", nargs="+", choices=["ours", "passive", "default"], default=["ours", "default"])
    options.add_argument("--browser", action="store_true", help="open the page in chromium instead of polling it")
    chosen = options.parse_args()

    from chatwright import product
    from chatwright.config import ServeConfig

    facts = machine()
    with tempfile.TemporaryDirectory(prefix="chatwright-cores-") as folder:
        rates: dict[str, dict[str, list[float]]] = {}
        for policy in chosen.policies:
            workspace = Path(folder) / policy
            workspace.mkdir()
            worker = Worker(SCRIPT, "ours", "--wait", policy, "--workspace", str(workspace))
            gateway = product.start_background(ServeConfig(port=0), workspace)
            worker.ask(steps=chosen.warmup)
            rates[policy] = {"idle": [], "busy_core": [], "page_open": []}
            try:
                for _ in range(chosen.rounds):
                    for condition, beside in _conditions(gateway.url, chosen.browser):
                        with beside:
                            taken = worker.ask(steps=1, seconds=chosen.seconds)["seconds"]
                        rate = TOKENS_PER_STEP * len(taken) / sum(taken)
                        rates[policy][condition].append(rate)
                        say(f"{policy} {condition}: {rate:.0f} tokens/s")
            finally:
                gateway.stop()
                worker.stop()
    figures: dict[str, Any] = {policy: {k: spread(v) for k, v in found.items()} for policy, found in rates.items()}
    of_idle = {
        policy: {k: round(v["median"] / found["idle"]["median"], 3) for k, v in found.items() if k != "idle"}
        for policy, found in figures.items()
    }
    report("sharing_cores", tokens_per_second=figures, share_of_idle=of_idle, target="ours, page_open >= 0.6",
           page="chromium" if chosen.browser else "httpx", machine=facts)  # fmt: skip


def _conditions(url: str, browser: bool) -> list[tuple[str, Any]]:
    return [("idle", nullcontext()), ("busy_core", busy_core()), ("page_open", open_page(url, browser))]


if __name__ == "__main__":
    main()
