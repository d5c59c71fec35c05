"""Feedback on answers this server gave, idempotency keys, limits, keys."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.product.running import Running, eventually, start_gateway, stop_gateway, write_serving

from chatwright.records import Comparison
from chatwright.store import Answer, Store, sqlite_url


@pytest.fixture
def said(gateway: Running) -> dict[str, Any]:
    return gateway.chat("hello", store=True, n=2, temperature=0.5).json()


def rows(gateway: Running, completion: str) -> list[Any]:
    with Store.open(sqlite_url(gateway.workspace / "chatwright.db")) as store:
        return store.answers.said(completion)


def give(gateway: Running, **body: Any) -> httpx.Response:
    return gateway.client.post("/v1/feedback", json=body)


def test_a_rating_is_kept_with_what_it_is_about(gateway: Running, said: dict[str, Any]) -> None:
    answer = give(gateway, completion_id=said["id"], rating="down", tags=["not correct"], text="no\u0000pe")
    assert answer.status_code == 200, answer.text
    assert answer.json()["records"] == ["rating"]
    (row,) = rows(gateway, said["id"])
    assert (row.kind, row.version, row.consent) == ("rating", "ppo-0123", False)
    assert row.sampling == {"temperature": 0.5, "n": 2}
    assert row.row["exchange"] == said["id"]
    assert (row.row["value"], row.row["tags"], row.row["text"]) == (-1, ["not correct"], "no\u0000pe")
    assert len(row.prompt_hash) == 64


@pytest.mark.parametrize(("rating", "value"), [("up", 1), (1, 1), (0.25, 1), (0, 0), (-1, -1), (-0.5, -1)])
def test_ratings_are_signs_and_keep_their_score(
    gateway: Running, said: dict[str, Any], rating: Any, value: int
) -> None:
    assert give(gateway, completion_id=said["id"], rating=rating, consent=True).status_code == 200
    (row,) = rows(gateway, said["id"])
    assert (row.row["value"], row.consent, row.row["consent"]) == (value, True, True)
    assert row.row["score"] == (1.0 if rating == "up" else rating)


def test_what_is_preferred_becomes_a_comparison(gateway: Running, said: dict[str, Any]) -> None:
    other = gateway.chat("hello", store=True, model="sft").json()
    streamed = gateway.chat("hello", store=True, stream=True).text
    ident = json.loads(streamed.split("\n\n")[0].removeprefix("data: "))["id"]
    for preferred in ({"text": "better"}, {"completion_id": other["id"]}, {"completion_id": ident}, {"choice": 1}):
        answer = give(gateway, completion_id=said["id"], preferred=preferred, rating="down")
        assert answer.status_code == 200, answer.text
        assert answer.json()["records"] == ["rating", "comparison"]
    kept = [Comparison.from_json(row.row) for row in rows(gateway, said["id"]) if row.kind == "comparison"]
    assert [c.responses for c in kept] == [("better", "You said: hello"), *[("You said: hello",) * 2] * 3]
    assert all(c.ranking == ((0,), (1,)) and not c.consent for c in kept)
    assert kept[0].prompt[0].content == "hello"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"completion_id": "chatcmpl-nobody"}, 404, "completion_not_found"),
        ({"rating": 2}, 400, "invalid_value"),
        ({"rating": "sideways"}, 400, "invalid_value"),
        ({"rating": None}, 400, "invalid_value"),
        ({"choice": 2, "rating": 1}, 400, "invalid_value"),
        ({"preferred": {"choice": 0}}, 400, "invalid_value"),
        ({"preferred": {"completion_id": "nobody"}}, 404, "completion_not_found"),
        ({"tags": ["x"] * 21}, 400, "invalid_value"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused_and_leaves_nothing(
    gateway: Running, said: dict[str, Any], change: dict[str, Any], status: int, code: str
) -> None:
    answer = give(gateway, **({"completion_id": said["id"]} | change))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert rows(gateway, said["id"]) == []


def test_other_prompts_and_texts_that_were_not_kept_cannot_be_compared(gateway: Running, said: dict[str, Any]) -> None:
    stranger = gateway.chat("other", store=True).json()["id"]
    assert give(gateway, completion_id=said["id"], preferred={"completion_id": stranger}).status_code == 400
    unkept = gateway.chat("hello").json()["id"]
    assert give(gateway, completion_id=unkept, rating="up").status_code == 200, "a rating needs no text"
    answer = give(gateway, completion_id=unkept, preferred={"text": "better"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_stored")


def test_a_text_is_kept_only_where_that_is_asked_for(gateway: Running) -> None:
    for store in (None, False, True):
        gateway.chat(f"a secret word, {store}", **({} if store is None else {"store": store}))
    with sqlite3.connect(gateway.workspace / "chatwright.db") as database:
        kept = [row[0] for row in database.execute("SELECT content FROM completions") if row[0]]
    assert [text for text in kept if "secret" in text] == [text for text in kept if "secret word, True" in text]


def test_a_response_can_be_rated_and_compared(gateway: Running) -> None:
    ident = gateway.client.post("/v1/responses", json={"model": "ppo", "input": "hi"}).json()["id"]
    assert give(gateway, completion_id=ident, preferred={"text": "better"}, consent=True).status_code == 200
    (row,) = rows(gateway, ident)
    assert row.row["responses"] == ["better", "You said: hi"]
    assert row.consent


def keyed(gateway: Running, key: str, text: str, **more: Any) -> httpx.Response:
    body = {"model": "ppo", "messages": [{"role": "user", "content": text}], **more}
    return gateway.client.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("stream", [True, False])
def test_the_same_key_gets_the_same_answer_and_another_body_none(gateway: Running, stream: bool) -> None:
    first, second = (keyed(gateway, f"k-{stream}", "roll", stream=stream) for _ in range(2))
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    other = keyed(gateway, f"k-{stream}", "other", stream=stream)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"


def test_a_key_whose_first_request_still_runs_is_told_to_come_again(gateway: Running) -> None:
    done: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: done.append(keyed(gateway, "k-busy", "slow " + "x" * 60)))
    slow.start()
    while (other := keyed(gateway, "k-busy", "slow " + "x" * 60)).status_code != 409 and not done:
        pass
    slow.join()
    answered, refused = sorted([other, done[0]], key=lambda answer: answer.status_code)
    assert refused.json()["error"]["code"] == "idempotency_key_in_use"
    assert refused.headers["x-should-retry"] == "true"
    assert keyed(gateway, "k-busy", "slow " + "x" * 60).json() == answered.json()


def test_a_refusal_is_repeated_and_a_broken_answer_is_not(gateway: Running) -> None:
    assert keyed(gateway, "k-bad", "x" * 500).status_code == 400
    assert keyed(gateway, "k-bad", "x" * 500).headers["idempotency-replayed"] == "true"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{gateway.url}/v1/chat/completions", timeout=0.3, headers={"Idempotency-Key": "k-left"},
            json={"model": "ppo", "messages": [{"role": "user", "content": "forever slow"}]},
        )  # fmt: skip
    answer = keyed(gateway, "k-left", "hi")
    while answer.status_code == 409:  # until the gateway has seen that the client left
        answer = keyed(gateway, "k-left", "hi")
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    import os

    workspace: Path = tmp_path_factory.mktemp("guarded")
    write_serving(workspace, ("ppo",))
    os.environ["CHATWRIGHT_TEST_KEY"] = "right"
    running = start_gateway(workspace, key_env="CHATWRIGHT_TEST_KEY", requests_per_minute=40)
    del os.environ["CHATWRIGHT_TEST_KEY"]
    running.wait_ready("ppo")
    yield running
    stop_gateway(running)


def test_case_21_one_rule_for_keys_wherever_they_stand(guarded: Running) -> None:
    def status(*headers: tuple[str, str]) -> int:
        return guarded.client.get("/v1/models", headers=list(headers)).status_code

    for scheme in ("Bearer", "bearer", "BEARER"):
        assert status(("Authorization", f"{scheme} right")) == 200
    assert status(("x-api-key", "right")) == 200
    for wrong in (
        [], [("Authorization", "Bearer wrong")], [("x-api-key", "wrong")], [("Authorization", "Basic right")],
        [("Authorization", "right")], [("Authorization", "Bearer right"), ("x-api-key", "wrong")],
    ):  # fmt: skip
        assert status(*wrong) == 401
    error = guarded.client.get("/v1/models").json()["error"]
    assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
    assert guarded.client.get("/healthz").status_code == 200


def test_more_requests_than_a_minute_allows_are_told_when_to_come_again(guarded: Running) -> None:
    headers = {"Authorization": "Bearer right"}
    for _ in range(60):
        answer = guarded.client.get("/v1/models", headers=headers)
        if answer.status_code == 429:
            break
        assert int(answer.headers["x-ratelimit-remaining-requests"]) < 40
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["retry-after-ms"]) > 0
    assert answer.headers["x-should-retry"] == "true"


def test_what_is_known_of_old_answers_is_let_go_at_the_start(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path / "chatwright.db"))
    old, new = datetime.now(UTC) - timedelta(days=8), datetime.now(UTC) - timedelta(days=6)
    for ident, at, content in (("old", old, None), ("kept", old, {"answer": {}}), ("new", new, None)):
        store.answers.add(Answer(ident, "chat.completion", "ppo", "ppo-1", at, "h" * 64, {}, content))
    running = start_gateway(tmp_path, keep_days=7)
    try:
        eventually(lambda: store.answers.get("old") is None)
        assert store.answers.get("kept") is not None
        assert store.answers.get("new") is not None
    finally:
        stop_gateway(running)
        store.close()
