"""Requests, tokens and answers at once: of a person, a key, an address, a group. And models that are not out yet."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from tests.product.accounts import Town, made
from tests.product.running import eventually, start_gateway, stop_gateway, write_serving

from chatwright.config import ServeConfig
from chatwright.engine.protocol import ApiError
from chatwright.product.accounts.limits import Meter, Tally
from chatwright.product.identity import Who
from chatwright.store import Group, Person, Store, sqlite_url

CHAT = {"model": "ppo", "messages": [{"role": "user", "content": "hi"}]}
ADA = Who(Person("ada", "Ada", "user", datetime(2026, 1, 1, tzinfo=UTC)))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(meter: Meter, who: Who, cost: int = 0) -> ApiError:
    with pytest.raises(ApiError) as caught:
        meter.admit(who, cost)
    assert caught.value.status == 429
    return caught.value


def test_requests_come_back_at_a_steady_pace() -> None:
    clock = Clock()
    meter = Meter(ServeConfig(accounts="people", requests_per_minute=2), clock)
    assert meter.admit(ADA, 0)["x-ratelimit-remaining-requests"] == "1"
    assert meter.admit(ADA, 0)["x-ratelimit-reset-requests"] == "60s"
    assert refused(meter, ADA).headers["Retry-After"] == "30"
    clock.now = 30
    assert meter.admit(ADA, 0)["x-ratelimit-remaining-requests"] == "0"


def test_a_debt_of_tokens_is_waited_out() -> None:
    clock = Clock()
    meter = Meter(ServeConfig(accounts="people", tokens_per_minute=60), clock)
    meter.admit(ADA, 10)
    meter.pay(ADA, 80)
    assert refused(meter, ADA).headers["Retry-After"] == "30"
    clock.now = 30
    assert meter.admit(ADA, 0)["x-ratelimit-limit-tokens"] == "60"


def test_a_key_can_have_less_than_its_person_and_never_more() -> None:
    meter = Meter(ServeConfig(accounts="people", requests_per_minute=3))
    key = Who(ADA.person, key="k", key_limits={"requests_per_minute": 1})
    assert meter.admit(key, 0)["x-ratelimit-limit-requests"] == "1"
    refused(meter, key)
    meter.admit(ADA, 0)
    meter.admit(ADA, 0)
    refused(meter, ADA)
    large = Who(ADA.person, key="l", key_limits={"requests_per_minute": 100})
    refused(meter, large)


def test_a_place_that_was_never_used_is_free_again() -> None:
    clock = Clock()
    meter = Meter(ServeConfig(accounts="people", streams=1), clock)
    lease = meter.reserve(ADA)
    with pytest.raises(ApiError, match="1 answer is being written"):
        meter.reserve(ADA)
    clock.now = 11
    other = meter.reserve(ADA)
    meter.end(lease)
    meter.end(other)
    meter.reserve(ADA)


@pytest.mark.parametrize(
    ("blocks", "total"),
    [
        ([b'{"usage": {"total_tokens": 12}}'], 12),
        ([b'{"usage": {"total_', b'tokens": 12}}'], 12),
        ([b'data: {"a":1}\n\n', b"data: {}\n\ndata: [DONE]\n\n"], 13),
        ([json.dumps({"content": '"total_tokens": 99999'}).encode(), b'"total_tokens": 5'], 5),
        ([b"nothing"], 10),
    ],
)
def test_tokens_are_counted_as_the_answer_says_or_by_its_frames(blocks: list[bytes], total: int) -> None:
    tally = Tally(40)
    for block in blocks:
        tally.feed(block)
    assert tally.total == total


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    workspace = tmp_path_factory.mktemp("limits")
    write_serving(workspace, ("ppo", "next"))
    serving = json.loads((workspace / "serving.json").read_text())
    serving["models"][1]["early"] = True
    (workspace / "serving.json").write_text(json.dumps(serving))
    running = start_gateway(workspace, accounts="people")
    running.wait_ready("ppo")
    with Store.open(sqlite_url(workspace / "chatwright.db")) as store:
        now = datetime.now(UTC)
        store.groups.put_all([
            Group("few", now, limits={"requests_per_minute": 3}), Group("short", now, limits={"tokens_per_minute": 60}),
            Group("single", now, limits={"streams": 1}), Group("early", now, early=True),
        ])  # fmt: skip
    town = Town(running).settle()
    for group in ("few", "short", "single", "early"):
        town.invite(f"in-{group}", groups=(group,))
    town.invite("plain")
    yield town
    town.close()
    stop_gateway(running)


def test_a_group_sets_how_many_requests(town: Town) -> None:
    client = town.people["in-few"]
    answers = [client.get("/v1/models") for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 20
    assert town.people["plain"].get("/v1/models").status_code == 200
    chat = made(client.post("/api/chats", json={}))["id"]
    assert client.post(f"/api/chats/{chat}/turns", json={"id": "t", "text": "hi"}).status_code == 429
    with town.key("in-few", "chat") as key:
        assert key.get("/v1/models").status_code == 429, "a key is no way around"


@pytest.mark.parametrize("way", ["whole", "stream", "chat"])
def test_tokens_that_were_used_are_paid_for(town: Town, way: str) -> None:
    name = f"short-{way}"
    client = town.invite(name, groups=("short",))
    if way == "chat":
        chat = made(client.post("/api/chats", json={}))["id"]
        with client.stream("POST", f"/api/chats/{chat}/turns", json={"id": "t", "text": "x" * 120}) as answer:
            answer.read()
    else:
        body = CHAT | {"messages": [{"role": "user", "content": "x" * 120}], "stream": way == "stream"}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
    answer = eventually(lambda: (one := client.get("/v1/models")).status_code == 429 and one)
    assert "tokens a minute" in answer.json()["error"]["message"]


def test_one_answer_at_a_time_in_chats_and_over_the_api_together(town: Town) -> None:
    client = town.people["in-single"]
    chat = made(client.post("/api/chats", json={}))["id"]
    begun, over = threading.Event(), threading.Event()

    def listen() -> None:
        body = {"id": "t", "text": "slow forever"}
        with client.stream("POST", f"/api/chats/{chat}/turns", json=body) as answer:
            for _ in answer.iter_lines():
                begun.set()
        over.set()

    thread = threading.Thread(target=listen)
    thread.start()
    assert begun.wait(30)
    assert client.post("/v1/chat/completions", json=CHAT).status_code == 429
    other = made(client.post("/api/chats", json={}))["id"]
    refused_turn = client.post(f"/api/chats/{other}/turns", json={"id": "t2", "text": "hi"})
    assert refused_turn.status_code == 429
    assert made(client.get(f"/api/chats/{other}"))["messages"] == [], "and nothing half-written stays behind"
    message = made(client.get(f"/api/chats/{chat}"))["messages"][-1]["id"]
    made(client.post(f"/api/chats/{chat}/messages/{message}/stop", json={"seen": 3}))
    assert over.wait(30)
    thread.join()
    eventually(lambda: client.post("/v1/chat/completions", json=CHAT).status_code == 200)


def test_a_model_that_is_not_out_is_seen_by_its_group_and_by_operators(town: Town) -> None:
    def names(client: httpx.Client) -> set[str]:
        return {one["metadata"]["name"] for one in made(client.get("/v1/models"))["data"]}

    assert names(town.people["plain"]) == {"ppo"}
    assert names(town.people["in-early"]) == names(town.people["admin"]) == {"ppo", "next"}
    for call in (
        lambda c: c.post("/v1/chat/completions", json=CHAT | {"model": "next"}),
        lambda c: c.post("/v1/responses", json={"model": "next-0123", "input": "hi"}),
        lambda c: c.get("/v1/models/next"),
    ):
        answer = call(town.people["plain"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "next" not in answer.json()["error"]["message"].split("offered:")[1]
    plain = town.people["plain"]
    chat = made(plain.post("/api/chats", json={}))["id"]
    turn = plain.post(f"/api/chats/{chat}/turns", json={"id": "t", "text": "hi", "model": "next"})
    assert turn.status_code == 404
    assert plain.post("/v1/chat/completions", json=CHAT | {"model": "default"}).json()["model"].startswith("ppo")
    assert set(made(town.running.client.get("/healthz"))["models"]) == {"ppo"}
