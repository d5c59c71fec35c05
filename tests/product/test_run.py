"""Starting and stopping: ports, processes, folders that are no models."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.product.running import eventually

from chatwright.config import ServeConfig
from chatwright.errors import ChatwrightError, CheckpointError, InputError
from chatwright.product import serve, start_background
from chatwright.product.serving import count_parameters, from_folders, read_serving


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sentence = f"port {port} is taken by another program; stop it or use --port"
        with pytest.raises(ChatwrightError, match=sentence):
            serve(ServeConfig(port=port), tmp_path)
        with pytest.raises(ChatwrightError, match=sentence):
            start_background(ServeConfig(port=port), tmp_path)


def test_a_background_gateway_answers_when_it_is_there_and_is_gone_when_stopped(tmp_path: Path) -> None:
    background = start_background(ServeConfig(port=0), tmp_path)
    try:
        assert httpx.get(f"{background.url}/healthz").json() == {"status": "ok", "ready": False, "models": {}}
        assert httpx.get(f"{background.url}/api/build").json()["state"] == "absent"
    finally:
        background.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{background.url}/healthz")
    background.stop()


def test_an_open_build_page_does_not_delay_the_end(tmp_path: Path) -> None:
    background = start_background(ServeConfig(port=0), tmp_path)
    with httpx.stream("GET", f"{background.url}/api/build/events") as answer:
        next(answer.iter_raw())
        background.process.send_signal(signal.SIGTERM)
        assert background.process.wait(5) is not None
    background.stop()


def test_a_gateway_ends_with_the_build_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from chatwright.config import ServeConfig; "
        "from chatwright.product import start_background; "
        "b = start_background(ServeConfig(port=0), Path(sys.argv[1])); "
        "print(b.process.pid, flush=True); time.sleep(600)"
    )
    build = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert build.stdout is not None
    gateway = int(build.stdout.readline())
    os.kill(gateway, 0)
    build.kill()
    build.wait()
    build.stdout.close()
    assert eventually(lambda: not _alive(gateway))


def test_whoever_starts_a_gateway_for_people_is_told_the_link_for_the_first_account(tmp_path: Path) -> None:
    for accounts in ("people", "local"):
        background = start_background(ServeConfig(port=0, accounts=accounts), tmp_path)
        background.stop()
        assert background.setup.startswith(f"{background.url}/#/setup/") == (accounts == "people")
        assert bool(background.setup) == (accounts == "people")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_folders_that_are_no_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        serve(ServeConfig(port=0), tmp_path, models=[tmp_path])


def test_models_by_folder_get_names_that_differ(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    serving = from_folders([tmp_path / "one", tmp_path / "two", tmp_path / "one"])
    assert [(model.id, model.default) for model in serving.models] == [("one", True), ("two", False)]
    assert serving.default == serving.find("one") == serving.find("assistant")


@pytest.mark.parametrize("text", ["{", "[]", '{"models": 5}', '{"models": [{"id": "x"}]}', '{"models": ["x"]}'])
def test_a_serving_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "serving.json").write_text(text)
    with pytest.raises(InputError, match=r"serving\.json"):
        read_serving(tmp_path / "serving.json")


def test_parameters_are_counted_from_the_headers_alone(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"a": "b"}, "x": {"shape": [3, 5]}, "y": {"shape": [7]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert count_parameters(tmp_path) == 22
    (tmp_path / "more.safetensors").write_bytes(b"torn")
    assert count_parameters(tmp_path) == 0
