"""openai-python's own tests of its resources, against a gateway of ours with a real engine.

    python benchmarks/openai_suite.py [--suite FOLDER] [--python INTERPRETER]

The suite is that of the installed client's version: FOLDER is its unpacked source distribution, else pip downloads it
for this run; nothing of it is kept. INTERPRETER has what the suite imports (SUITE_NEEDS), else a virtual environment
with it is made for this run.

The suite is written for a mock that takes any id and any value, so `_suite_proxy.py` stands between: it makes the
object that a request names, and fills in `model` and `input` where a test of /v1/responses leaves out both. What fails
nevertheless because it sends what docs/api.md calls absent is run again with those fields taken out, and counted
apart. Tests of what no server of ours has, and tests that send nothing, are not run; why is said beside them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import uvicorn

from _common import parser, report, say
from _suite_proxy import KEY, SERVED, SuiteProxy

SUITE_NEEDS = ("pytest>=9", "pytest-asyncio>=1.4", "pytest-xdist>=3.6", "inline-snapshot>=0.28", "rich>=13.7")
MODULES = (
    "chat/test_completions.py", "chat/completions/test_messages.py", "test_completions.py", "test_embeddings.py",
    "test_files.py", "test_models.py", "test_responses.py", "responses/test_input_items.py",
)  # fmt: skip
WITHOUT = "passed without absent fields"
REASONS = {
    "test_path_params_": "nothing is sent: the client refuses an empty id",
    r"test_\w+_content\b": "answered by a mock inside the test, not by a server",
    r"test_embeddings.*_create\[(strict|aiohttp)\]": "a client that checks types refuses the base64 it asks for itself",
    r"test_files.*_create_with_all_params": "asks for a file that expires, which is refused",
    r"test_responses.*_cancel\b": "cancels a response in the background; no response of ours runs there",
    r"test_responses.*_compact": "POST /v1/responses/compact is absent",
    r"test_models.*_delete\b": "deletes a model; a served model is not deleted over the API (403)",
}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--suite", type=Path, help="the unpacked source distribution of openai; default: downloaded")
    options.add_argument("--python", help="an interpreter with what the suite imports; default: made for this run")
    options.add_argument("--only", default="", help="run only tests that pytest's -k finds by this")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        suite = (chosen.suite or download(work)).resolve()
        python = chosen.python or interpreter(work)
        with gateway(work) as url:
            cases = run(suite, [python, "-m", "pytest", "-k", chosen.only], url, work)
    outcome = {kind: sorted(name for name, found in cases.items() if found == kind) for kind in set(cases.values())}
    failed = outcome.get("failed", [])
    report(
        "openai_suite", openai=version("openai"), modules=list(MODULES), passed=len(outcome.get("passed", ())),
        passed_without_absent_fields=len(outcome.get(WITHOUT, ())), failed=len(failed),
        not_applicable=dict(Counter(found for found in cases.values() if found in REASONS.values())),
        absent_fields_in=brief(outcome.get(WITHOUT, [])), failures=failed,
    )  # fmt: skip
    sys.exit(1 if failed or not outcome.get("passed") else 0)


def brief(names: Sequence[str]) -> list[str]:
    """Each test once, however many clients run it."""
    return sorted({re.sub(r"::Test(Async)?(\w+)::|\[\w+\]$", lambda m: "::" if m[2] else "", n) for n in names})


def download(work: Path) -> Path:
    """The source distribution of the installed client, unpacked."""
    name = f"openai=={version('openai')}"
    say(f"downloading the source of {name}")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "openai", "-d", str(work), name]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    (archive,) = work.glob("openai-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    return archive.with_suffix("").with_suffix("")


def interpreter(work: Path) -> str:
    say("making a virtual environment for the suite")
    venv.create(work / "venv", with_pip=True)
    python = str(work / "venv" / "bin" / "python")
    needs = [f"openai[aiohttp]=={version('openai')}", *SUITE_NEEDS]
    subprocess.run([python, "-m", "pip", "install", "-q", *needs], check=True, stdout=sys.stderr)
    return python


@contextmanager
def gateway(work: Path) -> Iterator[str]:
    """The address of a gateway that asks for a key and serves a small model under the names that the suite asks for."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.engine_server.tiny import write_tiny_checkpoint

    from chatwright.config import ServeConfig
    from chatwright.files import write_json
    from chatwright.product.run import start_background

    model = write_tiny_checkpoint(work / "model", seed=1, context=512)
    rows = [{"id": name, "name": name, "path": str(model), "role": "test"} for name in SERVED]
    write_json(work / "serving.json", {"models": rows, "starters": []})
    os.environ["OPENAI_SUITE_KEY"] = KEY
    running = start_background(ServeConfig(port=0, key_env="OPENAI_SUITE_KEY"), work)
    try:
        yield running.url
    finally:
        running.stop()


@contextmanager
def proxied(url: str, *, strip: bool) -> Iterator[str]:
    """The address of a proxy before the gateway, in a thread of this process."""
    app = SuiteProxy(url, strip=strip)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


def run(suite: Path, command: Sequence[str], url: str, work: Path) -> dict[str, str]:
    """What became of each test: passed, failed, passed without absent fields, or why it is not run."""
    modules = [f"tests/api_resources/{module}" for module in MODULES]
    with proxied(url, strip=False) as base:
        cases = pytest(suite, command, base, work / "first.xml", modules)
    reasons = {name: reason for name in cases for pattern, reason in REASONS.items() if re.search(pattern, name)}
    again = [name for name, found in cases.items() if found == "failed" and name not in reasons]
    if again:
        say(f"{len(again)} again without what is documented as absent")
        with proxied(url, strip=True) as base:
            second = pytest(suite, command, base, work / "second.xml", again)
        cases |= {name: WITHOUT if found == "passed" else found for name, found in second.items()}
    return cases | reasons


def pytest(suite: Path, command: Sequence[str], base: str, out: Path, tests: Sequence[str]) -> dict[str, str]:
    """Runs tests of the suite; passed, failed or skipped by the name of each as pytest takes it."""
    say(f"{len(tests)} modules or tests against {base}")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TEST_API_BASE_URL": base}
    options = ["-o", "addopts=", "-q", "--tb=short", "-p", "no:cacheprovider",
               "-o", "junit_family=xunit1", f"--junitxml={out}"]  # fmt: skip
    done = subprocess.run(
        [*command, *options, *tests], cwd=suite, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    say(done.stdout[-20_000:] if done.returncode else done.stdout[-300:])
    cases: dict[str, str] = {}
    for case in ET.parse(out).iter("testcase"):
        name = f"{case.get('file')}::{(case.get('classname') or '').rpartition('.')[2]}::{case.get('name')}"
        bad = case.find("failure") is not None or case.find("error") is not None
        cases[name] = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
    return cases


if __name__ == "__main__":
    main()
