"""What servers of chat completions get wrong, case by case, against a real server with an engine that says exactly what
it is told. Cases 14 and 19 want a real engine too, and have a second test in `test_real_engine.py`.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engine_server.servers import ask, engine_server, joined, said, script, stream

SCRIPTED = "tests.engine_server.scripted"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather", "description": "The weather of a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}  # fmt: skip
CLOCK = {"type": "function", "function": {"name": "clock"}}
CALL = '<tool_call>{"name": "weather", "arguments": {"town": "Bo}\\"nn"}}</tool_call>'
ARGUMENTS = '{"town": "Bo}\\"nn"}'


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("models") / "scripted"
    folder.mkdir()
    with engine_server(SCRIPTED, folder) as client:
        yield client


def refused(client: httpx.Client, status: int, **change: Any) -> dict[str, Any]:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]} | change
    answer = client.post("/v1/chat/completions", content=json.dumps(body))
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_case_01_role_first_and_one_identity(client: httpx.Client) -> None:
    chunks = stream(client, "hi")
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert not any("role" in chunk["choices"][0]["delta"] for chunk in chunks[1:])
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    assert all(len(chunk["choices"]) == 1 and chunk["choices"][0]["index"] == 0 for chunk in chunks)


def test_case_02_the_last_chunk_is_empty_and_says_why(client: httpx.Client) -> None:
    for more, reason in (({}, "stop"), ({"max_tokens": 2}, "length")):
        chunks = stream(client, "hi", **more)
        assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1])


def test_case_03_usage_in_a_chunk_of_its_own(client: httpx.Client) -> None:
    chunks = stream(client, "hi", stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == len("You said: hi") + 1
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert not any("usage" in chunk for chunk in stream(client, "hi"))


def test_case_04_and_05_done_and_a_body_after_an_error_in_the_middle(tmp_path: Path) -> None:
    with engine_server(SCRIPTED, tmp_path) as client:
        body = {"model": tmp_path.name, "stream": True, "messages": [{"role": "user", "content": "break"}]}
        text = client.post("/v1/chat/completions", json=body).text
    assert text.endswith("data: [DONE]\n\n")
    error = json.loads(text.split("\n\n")[-3].removeprefix("data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("server_error", "engine_lost")


def test_case_06_every_error_has_the_same_body(client: httpx.Client) -> None:
    for answer in (
        client.post("/v1/chat/completions", json={}), client.get("/v1/models/no/body"), client.get("/nothing"),
        client.post("/v1/chat/completions", content=b"x" * 10_000_000), client.put("/v1/models"),
        client.get("/v1/models", headers={"Host": "evil.example"}), client.delete("/v1/models/scripted"),
    ):  # fmt: skip
        assert 400 <= answer.status_code < 500
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["code"], str)
        assert answer.headers["x-request-id"]


def test_case_07_clients_are_told_whether_to_try_again(client: httpx.Client, tmp_path: Path) -> None:
    assert client.delete("/v1/models/scripted").headers.get("x-should-retry") is None
    assert client.post("/v1/chat/completions", content=b"x" * 2_000_000).headers["x-should-retry"] == "false"
    with engine_server(SCRIPTED, tmp_path, "--max-batch", "1", "--max-queue", "1") as narrow:
        body = {"model": tmp_path.name, "messages": [{"role": "user", "content": "hi"}], "n": 3}
        answer = narrow.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.headers["x-should-retry"] == "true"
        assert narrow.get("/healthz").json()["requests"] == 0, "of several choices, all are taken or none"


def test_case_08_context_overflow(client: httpx.Client) -> None:
    error = refused(client, 400, messages=[{"role": "user", "content": "x" * 5_000}])
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


def test_case_09_budgets(client: httpx.Client) -> None:
    assert said(ask(client, "hi", max_tokens=9, max_completion_tokens=3)) == "You", "the newer name wins"
    for name in ("max_tokens", "max_completion_tokens"):
        for wrong in (0, -1, 1.5, "3"):
            assert refused(client, 400, **{name: wrong})["param"] == name
    budget = json.loads(said(ask(client, "parameters", max_tokens=1_000_000)))["max_tokens"]
    assert budget == 200 - len("parameters"), "a budget larger than the room in the context is cut to it"


def test_case_10_characters_split_over_tokens(client: httpx.Client) -> None:
    text = "é👩‍👩‍👧 ok"
    raw = text.encode()
    for size in (1, 2, 3, 5):
        pieces = [{"hex": raw[at : at + size].hex()} for at in range(0, len(raw), size)]
        for budget in range(1, len(pieces) + 2):
            whole = said(ask(client, script(*pieces), max_tokens=budget))
            chunks = stream(client, script(*pieces), max_tokens=budget)
            assert joined(chunks) == whole
            assert all(c["choices"][0]["delta"].get("content") != "\ufffd" for c in chunks[:-3])
        assert whole == text


@pytest.mark.parametrize(
    ("pieces", "stop", "shown"),
    [
        (["He", "llo ST", "O", "P more"], "STOP", "Hello "),
        (["a S", "T", "O", "R", "Y"], ["STOP"], "a STORY"),
        (["ab", "abc", "x"], ["abc"], "ab"),
        (["one ", "two three"], ["three", "two"], "one "),
        (["end S", "TO"], "STOP", "end STO"),
        (["é", {"hex": "f09f"}, {"hex": "9880"}, "!"], "😀", "é"),
    ],
)
def test_case_11_stop_strings_over_tokens(
    client: httpx.Client, pieces: list[Any], stop: str | list[str], shown: str
) -> None:
    answer = ask(client, script(*pieces), stop=stop)
    assert said(answer) == shown
    assert answer["choices"][0]["finish_reason"] == "stop"
    chunks = stream(client, script(*pieces), stop=stop)
    assert joined(chunks) == shown
    assert answer["usage"]["completion_tokens"] >= 2
    assert refused(client, 400, stop=["a"] * 5)["param"] == "stop"


def test_case_12_several_choices(client: httpx.Client) -> None:
    chunks = stream(client, "roll", n=3, seed=7, stream_options={"include_usage": True})
    assert [joined(chunks, index) for index in range(3)] == ["seed 7", "seed 8", "seed 9"]
    order = [chunk["choices"][0]["index"] for chunk in chunks[3:-1]]
    assert order != sorted(order), "the choices come side by side"
    ends = [c["choices"][0] for c in chunks if c["choices"] and c["choices"][0]["finish_reason"]]
    assert sorted(end["index"] for end in ends) == [0, 1, 2]
    whole = ask(client, "roll", n=3, seed=7)
    assert [said(whole, index) for index in range(3)] == ["seed 7", "seed 8", "seed 9"]
    assert {k: chunks[-1]["usage"][k] for k in ("prompt_tokens", "completion_tokens")} == {
        "prompt_tokens": 4, "completion_tokens": 3 * (len("seed 7") + 1),
    }  # fmt: skip
    begun = time.monotonic()
    assert refused(client, 400, n=1_000_000)["param"] == "n"
    assert time.monotonic() - begun < 5


def test_case_13_logprobs_stand_beside_their_text(client: httpx.Client) -> None:
    pieces = ["He", "llo ", {"hex": "f09f"}, {"hex": "9880"}, " S", "T", "O", "P", "x"]
    asked = {"logprobs": True, "top_logprobs": 2, "stop": "STOP"}
    answer = ask(client, script(*pieces), **asked)
    content = answer["choices"][0]["logprobs"]["content"]
    assert [row["token"] for row in content] == ["He", "llo ", "bytes:\\xf0\\x9f", "bytes:\\x98\\x80", " S"]
    assert [row["bytes"] for row in content][2:4] == [[0xF0, 0x9F], [0x98, 0x80]]
    assert all(row["logprob"] == -0.25 for row in content), "of the model's own distribution"
    assert [(top["token"], top["logprob"]) for top in content[0]["top_logprobs"]] == [("He", -0.25), ("?", -1.5)]
    chunks = stream(client, script(*pieces), **asked)
    streamed = [r for c in chunks for r in (c["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert streamed == content
    emoji = next(c["choices"][0] for c in chunks if "😀" in c["choices"][0]["delta"].get("content", ""))
    assert len(emoji["logprobs"]["content"]) == 2, "both halves come with the character"
    assert ask(client, "hi")["choices"][0]["logprobs"] is None
    assert refused(client, 400, top_logprobs=2)["param"] == "top_logprobs"


def test_case_14_seeds_and_the_fingerprint(client: httpx.Client, tmp_path: Path) -> None:
    assert said(ask(client, "roll", seed=-1)) == said(ask(client, "roll", seed=-1))
    first = ask(client, "hi")["system_fingerprint"]
    assert first == stream(client, "hi")[0]["system_fingerprint"]
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with engine_server(SCRIPTED, tmp_path) as other:
        assert ask(other, "hi", model=tmp_path.name)["system_fingerprint"] != first


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0}, {"top_p": 0}, {"top_p": 1}, {"unheard_of": 1}, {"stop": None}, {"logit_bias": None},
        {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "hi"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}]},
        {"service_tier": "auto", "user": "u", "metadata": {"a": "b"}, "prompt_cache_key": "k", "store": False},
        {"messages": [
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "hi"},
        ]},
    ],
)  # fmt: skip
def test_case_15_unusual_but_right(client: httpx.Client, change: dict[str, Any]) -> None:
    assert said(ask(client, "hi", **change)) == "You said: hi"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1", b"", b"{", b"\xff{}", b'{"a": "\xed\xa0\x80"}'])
def test_case_15_bodies_that_are_no_objects(client: httpx.Client, body: bytes) -> None:
    assert client.post("/v1/chat/completions", content=body).status_code == 400
    assert refused(client, 400, messages=[])["param"] == "messages"


def test_case_15_parameters_reach_the_engine(client: httpx.Client) -> None:
    asked = {
        "temperature": 1.5, "top_p": 0.5, "top_k": 7, "min_p": 0.1, "presence_penalty": 1.0, "frequency_penalty": -1.0,
        "repetition_penalty": 1.2, "seed": 3, "stop": ["\t"],
    }  # fmt: skip
    answer = ask(client, "parameters", logit_bias={"5": -100}, ignore_eos=True, max_tokens=10_000, **asked)
    told = json.loads(said(answer))
    assert told == asked | {"max_tokens": 190, "logit_bias": [[5, -100]], "ignore_end": True, "schema": ""}


def test_case_16_json_by_schema(client: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"town": {"type": "string"}, "n": {"const": 4}}}
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": schema, "strict": True}}
    assert json.loads(said(ask(client, "hi", response_format=form))) == {"town": "x", "n": 4}
    assert json.loads(said(ask(client, "hi", response_format={"type": "json_object"}))) == {}
    cut = ask(client, "hi", response_format=form, max_tokens=5)["choices"][0]
    assert cut["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut["message"]["content"])
    assert refused(client, 400, response_format={"type": "json_schema"})["param"] == "response_format.json_schema"


def test_case_16_nobody_waits_for_a_schema_of_somebody_else(client: httpx.Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "held", "schema": {"title": "held", "type": "string"}}}
    with ThreadPoolExecutor(9) as pool:
        held = [pool.submit(ask, client, "hi", response_format=form) for _ in range(8)]
        assert said(ask(client, "hi")) == "You said: hi"
        assert client.get("/healthz").status_code == 200
        assert not any(one.done() for one in held)
        ask(client, "release")
        assert [said(one.result()) for one in held] == ['"x"'] * 8


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_case_17_a_call_is_found_however_its_text_is_cut(client: httpx.Client, size: int) -> None:
    text = f"Let me see. \n{CALL}\n{CALL}"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    message = ask(client, script(*pieces), tools=[WEATHER, CLOCK], max_tokens=190)["choices"][0]
    assert message["finish_reason"] == "tool_calls"
    assert message["message"]["content"] == "Let me see."
    calls = message["message"]["tool_calls"]
    assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == [("weather", ARGUMENTS)] * 2
    chunks = stream(client, script(*pieces), tools=[WEATHER, CLOCK], max_tokens=190)
    assert joined(chunks) == "Let me see."
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    fragments = [f for c in chunks for f in c["choices"][0]["delta"].get("tool_calls", [])]
    for index in range(2):
        own = [fragment for fragment in fragments if fragment["index"] == index]
        assert set(own[0]) == {"index", "id", "type", "function"}
        assert own[0]["function"] == {"name": "weather", "arguments": ""}
        assert all(set(more) == {"index", "function"} and set(more["function"]) == {"arguments"} for more in own[1:])
        assert "".join(more["function"]["arguments"] for more in own) == ARGUMENTS


def test_case_17_tool_choice(client: httpx.Client) -> None:
    tools = [CLOCK, WEATHER]
    assert said(ask(client, script("a", CALL), tools=tools, tool_choice="none")) == f"a{CALL}"
    required = ask(client, "hi", tools=tools, tool_choice="required")["choices"][0]
    assert required["message"]["tool_calls"][0]["function"] == {"name": "clock", "arguments": "{}"}
    assert (required["message"]["content"], required["finish_reason"]) == (None, "tool_calls")
    named = {"type": "function", "function": {"name": "weather"}}
    for choice in (ask(client, "hi", tools=tools, tool_choice=named)["choices"][0],):
        assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"town": "x"}'}
        assert choice["finish_reason"] == "stop"
    one = ask(client, script(CALL, CALL), tools=tools, parallel_tool_calls=False)["choices"][0]["message"]
    assert len(one["tool_calls"]) == 1
    assert refused(client, 400, tools=tools, tool_choice={"type": "function", "function": {"name": "no"}})


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ('<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', '{"name": "unknown", "arguments": {}}', 0),
        ("a < b and <tool_", "a < b and <tool_", 0),
        ("<tool_call>no call</tool_call> after", "no call after", 0),
        ('<tool_call>{"arguments": {"town": "B"}, "name": "weather"}</tool_call>', None, 1),
        ('<tool_call>{"name": "weather", "arguments": "{}"}</tool_call>', None, 1),
        ('<tool_call>{"name": "weather", "arguments": {}}', None, 1),
        ('ok <tool_call>{"name": "wea', "ok", 0),
    ],
)
def test_case_17_what_is_no_call_is_text_without_tags(
    client: httpx.Client, text: str, content: str | None, calls: int
) -> None:
    message = ask(client, script(*text), tools=[WEATHER])["choices"][0]["message"]
    assert len(message.get("tool_calls", [])) == calls
    assert message["content"] == content
    chunks = stream(client, script(*text), tools=[WEATHER])
    assert joined(chunks) == (content or "")


def gone(client: httpx.Client) -> bool:
    limit = time.monotonic() + 10
    while client.get("/healthz").json()["requests"]:
        assert time.monotonic() < limit
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("abrupt", [True, False])
def test_case_18_who_leaves_is_not_answered_further(client: httpx.Client, streams: bool, abrupt: bool) -> None:
    def aborted() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if "finished_total{" in line and '"abort"' in line)

    before = aborted()
    with connected(client, "forever slow", stream=streams) as connection:
        limit = time.monotonic() + 10
        while not client.get("/healthz").json()["requests"]:
            assert time.monotonic() < limit
        if abrupt:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert gone(client)
    assert aborted() == before + 1


def test_case_18_who_leaves_the_queue_is_forgotten(tmp_path: Path) -> None:
    with engine_server(SCRIPTED, tmp_path, "--max-batch", "1") as client:
        with connected(client, "forever slow", model=tmp_path.name, stream=True):
            with connected(client, "forever waiting", model=tmp_path.name, stream=True):
                limit = time.monotonic() + 10
                while "chatwright_requests_waiting{" not in (text := client.get("/metrics").text) or not any(
                    line.startswith("chatwright_requests_waiting{") and line.endswith(" 1.0")
                    for line in text.splitlines()
                ):
                    assert time.monotonic() < limit
            limit = time.monotonic() + 10
            while client.get("/healthz").json()["requests"] != 1:
                assert time.monotonic() < limit
        assert gone(client)


def connected(client: httpx.Client, text: str, **more: Any) -> socket.socket:
    """A bare connection that has asked something."""
    body = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": text}], **more}).encode()
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=30)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_case_19_sixty_four_streams(client: httpx.Client) -> None:
    worst: list[float] = []
    done = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=client.base_url, timeout=30) as watcher:
            while not done.is_set():
                begun = time.monotonic()
                assert watcher.get("/healthz").status_code == 200
                worst.append(time.monotonic() - begun)
                done.wait(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda n: stream(client, f"number {n} of many"), range(64)))
    done.set()
    watcher.join()
    assert [joined(chunks) for chunks in answers] == [f"You said: number {n} of many" for n in range(64)]
    assert len({chunks[0]["id"] for chunks in answers}) == 64
    assert worst, "health was answered meanwhile"


def test_case_19_past_the_bound_is_429_and_health_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTED_PAUSE", "0.02")
    body = {"model": tmp_path.name, "stream": True, "messages": [{"role": "user", "content": "forever"}]}
    with engine_server(SCRIPTED, tmp_path, "--max-batch", "48", "--max-queue", "16") as client:
        with ExitStack() as streams:
            for _ in range(64):
                one = streams.enter_context(client.stream("POST", "/v1/chat/completions", json=body))
                assert one.status_code == 200
            for _ in range(3):
                refusal = client.post("/v1/chat/completions", json=body)
                assert (refusal.status_code, refusal.json()["error"]["code"]) == (429, "queue_full")
                assert "retry-after" in refusal.headers
                health = client.get("/healthz").json()
                assert (health["status"], health["requests"]) == ("ready", 64)
        limit = time.monotonic() + 30
        while client.get("/healthz").json()["requests"]:
            assert time.monotonic() < limit, "who leaves is forgotten"
        assert said(ask(client, "hi", model=tmp_path.name)) == "You said: hi"


def test_case_20_framing(client: httpx.Client) -> None:
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": 'say "\n" and \u2028'}]}
    answer = client.post("/v1/chat/completions", json=body, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        assert block.startswith("data: ")
        assert "\n" not in block


def test_case_21_models(client: httpx.Client) -> None:
    (row,) = client.get("/v1/models").json()["data"]
    assert client.get(f"/v1/models/{row['id']}").json() == row
    assert client.get("/v1/models/a/b/c").json()["error"]["code"] == "model_not_found"
    assert client.delete(f"/v1/models/{row['id']}").json()["error"]["code"] == "permission_denied"


def test_case_22_completions_and_embeddings(client: httpx.Client) -> None:
    body = {"model": "scripted", "prompt": "hi", "logprobs": 2}
    answer = client.post("/v1/completions", json=body).json()
    assert answer["object"] == "text_completion"
    choice = answer["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("You said: hi", "stop")
    assert choice["logprobs"]["tokens"] == list("You said: hi")
    assert choice["logprobs"]["text_offset"] == list(range(12))
    assert choice["logprobs"]["top_logprobs"][0] == {"Y": -0.25, "?": -1.5}
    for prompt in ([104, 105], [[104, 105]], ["hi"]):
        again = client.post("/v1/completions", json=body | {"prompt": prompt}).json()
        assert again["choices"] == answer["choices"]
    several = client.post("/v1/completions", json={"model": "scripted", "prompt": ["a", "b"], "n": 2}).json()
    assert [c["text"] for c in several["choices"]] == ["You said: a"] * 2 + ["You said: b"] * 2
    assert several["usage"]["prompt_tokens"] == 2
    streamed = client.post("/v1/completions", json=body | {"stream": True}).text
    rows = [json.loads(row.removeprefix("data: ")) for row in streamed.split("\n\n")[:-2]]
    assert "".join(row["choices"][0]["text"] for row in rows) == "You said: hi"
    assert [at for row in rows for at in row["choices"][0]["logprobs"]["text_offset"]] == list(range(12))
    for change in ({"echo": True}, {"best_of": 3}, {"suffix": "x"}):
        error = client.post("/v1/completions", json=body | change).json()["error"]
        assert error["code"] == "unsupported_parameter"
    vectors = client.post("/v1/embeddings", json={"model": "scripted", "input": ["ab", "c"]}).json()
    assert [row["embedding"] for row in vectors["data"]] == [[2.0, 97.5, 0.5], [1.0, 99.0, 0.5]]
    packed = client.post(
        "/v1/embeddings", json={"model": "scripted", "input": "ab", "encoding_format": "base64"}
    ).json()["data"][0]["embedding"]
    assert struct.unpack("<3f", base64.b64decode(packed)) == (2.0, 97.5, 0.5)
    assert client.get("/v1/models").json()["data"][0]["metadata"]["embeddings"] == "mean of the hidden states"


def test_metrics_are_prometheus_text_and_add_up(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with engine_server(SCRIPTED, tmp_path) as client:
        for _ in range(2):
            ask(client, "hello", model=tmp_path.name)
        ask(client, "hello", model=tmp_path.name, max_tokens=3)
        text = client.get("/metrics").text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    labels = (("model", tmp_path.name), ("model_version", tmp_path.name))
    # The two-token answer that warms the engine up is nobody's request.
    assert samples[("chatwright_prompt_tokens_total", *labels)] == 15
    assert samples[("chatwright_cached_prompt_tokens_total", *labels)] == 10
    assert samples[("chatwright_generated_tokens_total", *labels)] == 2 * 16 + 3
    assert samples[("chatwright_requests_finished_total", *labels, ("reason", "stop"))] == 2
    assert samples[("chatwright_requests_finished_total", *labels, ("reason", "length"))] == 1
    for name, count in (
        ("time_to_first_token", 3), ("time_between_tokens", 32), ("request_queue", 3), ("request", 3),
    ):  # fmt: skip
        assert samples[(f"chatwright_{name}_seconds_count", *labels)] == count, name
