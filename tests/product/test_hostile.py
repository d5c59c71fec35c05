"""Bad input: everything the OpenAPI documents allow, and what no document allows."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import schemathesis.specs.openapi.checks as documented
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from tests.engine_server.servers import engine_server
from tests.product.running import Running, eventually, start_gateway, stop_gateway, write_serving
from tests.product.test_gateway import engine_requests

MOST_EXAMPLES = 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with engine_server("tests.engine_server.scripted", tmp_path_factory.mktemp("scripted")) as client:
        yield client


def drive(client: httpx.Client) -> int:
    """Asks whatever the document of this server allows, and a little more; how many requests that were."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    asked = 0
    for found in schema.get_all_operations():
        operation: Any = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=MOST_EXAMPLES, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def one(case: Any) -> None:
            nonlocal asked
            asked += 1
            answer = case.call(base_url=str(client.base_url).rstrip("/"), timeout=30)
            case.validate_response(answer, checks=CHECKS)

        one()
    return asked


CHECKS = [
    not_a_server_error,
    documented.status_code_conformance,
    documented.content_type_conformance,
    documented.response_schema_conformance,
]


def test_the_engine_server_keeps_to_its_document(engine: httpx.Client) -> None:
    assert drive(engine) > 5 * MOST_EXAMPLES / 2


def test_the_gateway_keeps_to_its_document(gateway: Running) -> None:
    assert drive(gateway.client) > 15 * MOST_EXAMPLES / 2


def chat(text: str = "hi", **more: Any) -> bytes:
    return json.dumps({"model": "ppo", "messages": [{"role": "user", "content": text}], **more}).encode()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses",
                                  "/v1/feedback"])  # fmt: skip
@pytest.mark.parametrize(
    "body",
    [
        b"x" * 10_000_000, b"\xff\xfe", b'{"model": "ppo", "messages": [{"role": "user", "content": "\xc3"}]}',
        b"[" * 200_000, b'{"a":' * 50_000, b'{"n": 1e999}', b'{"model": "ppo", "n": ' + b"9" * 5_000 + b"}",
        b'{"model": {"a": []}, "messages": {}, "prompt": {}, "input": {}}', b'{"model": "ppo", "stream": 1}',
        b'{"model": "ppo", "input": [{"type": []}], "messages": [[]], "prompt": [[[]]]}',
        b'{"\\ud800": 1, "model": "ppo"}',
    ],
)  # fmt: skip
def test_no_body_makes_a_server_error(gateway: Running, path: str, body: bytes) -> None:
    answer = gateway.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1_000_000}, {"logit_bias": {str(2**40): 1}}, {"logit_bias": {"99999999": 1}}, {"stop": ["x" * 2_000]},
        {"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(200)]},
        {"tools": [{"type": "function", "function": {"name": "f"}}] * 2}, {"metadata": {"a": "x" * 600}, "store": True},
        {"store": "yes"}, {"metadata": {str(n): "" for n in range(20)}, "store": True},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
    ],
)  # fmt: skip
def test_bounds_are_held(gateway: Running, change: dict[str, Any]) -> None:
    begun = time.monotonic()
    answer = gateway.client.post("/v1/chat/completions", content=chat(**change))
    assert answer.status_code == 400, answer.text
    assert time.monotonic() - begun < 5


def send(gateway: Running, data: bytes) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(data)
    return connection


def request(body: bytes, length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % announced + body


def test_a_half_closed_socket_still_gets_its_answer_or_a_clean_end(gateway: Running) -> None:
    with send(gateway, request(chat())) as connection:
        connection.shutdown(socket.SHUT_WR)
        text = b""
        while block := connection.recv(65_536):
            text += block
    assert text == b"" or b"You said: hi" in text
    with send(gateway, request(chat(), length=5_000)) as connection:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    assert gateway.chat("hi").status_code == 200


def test_readers_and_writers_of_a_byte_a_second_hold_up_nobody(gateway: Running) -> None:
    readers = [send(gateway, request(chat("forever", stream=True))) for _ in range(8)]
    writers = [send(gateway, request(chat())[:-5]) for _ in range(8)]
    try:
        for reader in readers:
            reader.recv(1)
        with ThreadPoolExecutor(8) as pool:
            begun = time.monotonic()
            answers = list(pool.map(lambda n: gateway.chat(f"{n}").json(), range(16)))
        assert [a["choices"][0]["message"]["content"] for a in answers] == [f"You said: {n}" for n in range(16)]
        assert time.monotonic() - begun < 30
        for writer in writers:
            writer.sendall(request(chat())[-5:])
            assert b"200 OK" in writer.recv(65_536)
    finally:
        for connection in (*readers, *writers):
            connection.close()


def test_clients_that_leave_write_nothing_into_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In the middle of a body, of an answer, and abruptly."""
    write_serving(tmp_path, ("ppo",))
    running = start_gateway(tmp_path)
    try:
        running.wait_ready("ppo")
        for _ in range(12):
            send(running, request(chat())[:-5]).close()
            send(running, request(chat("forever"))).close()
            with send(running, request(chat("forever", stream=True))) as reader:
                reader.recv(1)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: engine_requests(running) == 0)
    finally:
        stop_gateway(running)
    assert capfd.readouterr().err == ""


def test_an_engine_that_was_killed_is_said_to_have_been(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not the last line it wrote, which may be about anything."""
    write_serving(tmp_path, ("ppo",))
    running = start_gateway(tmp_path)
    try:
        running.wait_ready("ppo")
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        eventually(lambda: running.chat("hi").status_code == 200)
    finally:
        stop_gateway(running)
    assert "engine ppo ended (it was ended by signal 9: Killed)" in capfd.readouterr().err


def test_files_have_bounds(gateway: Running, tmp_path: Path) -> None:
    post = gateway.client.post
    assert post("/v1/files", json={}).status_code == 400
    assert post("/v1/files", data={"purpose": "fine-tune"}).status_code == 400
    file = {"file": ("a.jsonl", b"{}")}
    assert post("/v1/files", files=file, data={"purpose": "fun"}).json()["error"]["param"] == "purpose"
    two = [("file", ("a", b"")), ("file", ("b", b""))]
    assert post("/v1/files", files=two, data={"purpose": "evals"}).status_code == 400
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert post("/v1/files", content=b"--y\r\n", headers=broken).status_code == 400
    assert post("/v1/files", content=b"--y\r\n", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    announced = send(gateway, b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n")
    with announced:
        assert b"413" in announced.recv(65_536)
    named = post("/v1/files", files={"file": ("../../../etc/x\u0000", b"1")}, data={"purpose": "evals"}).json()
    kept = sorted(path.name for path in (gateway.workspace / "files").iterdir())
    assert named["id"] in kept
    assert all(name.startswith("file-") for name in kept)
