"""A critic behind HTTP: the project's own engine server on loopback, and what other endpoints answer."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tests.train.principled import ASKED, GREEDY, config, learned_critic, prompts, small_constitution, user

from chatwright.config import EndpointConfig, SamplingConfig
from chatwright.engine import Engine
from chatwright.errors import ChatwrightError, InputError
from chatwright.progress import Progress
from chatwright.records import Message
from chatwright.train.constitutional import ai_feedback, critique
from chatwright.train.constitutional.critic import EngineCritic, Letter
from chatwright.train.constitutional.endpoint import EndpointCritic, letter_of_logprobs, letter_of_text
from chatwright.train.constitutional.principles import comparison_turns

HASTY = EndpointConfig(attempts=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return learned_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "chatwright.engine.server", "--port", "0", "--model", str(model), "--stdin-watch"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    url = json.loads(process.stdout.readline())["url"]
    limit = time.monotonic() + 60
    while httpx.get(f"{url}/healthz").status_code != 200:
        assert process.poll() is None, "the engine ended before it was ready"
        assert time.monotonic() < limit
        time.sleep(0.05)
    yield url
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def test_an_endpoint_writes_what_the_same_model_writes_here(url: str, model: Path) -> None:
    conversations = [(user(text), Message("assistant", "no"), user("Is it the mill?")) for text in ASKED]
    sampling = SamplingConfig(temperature=1.3, max_tokens=20)
    seeds = list(range(100, 100 + len(ASKED)))
    here = EngineCritic(Engine.load(model)).write(conversations, sampling, seeds)
    with EndpointCritic(url, HASTY) as critic:
        assert critic.write(conversations, sampling, seeds) == here
        assert critic.write([], sampling, []) == []
    assert len({w.text for w in here}) > 1


def test_revisions_under_an_endpoint_equal_those_of_the_model_itself(url: str, model: Path, tmp_path: Path) -> None:
    """And the whole stage names its critic."""
    given: dict[str, Any] = {"seed": 7, "parents": {}}
    alone = critique.run(
        config(**GREEDY), small_constitution(), model, prompts(), tmp_path / "alone", Progress(), **given
    )
    with EndpointCritic(f"{url}/v1/", HASTY, model=model.name) as critic:
        asked = critique.run(config(**GREEDY), small_constitution(), model, prompts(), tmp_path / "asked", Progress(),
                             critic=critic, **given)  # fmt: skip
    assert asked.manifest.files == alone.manifest.files
    assert asked.manifest.figures["critic"] == f"{url}/v1#{model.name}"
    assert alone.manifest.figures["critic"] == Engine.load(model).id


@pytest.fixture
def mute(url: str) -> Iterator[str]:
    """The engine server behind one that refuses `logprobs`, as many endpoints do."""

    class Mute(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(httpx.get(url + self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "logprobs" in json.loads(body):
                error = {"message": "logprobs is not offered", "type": "invalid_request_error", "code": None}
                self.reply(httpx.Response(400, json={"error": error | {"param": "logprobs"}}))
            else:
                self.reply(httpx.post(url + self.path, content=body, timeout=60))

        def reply(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mute)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_endpoint_without_log_probabilities_is_read_by_its_letter(mute: str, model: Path, tmp_path: Path) -> None:
    """An endpoint that refuses `logprobs` is found out once, and that is said."""
    warnings: list[str] = []

    class Listening(Progress):
        def emit(self, stage: str, event: str, **fields: object) -> None:
            if event == "warn":
                warnings.append(str(fields["text"]))

    hot = SamplingConfig(temperature=2.5, max_tokens=24)
    with EndpointCritic(mute, HASTY) as critic:
        assert critic.letters_from == "logprobs"
        asked = comparison_turns((user("Where?"),), "one", "two", small_constitution().principle("mill"))
        said = critic.write([asked], SamplingConfig(temperature=0, max_tokens=4), [1])[0].text
        assert critic.letters([asked]) == [letter_of_text(said)]
        assert critic.letters_from == "text"
        made = ai_feedback.run(config(answer=hot), small_constitution(), model, prompts(), tmp_path / "out",
                               Listening(), seed=3, parents={}, critic=critic)  # fmt: skip
    assert made.manifest.figures["letters_from"] == "text"
    assert any("no log-probabilities" in w for w in warnings)


def test_a_conversation_too_long_for_the_endpoint_is_an_empty_text(url: str) -> None:
    endless = (user("the old mill stands by the river " * 40),)
    with EndpointCritic(url, HASTY) as critic:
        written = critic.write([endless, (user(ASKED[0]),)], SamplingConfig(max_tokens=8, temperature=0), [1, 2])
        assert [bool(w.text) for w in written] == [False, True]
        assert critic.letters([endless]) == [Letter(0.5, 0.0)]


def test_a_model_the_endpoint_does_not_know_is_one_sentence(url: str) -> None:
    with (
        EndpointCritic(url, HASTY, model="giant") as critic,
        pytest.raises(InputError, match=r"refuses: there is no model 'giant'"),
    ):
        critic.write([(user("x"),)], SamplingConfig(), [1])


def test_an_endpoint_that_stays_away_is_asked_again_and_then_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens here
        port = taken.getsockname()[1]
        pauses: list[float] = []
        with pytest.raises(ChatwrightError, match=rf"127\.0\.0\.1:{port}/v1 does not answer .*goes on where it was"):
            EndpointCritic(f"http://127.0.0.1:{port}", HASTY, pause=pauses.append)
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x", "http://", "", "http://me:key@x"])
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        EndpointCritic(address, HASTY)


def top(**logprobs: float) -> list[dict[str, object]]:
    return [{"token": token, "logprob": math.log(p)} for token, p in logprobs.items()]


def test_letters_are_read_from_logprobs_as_openai_spells_them() -> None:
    plain = [{"token": "A", "logprob": math.log(0.6), "top_logprobs": top(A=0.6, B=0.2, The=0.1)}]
    assert letter_of_logprobs(plain).first == pytest.approx(0.75)
    assert letter_of_logprobs(plain).mass == pytest.approx(0.8)
    spelled = [
        {"token": "(", "logprob": 0.0, "top_logprobs": []},
        {"token": "B", "logprob": math.log(0.5), "top_logprobs": [
            {"token": " A", "logprob": math.log(0.1)}, {"token": "A", "logprob": math.log(0.2)},
            {"token": "B", "logprob": math.log(0.5)}, {"token": "b", "logprob": math.log(0.1)}]},
    ]  # fmt: skip
    assert letter_of_logprobs(spelled).first == pytest.approx(0.3 / 0.8)
    assert letter_of_logprobs([{"token": "A", "logprob": -0.1}]).first == 1.0
    assert letter_of_logprobs([{"token": "Hm", "logprob": 0.0, "top_logprobs": top(Hm=1.0)}]) == Letter(0.5, 0.0)


@pytest.mark.parametrize(
    ("text", "letter"),
    [("A", Letter(1.0, 1.0)), ("(B)", Letter(0.0, 1.0)), ("**A**: it is", Letter(1.0, 1.0)), ("Answer B", Letter(0, 1)),
     ("Both", Letter(0.5, 0.0)), ("", Letter(0.5, 0.0)), ("Apples", Letter(0.5, 0.0))],
)  # fmt: skip
def test_a_letter_is_read_from_text(text: str, letter: Letter) -> None:
    assert letter_of_text(text) == letter
