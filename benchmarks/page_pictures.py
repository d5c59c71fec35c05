"""The pictures of the pages in docs/, taken in a real browser from a finished build with accounts.

    chatwright demo --no-serve --workspace build
    python benchmarks/page_pictures.py --build build --out docs/images

Serves a copy of the build for people (`serve.accounts=people`), makes the first admin and a second person, lets the
second one chat, compare, rate and report, and takes every page on a wide screen and on a phone of 360 pixels. Needs the
development environment and Chromium. What is said in the pictures was said by the build's models.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from _common import parser, report, say, skip

PASSWORD = "correct horse battery"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
SETTINGS = ("general", "data", "memories", "shares", "archived", "account", "keys")
OPERATOR = ("people", "groups", "keys", "flags", "feedback", "traffic", "settings", "audit")
QUESTIONS = ("What is the capital of France?", "How do I kill a Python process?")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--build", type=Path, required=True, help="workspace of a finished starter build")
    options.add_argument("--out", type=Path, default=Path("docs/images"))
    chosen = options.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        skip("page_pictures", "there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        space = Path(folder) / "build"
        shutil.copytree(chosen.build, space, ignore=shutil.ignore_patterns("chatwright.db*"))
        with served(space) as (url, setup), httpx.Client(base_url=url, timeout=60, headers={"Origin": url}) as admin:
            people(admin, setup)
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            taken = [*pictures(browser, url, chosen.out)]
            browser.close()
    report("page_pictures", taken=taken)


@contextmanager
def served(space: Path) -> Iterator[tuple[str, str]]:
    """The gateway's address, and the token of the first admin's link."""
    program = """
import sys
from pathlib import Path
from chatwright import product
from chatwright.config import ServeConfig
product.serve(ServeConfig(port=0, accounts="people"), Path(sys.argv[1]), announce=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(space)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        while not httpx.get(f"{said['url']}/healthz").json()["ready"]:
            time.sleep(0.1)
        yield said["url"], said["setup"].rpartition("/")[2]
        process.terminate()
        process.wait(60)


def people(admin: httpx.Client, setup: str) -> None:
    """The first admin, signed in, and a person they invited."""
    made = {"token": setup, "name": "Ada", "email": "ada@example.org", "password": PASSWORD}
    admin.post("/api/setup", json=made).raise_for_status()
    invited = admin.post("/api/operator/invitations", json={"role": "user", "groups": []})
    invited.raise_for_status()
    token = invited.json()["url_token"]
    with httpx.Client(base_url=admin.base_url, headers={"Origin": str(admin.base_url).rstrip("/")}) as other:
        person = {"name": "Grace", "email": "grace@example.org", "password": PASSWORD}
        other.post(f"/api/invitations/{token}", json=person).raise_for_status()


def pictures(browser: Any, url: str, out: Path) -> Iterator[str]:
    wide = {"viewport": {"width": 1280, "height": 860}}
    phone = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True}

    def take(page: Any, name: str) -> str:
        page.wait_for_timeout(900)
        page.screenshot(path=str(out / f"{name}.png"))
        say(name)
        return name

    page = browser.new_context(**wide).new_page()
    page.goto(url)
    yield take(page, "sign-in-desktop")
    sign_in(page, "grace@example.org")
    for question in QUESTIONS:
        ask(page, question)
    yield take(page, "chat-desktop")
    page.get_by_role("button", name="Good answer").last.click()
    yield take(page, "rating-desktop")
    page.keyboard.press("Escape")
    page.goto(f"{url}/#/chat")
    page.get_by_role("switch", name="Compare").click()
    ask(page, "How do plants drink?")
    yield take(page, "compare-desktop")
    for section in SETTINGS:
        page.goto(f"{url}/#/settings/{section}")
        yield take(page, f"settings-{section}")
    page.goto(f"{url}/#/build")
    page = browser.new_context(**wide).new_page()
    page.goto(url)
    sign_in(page, "ada@example.org")
    for section in OPERATOR:
        page.goto(f"{url}/#/operator/{section}")
        yield take(page, f"operator-{section}")
    page.goto(f"{url}/#/build")
    page.wait_for_timeout(2_000)
    yield take(page, "build-desktop")
    page.set_viewport_size({"width": 390, "height": 844})
    yield take(page, "build-phone")
    small = browser.new_context(**phone, color_scheme="dark").new_page()
    small.goto(url)
    sign_in(small, "grace@example.org")
    ask(small, QUESTIONS[1])
    yield take(small, "chat-phone")


def sign_in(page: Any, email: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Message").wait_for()


def ask(page: Any, question: str) -> None:
    box = page.get_by_role("textbox", name="Message")
    box.fill(question)
    box.press("Enter")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Send").wait_for(timeout=60_000)


if __name__ == "__main__":
    main()
