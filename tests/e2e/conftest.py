"""Real gateways, real engines and a real browser."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
STATIC = ROOT / "src" / "chatwright" / "product" / "static" / "index.html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
STARTERS = ["Who are you?", "What is 12 plus 30?"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = (
        "there is no chromium on this machine" if CHROMIUM is None
        else "the playwright package is not installed" if importlib.util.find_spec("playwright") is None
        else "the pages are not built" if not STATIC.is_file() else None
    )  # fmt: skip
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file: as long as it is there an event loop runs here, and other tests want one of their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def complaints() -> list[str]:
    """Errors in the console of the page; a test that provokes one takes it out."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """A fresh page that fails the test for any error in its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    listen(page, complaints)
    yield page
    context.close()
    assert complaints == []


def listen(page: Page, complaints: list[str]) -> None:
    """Gathers the errors of a page's console."""

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} {message.location.get('url', '')}")

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))


def write_models(workspace: Path, names: tuple[str, ...]) -> None:
    from tests.engine_server.tiny import write_tiny_checkpoint

    from chatwright.files import write_json

    rows: list[dict[str, Any]] = []
    for seed, name in enumerate(names):
        write_tiny_checkpoint(workspace / name, seed=seed)
        rows.append({
            "id": f"{name}-{seed}", "name": name, "path": name, "role": name, "default": name == names[-1],
            "source": "simulated",
        })  # fmt: skip
    write_json(workspace / "serving.json", {"models": rows, "starters": STARTERS})


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway over a finished build with three real, tiny, untrained models."""
    import httpx
    from tests.e2e.recorded import write_build

    from chatwright.config import SamplingConfig, ServeConfig
    from chatwright.product import start_background

    workspace = tmp_path_factory.mktemp("served")
    write_build(workspace)
    (workspace / "report.html").write_text("<h1>Report of the build</h1>")
    write_models(workspace, ("base", "sft", "ppo"))
    background = start_background(ServeConfig(port=0, sampling=SamplingConfig(max_tokens=30)), workspace)
    limit = time.monotonic() + 120
    while set(httpx.get(f"{background.url}/healthz").json()["models"].values()) != {"ready"}:
        assert time.monotonic() < limit
        time.sleep(0.1)
    yield background.url
    background.stop()


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway over an engine that repeats what it is told."""
    from tests.product.running import start_gateway, stop_gateway, write_serving

    workspace = tmp_path_factory.mktemp("scripted")
    write_serving(workspace, ("ppo",))
    running = start_gateway(workspace)
    running.wait_ready("ppo")
    yield running.url
    stop_gateway(running)


@pytest.fixture(scope="session")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `scripted`, at the pace of somebody who talks: 25 tokens a second."""
    from tests.product.running import start_gateway, stop_gateway, write_serving

    workspace = tmp_path_factory.mktemp("paced")
    write_serving(workspace, ("ppo",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRIPTED_PAUSE", "0.04")
        running = start_gateway(workspace)
    running.wait_ready("ppo")
    yield running.url
    stop_gateway(running)


@pytest.fixture
def building(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a gateway beside a build in the middle of pretraining."""
    from tests.e2e.recorded import write_build

    from chatwright.config import ServeConfig
    from chatwright.product import start_background

    write_build(tmp_path, until="pretrain", share=0.5)
    background = start_background(ServeConfig(port=0), tmp_path)
    yield background.url, tmp_path
    background.stop()


def append_event(workspace: Path, **row: Any) -> None:
    with (workspace / "events.jsonl").open("a") as handle:
        handle.write(json.dumps({"t": time.time(), **row}) + "\n")
