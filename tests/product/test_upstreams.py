"""Models behind URLs: another gateway of ours stands for the foreign server, and a bare one for misbehaviour."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.product.running import Running, eventually, start_gateway, stop_gateway

from chatwright.errors import InputError
from chatwright.product.serving import from_folders, read_serving, served_url


@contextmanager
def before(folder: Path, *rows: dict[str, Any], **settings: Any) -> Iterator[Running]:
    """A gateway that serves `rows`."""
    (folder / "serving.json").write_text(json.dumps({"models": list(rows)}))
    running = start_gateway(folder, **settings)
    try:
        yield running
    finally:
        stop_gateway(running)


def test_a_gateway_stands_before_another_server(gateway: Running, tmp_path: Path) -> None:
    row = {"id": "far-1", "name": "far", "url": f"{gateway.url}/v1", "model": "ppo", "default": True}
    with before(tmp_path, row) as running:
        running.wait_ready("far")
        answer = running.chat("hi", model="far", store=True, truncation="auto").json()
        assert answer["choices"][0]["message"]["content"] == "You said: hi"
        assert running.client.get(f"/v1/chat/completions/{answer['id']}").status_code == 200
        assert gateway.client.get(f"/v1/chat/completions/{answer['id']}").status_code == 404, "it was kept here only"
        assert running.chat("hi", model="far", stream=True).text.endswith("data: [DONE]\n\n")
        error = running.chat("x" * 500, model="far")
        assert (error.status_code, error.json()["error"]["code"]) == (400, "context_length_exceeded")
        response = running.client.post("/v1/responses", json={"model": "far", "input": "hi"}).json()
        assert response["output"][0]["content"][0]["text"] == "You said: hi"
        assert running.client.post("/v1/embeddings", json={"model": "far", "input": "ab"}).status_code == 200


class Odd(BaseHTTPRequestHandler):
    """Does what its path under /v1 says, and notes the headers it got."""

    seen: list[dict[str, str]] = []  # noqa: RUF012 - cleared by the fixture
    status, headers_out, body = 200, {}, b""

    def do_GET(self) -> None:
        type(self).seen.append(dict(self.headers))
        self.answer(200, {}, json.dumps({"data": [{"id": "the-one"}]}).encode())

    def do_POST(self) -> None:
        type(self).seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(type(self).status, type(self).headers_out, type(self).body)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[str]:
    Odd.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "headers", "body", "wanted", "code"),
    [
        (302, {"Location": "http://127.0.0.1:1/steal"}, b"", 502, "upstream_failed"),
        (401, {}, b'{"error": {"message": "bad key sk-secret"}}', 502, "upstream_refused"),
        (422, {}, b'{"detail": "no"}', 422, None),
        (429, {"Retry-After": "7"}, b'{"error": {"message": "slow down", "code": 429}}', 429, "429"),
        (500, {}, b"<html>", 500, None),
        (200, {}, b"<html>", 502, "upstream_failed"),
    ],
)
def test_what_an_upstream_does_wrong_becomes_our_error_body(
    odd: str, tmp_path: Path, status: int, headers: dict[str, str], body: bytes, wanted: int, code: str | None
) -> None:
    Odd.status, Odd.headers_out, Odd.body = status, headers, body
    os.environ["CHATWRIGHT_TEST_UPSTREAM"] = "sk-secret"
    try:
        with before(tmp_path, {"id": "odd", "name": "odd", "url": odd, "key_env": "CHATWRIGHT_TEST_UPSTREAM"}) as one:
            one.wait_ready("odd")
            for stream in (False, True) if status != 200 else (False,):
                answer = one.chat("hi", model="odd", stream=stream)
                assert answer.status_code == wanted, answer.text
                error = answer.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}
                assert error["code"] == code
                assert "secret" not in answer.text
            assert answer.headers.get("retry-after") == headers.get("Retry-After")
            assert {row.get("Authorization") for row in Odd.seen} == {"Bearer sk-secret"}
            assert "sk-secret" not in one.client.get("/v1/models").text
    finally:
        del os.environ["CHATWRIGHT_TEST_UPSTREAM"]


def test_a_key_that_is_not_there_and_a_server_that_is_not_are_said(tmp_path: Path) -> None:
    rows = (
        {"id": "a", "name": "a", "url": "http://127.0.0.1:9/v1", "key_env": "CHATWRIGHT_NO_SUCH_KEY"},
        {"id": "b", "name": "b", "url": "http://127.0.0.1:9/v1"},
    )
    with before(tmp_path, *rows) as running:

        def reasons() -> list[str]:
            return [row["metadata"]["reason"] for row in running.client.get("/v1/models").json()["data"]]

        assert eventually(lambda: all(reasons()) and reasons()) == [
            "the environment variable CHATWRIGHT_NO_SUCH_KEY is not set", "it does not answer (no connection)",
        ]  # fmt: skip
        answer = running.chat("hi", model="b")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_ready")


def test_addresses_are_read_and_checked(tmp_path: Path) -> None:
    model = served_url("http://host:8000/")
    assert (model.url, model.name, model.upstream_model) == ("http://host:8000/v1", "host:8000", "")
    assert served_url("https://host/api/v4").url == "https://host/api/v4"
    (named,) = from_folders(["http://host:8000/v1#org/model"], "KEY").models
    assert (named.name, named.upstream_model, named.key_env, named.default) == ("org/model", "org/model", "KEY", True)
    for wrong in ("ftp://host", "http://", "http://me:key@host/v1", "http://host/v1?key=x", "host:80"):
        with pytest.raises(InputError, match="no address"):
            served_url(wrong)
    (tmp_path / "serving.json").write_text(json.dumps({"models": [{"id": "x", "name": "x", "url": "ftp://y"}]}))
    with pytest.raises(InputError, match="no address"):
        read_serving(tmp_path / "serving.json")


def test_the_gateway_tells_its_own_counts_and_those_of_its_engines(gateway: Running) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    gateway.chat("hi")
    families = list(text_string_to_metric_families(gateway.client.get("/metrics").text))
    assert len({family.name for family in families}) == len(families), "every family has one heading"
    samples = {(s.name, s.labels.get("model"), s.labels.get("route")): s.value for f in families for s in f.samples}
    assert samples[("chatwright_gateway_requests_total", None, "/v1/chat/completions")] >= 1
    assert samples[("chatwright_gateway_answer_seconds_count", "ppo", None)] >= 1
    assert samples[("chatwright_prompt_tokens_total", "ppo", None)] >= 2
    assert {name for name, _, _ in samples} >= {"chatwright_requests_running", "chatwright_requests_waiting"}
