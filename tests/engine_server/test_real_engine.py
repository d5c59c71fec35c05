"""The engine server over a real checkpoint, in its own process on a loopback port."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engine_server.servers import engine_server

from chatwright.engine.server import bind
from chatwright.errors import ChatwrightError
from chatwright.model.checkpoint import load_checkpoint
from chatwright.records import Message

COMMAND = (sys.executable, "-m", "chatwright.engine.server", "--port", "0")


@pytest.fixture(scope="module")
def client(checkpoint: Path) -> Iterator[httpx.Client]:
    with engine_server("chatwright.engine.server", checkpoint) as client:
        yield client


def ask(client: httpx.Client, text: str, **more: Any) -> Any:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 24, "seed": 5} | more
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not more.get("stream"):
        return answer.json()
    rows = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert rows.pop() == "[DONE]"
    return [json.loads(row) for row in rows]


def said(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("max_tokens", range(1, 30, 4))
def test_streamed_text_equals_whole_text_wherever_it_is_cut(client: httpx.Client, max_tokens: int) -> None:
    whole = ask(client, "the miller", max_tokens=max_tokens, temperature=1.5)
    streamed = ask(client, "the miller", max_tokens=max_tokens, temperature=1.5, stream=True)
    assert "".join(row["choices"][0]["delta"].get("content", "") for row in streamed) == said(whole)
    assert streamed[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_equal_seeds_give_equal_answers_whatever_runs_beside_them(client: httpx.Client) -> None:
    alone = said(ask(client, "the miller", temperature=1.0))
    assert alone != said(ask(client, "the miller", temperature=1.0, seed=6))
    with ThreadPoolExecutor(12) as pool:
        crowd = [pool.submit(ask, client, f"the river {n}", temperature=1.0, seed=n) for n in range(20)]
        again = [pool.submit(ask, client, "the miller", temperature=1.0) for _ in range(8)]
        assert {said(one.result()) for one in again} == {alone}
        together = [said(one.result()) for one in crowd]
    assert together == [said(ask(client, f"the river {n}", temperature=1.0, seed=n)) for n in range(20)]


def test_a_stop_string_is_never_shown(client: httpx.Client) -> None:
    text = said(ask(client, "the miller", temperature=1.0))
    stop = text[3:6]
    for answer in (ask(client, "the miller", temperature=1.0, stop=stop),):
        assert said(answer) == text[: text.index(stop)]
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_an_answer_never_outgrows_the_context(client: httpx.Client) -> None:
    usage = ask(client, "the", max_tokens=100_000)["usage"]
    assert usage["total_tokens"] <= 96
    error = client.post("/v1/chat/completions", json={
        "model": "tiny", "messages": [{"role": "user", "content": "the river " * 200}],
    })  # fmt: skip
    assert error.status_code == 400
    assert error.json()["error"]["code"] == "context_length_exceeded"


def test_old_turns_are_cut_where_that_is_asked_for(client: httpx.Client) -> None:
    turn = [{"role": "user", "content": "the river sings"}, {"role": "assistant", "content": "and the miller laughs"}]
    body = {"model": "tiny", "messages": [*(turn * 12), turn[0]], "truncation": "auto", "max_tokens": 8}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["x-chatwright-dropped-turns"]) > 0


def test_sixty_four_streams_do_not_mix(client: httpx.Client) -> None:
    def stream(seed: int) -> tuple[str, str]:
        rows = ask(client, f"the {seed}", seed=seed, temperature=1.0, stream=True)
        assert len({row["id"] for row in rows}) == 1
        return rows[0]["id"], "".join(row["choices"][0]["delta"].get("content", "") for row in rows)

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(stream, range(64)))
    assert len({ident for ident, _ in answers}) == 64
    for seed in range(0, 64, 16):
        assert answers[seed][1] == said(ask(client, f"the {seed}", seed=seed, temperature=1.0))


@pytest.mark.parametrize("kind", ["port", "socket"])
def test_who_comes_before_the_server_runs_waits_instead_of_being_refused(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")
    with bind(Namespace(port=0, socket=path if kind == "socket" else None)) as listener:
        family, address = (socket.AF_UNIX, path) if kind == "socket" else (socket.AF_INET, listener.getsockname())
        with socket.socket(family) as early:
            early.connect(address)
            accepted, _ = listener.accept()
            accepted.close()


def test_a_port_that_another_engine_listens_on_is_taken() -> None:
    with bind(Namespace(port=0, socket=None)) as first, pytest.raises(ChatwrightError, match="is taken"):
        bind(Namespace(port=first.getsockname()[1], socket=None))


def test_running_answers_are_finished_on_sigterm(checkpoint: Path) -> None:
    # Its input ends with this test, however that ends, and the engine with it.
    command = [*COMMAND, "--model", str(checkpoint), "--stdin-watch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=60) as client:
            while client.get("/healthz").status_code != 200:
                time.sleep(0.05)
            body = {"model": "tiny", "stream": True, "max_tokens": 80, "messages": [{"role": "user", "content": "the"}]}
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                blocks = answer.iter_text()
                text = next(blocks)
                process.send_signal(signal.SIGTERM)
                text += "".join(blocks)
        assert text.endswith("data: [DONE]\n\n")
        process.wait(30)


@pytest.mark.parametrize("model", ["missing", "."])
def test_a_folder_that_is_no_model_is_one_sentence(tmp_path: Path, model: str) -> None:
    command = [*COMMAND, "--model", str(tmp_path / model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_answer_goes_on_from_its_beginning(client: httpx.Client, checkpoint: Path) -> None:
    """The same as a completion of the tokens: the question as ever, then the beginning, and no end of turn."""
    loaded = load_checkpoint(checkpoint)
    turn, begun = Message("user", "the miller"), "sings of flour"
    tokens = [*loaded.template.render([turn], add_generation_prompt=True).tokens, *loaded.tokenizer.encode(begun)]
    drawn = {"model": "tiny", "seed": 7, "max_tokens": 24, "ignore_eos": True}
    wanted = client.post("/v1/completions", json=drawn | {"prompt": tokens}).json()["choices"][0]["text"]
    messages = [turn.to_json(), {"role": "assistant", "content": begun}]
    for extra in ({}, {"truncation": "auto"}):
        body = drawn | {"messages": messages, "continue_final_message": True} | extra
        answer = client.post("/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == wanted
        assert answer["usage"]["prompt_tokens"] == len(tokens)
    for bad in (messages[:1], messages[1:], [messages[0], {"role": "assistant", "content": ""}]):
        refused = client.post("/v1/chat/completions", json=body | {"messages": bad})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "continue_final_message"
