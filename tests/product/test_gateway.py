"""The gateway as a client sees it: the OpenAI shape, refusals, and engines that die."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.product.running import Running, eventually, start_gateway, stop_gateway, write_serving

from chatwright.files import write_json


def frames(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.json()["error"]


def test_answers_whole_and_streamed_say_the_same(gateway: Running) -> None:
    whole = gateway.chat("héllo 🙂").json()
    streamed = frames(gateway.chat("héllo 🙂", stream=True).text)
    assert whole["choices"][0]["message"] == {
        "role": "assistant", "content": "You said: héllo 🙂", "refusal": None,
    }  # fmt: skip
    assert "".join(f["choices"][0]["delta"].get("content", "") for f in streamed[:-1]) == "You said: héllo 🙂"
    assert streamed[-1] == "[DONE]"


def test_stream_begins_with_the_role_and_ends_with_one_reason(gateway: Running) -> None:
    streamed = frames(gateway.chat("hi", stream=True).text)[:-1]
    assert streamed[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in frame["choices"][0]["delta"] for frame in streamed[1:])
    assert streamed[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert [f["choices"][0]["finish_reason"] for f in streamed[:-1]] == [None] * (len(streamed) - 1)
    assert len({(f["id"], f["created"], f["model"], f["object"]) for f in streamed}) == 1
    assert not any("usage" in frame for frame in streamed)


def test_usage_comes_last_and_alone_where_it_is_asked_for(gateway: Running) -> None:
    streamed = frames(gateway.chat("hi", stream=True, stream_options={"include_usage": True}).text)[:-1]
    assert [frame["usage"] for frame in streamed[:-1]] == [None] * (len(streamed) - 1)
    assert streamed[-1]["choices"] == []
    assert streamed[-1]["usage"] == gateway.chat("hi").json()["usage"]
    assert streamed[-1]["usage"] == {
        "prompt_tokens": 2, "completion_tokens": 13, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 2},
    }  # fmt: skip


def test_max_tokens_cuts_and_says_so(gateway: Running) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        choice = gateway.chat("hi", **{name: 3}).json()["choices"][0]
        assert choice["message"]["content"] == "You"
        assert choice["finish_reason"] == "length"


def test_models_are_found_by_id_name_and_alias(gateway: Running) -> None:
    rows = gateway.client.get("/v1/models").json()["data"]
    assert [(row["id"], row["metadata"]["name"], row["metadata"]["default"]) for row in rows] == [
        ("sft-0123", "sft", False), ("ppo-0123", "ppo", True),
    ]  # fmt: skip
    assert gateway.client.get("/v1/models/sft-0123").json()["id"] == "sft-0123"
    for wanted, served in (("sft", "sft"), ("ppo-0123", "ppo"), ("assistant", "ppo")):
        assert gateway.chat("hi", model=wanted).json()["model"] == served
    assert gateway.client.get("/api/starters").json() == {"starters": ["Who are you?"]}


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "nobody"}, 404, "model_not_found", "model"),
        ({"model": 5}, 404, "model_not_found", "model"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": "hello"}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_value", "messages.0.role"),
        ({"messages": [{"role": "user"}]}, 400, "invalid_value", "messages.0.content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "invalid_value", "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_value", None),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, 400, "context_length_exceeded", "messages"),
        ({"n": 0}, 400, "invalid_value", "n"),
        ({"n": 1_000_000}, 400, "invalid_value", "n"),
        ({"tools": [{"type": "function"}]}, 400, "missing_required_parameter", "tools.0.function"),
        ({"tool_choice": "required"}, 400, "invalid_value", "tool_choice"),
        ({"top_logprobs": 3}, 400, "invalid_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "invalid_value", "top_logprobs"),
        ({"response_format": {"type": "yaml"}}, 400, "invalid_value", "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, 400, "invalid_value", "response_format.json_schema"),
        ({"functions": [{"name": "f"}]}, 400, "unsupported_parameter", "functions"),
        ({"audio": {"voice": "x"}}, 400, "unsupported_parameter", "audio"),
        ({"logit_bias": {"x": 1}}, 400, "invalid_value", "logit_bias"),
        ({"logit_bias": {"5": 101}}, 400, "invalid_value", "logit_bias.5"),
        ({"presence_penalty": 3}, 400, "invalid_value", "presence_penalty"),
        ({"metadata": {"a": 1}}, 400, "invalid_value", "metadata.a"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]},
            400,
            "invalid_value",
            "messages.0.tool_call_id",
        ),
        ({"temperature": -1}, 400, "invalid_value", "temperature"),
        ({"temperature": "0.5"}, 400, "invalid_value", "temperature"),
        ({"top_p": 1.5}, 400, "invalid_value", "top_p"),
        ({"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
        ({"max_completion_tokens": -1}, 400, "invalid_value", "max_completion_tokens"),
        ({"seed": 2**70}, 400, "invalid_value", "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "invalid_value", "stop"),
        ({"stop": ""}, 400, "invalid_value", "stop"),
        ({"stream": "yes"}, 400, "invalid_value", "stream"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    gateway: Running, change: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    body = json.dumps({"model": "ppo", "messages": [{"role": "user", "content": "hi"}]} | change)
    error = error_of(gateway.client.post("/v1/chat/completions", content=body), status)
    assert error["code"] == code
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize("change", [
    {"n": 1}, {"user": "x"}, {"store": False}, {"top_p": 0}, {"temperature": 0}, {"tools": []}, {"unheard_of": 1},
    {"response_format": {"type": "text"}}, {"stop": None}, {"seed": -5}, {"stop": ["\n"]},
    {"messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}]},
])  # fmt: skip
def test_what_asks_for_nothing_unusual_is_answered(gateway: Running, change: dict[str, Any]) -> None:
    assert gateway.chat("hi", **change).json()["choices"][0]["message"]["content"] == "You said: hi"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(gateway: Running, body: bytes) -> None:
    assert error_of(gateway.client.post("/v1/chat/completions", content=body), 400)["code"] == "invalid_json"


def test_a_conversation_too_long_can_be_cut_by_turns_and_says_so(gateway: Running) -> None:
    messages = [{"role": "user", "content": "x" * 150}, {"role": "user", "content": "y" * 10}]
    answer = gateway.chat("", messages=messages, truncation="auto")
    assert answer.headers["x-chatwright-dropped-turns"] == "1"


def test_a_body_too_large_is_refused_announced_or_not(gateway: Running) -> None:
    assert error_of(gateway.client.post("/v1/chat/completions", content=b" " * 1_000_001), 413)

    def pieces() -> Any:
        for _ in range(11):
            yield b" " * 100_000

    assert error_of(gateway.client.post("/v1/chat/completions", content=pieces()), 413)


def test_unknown_paths_and_methods_answer_in_the_same_shape(gateway: Running) -> None:
    assert error_of(gateway.client.get("/v1/nothing"), 404)["code"] == "not_found"
    assert error_of(gateway.client.get("/v1/models/nobody/at/all"), 404)["code"] == "model_not_found"
    assert error_of(gateway.client.get("/v1/feedback"), 405)
    assert error_of(gateway.client.get("/assets/../../secret"), 404)


def test_a_client_that_leaves_is_not_answered_further(gateway: Running) -> None:
    with gateway.client.stream("POST", "/v1/chat/completions", json={
        "model": "ppo", "stream": True, "messages": [{"role": "user", "content": "forever slow"}],
    }) as answer:  # fmt: skip
        blocks = answer.iter_raw()
        next(blocks)
        assert engine_requests(gateway) == 1
    assert eventually(lambda: engine_requests(gateway) == 0, patience=5)


def test_a_client_that_leaves_a_whole_answer_is_not_answered_further(gateway: Running) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/v1/chat/completions", timeout=0.5, json={
            "model": "ppo", "messages": [{"role": "user", "content": "forever slow"}],
        })  # fmt: skip
    assert eventually(lambda: engine_requests(gateway) == 0, patience=5)


def engine_requests(gateway: Running) -> int:
    """Requests in all engines, asked of each on its own socket."""
    total = 0
    for row in Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split():
        arguments = Path(f"/proc/{row}/cmdline").read_bytes().decode().split("\0")
        transport = httpx.HTTPTransport(uds=arguments[arguments.index("--socket") + 1])
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            total += client.get("/healthz").json()["requests"]
    return total


def test_an_engine_that_dies_is_told_on_the_stream_and_restarted(tmp_path: Path) -> None:
    write_serving(tmp_path, ("sft", "ppo"))
    running = start_gateway(tmp_path)
    try:
        running.wait_ready("ppo")
        running.wait_ready("sft")
        for words in ("crash slow", "break slow"):
            streamed = frames(running.chat(words, stream=True).text)
            assert streamed[-1] == "[DONE]"
            assert streamed[-2]["error"]["code"] == "engine_lost"
            assert running.chat("hi", model="sft").status_code == 200
            assert running.chat("hi").status_code == 200, "a message sent meanwhile waits for the restart"
        error = error_of(running.chat("crash"), 503)
        assert error["code"] == "engine_lost"
    finally:
        stop_gateway(running)


def test_models_are_taken_up_and_let_go_without_a_restart(empty_gateway: Running) -> None:
    assert empty_gateway.client.get("/v1/models").json()["data"] == []
    assert error_of(empty_gateway.chat("hi"), 404)["code"] == "model_not_found"
    write_serving(empty_gateway.workspace, ("ppo",))
    empty_gateway_ready(empty_gateway, "ppo")
    assert empty_gateway.chat("hi").json()["choices"][0]["message"]["content"] == "You said: hi"
    (empty_gateway.workspace / "serving.json").write_text("{broken")
    write_serving(empty_gateway.workspace, ("sft",))
    empty_gateway_ready(empty_gateway, "sft")
    assert error_of(empty_gateway.chat("hi"), 404)


def empty_gateway_ready(running: Running, name: str) -> None:
    eventually(lambda: running.client.get("/healthz").json()["models"].get(name) == "ready")


def test_more_requests_than_may_wait_are_refused_with_429(tmp_path: Path) -> None:
    write_serving(tmp_path, ("ppo",))
    running = start_gateway(tmp_path, max_batch=1, max_queue=1)
    body = {"model": "ppo", "stream": True, "messages": [{"role": "user", "content": "forever slow"}]}
    try:
        running.wait_ready("ppo")
        with running.client.stream("POST", "/v1/chat/completions", json=body) as one:
            first = one.iter_raw()
            next(first)
            with running.client.stream("POST", "/v1/chat/completions", json=body) as two:
                second = two.iter_raw()
                next(second)
                answer = running.chat("hi")
                assert error_of(answer, 429)["type"] == "rate_limit_error"
                assert answer.headers["retry-after"] == "1"
                assert running.client.get("/healthz").status_code == 200
        assert eventually(lambda: running.chat("hi").status_code == 200)
    finally:
        stop_gateway(running)


def test_engines_end_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    write_serving(tmp_path, ("ppo",))
    running = start_gateway(tmp_path)
    running.wait_ready("ppo")
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    os.kill(running.process.pid, signal.SIGKILL)
    stop_gateway(running)
    assert children
    assert eventually(lambda: not any(Path(f"/proc/{child}/stat").exists() for child in children))


def test_a_slow_reader_does_not_stop_the_others(gateway: Running) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    body = json.dumps({"model": "ppo", "stream": True, "messages": [{"role": "user", "content": "forever slow"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall((head + body).encode())
        assert gateway.chat("hi").status_code == 200
    assert eventually(lambda: engine_requests(gateway) == 0, patience=5)


def test_adapters_are_models_that_share_an_engine(empty_gateway: Running) -> None:
    running, file = empty_gateway, empty_gateway.workspace / "serving.json"
    write_serving(running.workspace, ("ppo",))
    row = json.loads(file.read_text())["models"][0]

    def serve(*names: str) -> None:
        for name in names:
            (running.workspace / name).mkdir(exist_ok=True)
        adapters = [{"name": name, "path": name} for name in names]
        write_json(file, {"models": [row | {"adapters": adapters}]})
        eventually(lambda: set(running.client.get("/healthz").json()["models"]) == {"ppo", *names})
        for name in ("ppo", *names):
            running.wait_ready(name)

    def asked(name: str, **more: Any) -> str:
        return running.chat("adapted", model=name, **more).json()["choices"][0]["message"]["content"]

    running.wait_ready("ppo")
    serve("poet", "cook")
    assert [asked(name) for name in ("ppo", "poet", "cook")] == ["adapter ", "adapter poet", "adapter cook"]
    assert running.chat("hi", model="poet", store=True).json()["model"] == "poet"
    assert running.client.get("/v1/models/cook").json()["metadata"]["role"] == ""
    serve("cook")
    assert asked("cook") == "adapter cook"
    assert running.chat("hi", model="poet").status_code == 404
