"""Who may ask, and what a browser may do with the answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.product.running import Running

from chatwright.engine.http import is_loopback_host
from chatwright.errors import ConfigError
from chatwright.product.run import bind

CHAT = {"model": "ppo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/nothing", "/api/build", "/v1/chat/completions", "/"])
def test_every_answer_carries_the_security_headers(gateway: Running, path: str) -> None:
    headers = gateway.client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "localhost:8x", ""]
)
def test_a_name_that_is_not_loopback_is_refused(gateway: Running, host: str) -> None:
    answer = gateway.client.get("/v1/models", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_loopback_names_are_known_in_all_spellings() -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8600", "[::1]", "[::1]:8600"):
        assert is_loopback_host(host), host
    for host in ("::1", "[::1]:", "127.0.0.2", "0.0.0.0:8600", "localhost:²", "user@localhost"):
        assert not is_loopback_host(host), host


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
)
def test_a_page_of_another_origin_cannot_make_the_model_answer(gateway: Running, origin: str) -> None:
    answer = gateway.client.post("/v1/chat/completions", json=CHAT, headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"


def test_our_own_page_and_programs_may(gateway: Running) -> None:
    for headers in ({"Origin": gateway.url}, {}):
        assert gateway.client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200
    preflight = gateway.client.options("/v1/chat/completions", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 403


def test_a_report_may_run_no_script(gateway: Running) -> None:
    assert gateway.client.get("/api/report").status_code == 404
    (gateway.workspace / "report.html").write_text("<h1>Report</h1>")
    answer = gateway.client.get("/api/report")
    assert answer.text == "<h1>Report</h1>"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_an_engine_is_reached_through_its_socket_only_and_only_by_this_user(gateway: Running) -> None:
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    for child in children:
        arguments = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        socket = Path(arguments[arguments.index("--socket") + 1])
        assert socket.stat().st_mode & 0o077 == 0
        assert socket.parent.stat().st_mode & 0o077 == 0
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://localhost") as client:
            assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403


def test_other_machines_cannot_be_let_in_without_accounts() -> None:
    with pytest.raises(ConfigError, match="other machines"):
        bind("0.0.0.0", 0)


def test_the_gateway_stays_light() -> None:
    code = (
        "import sys, chatwright.product, chatwright.engine.server; print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
