"""The operator's routes over a real gateway: people, reports, feedback, traffic, settings, audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.product.chatting import Heard, Talker
from tests.product.running import Running, eventually, start_gateway, stop_gateway, write_serving
from tests.product.test_listening import HOSTILE, choose, rate
from tests.store.test_staff import add

from chatwright.product.operator.traffic import Look, read, report
from chatwright.store import LOCAL, Store, sqlite_url
from chatwright.store.engine import transaction
from chatwright.store.tables import people

BASE = "/api/operator"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    workspace = tmp_path_factory.mktemp("operator")
    write_serving(workspace, ("sft", "ppo"))
    choose(workspace, feedback_per_minute=1_000)
    made = start_gateway(workspace)
    made.wait_ready("ppo")
    made.wait_ready("sft")
    yield made
    stop_gateway(made)


@pytest.fixture
def talker(running: Running) -> Talker:
    return Talker(running.client)


def get(running: Running, path: str, **params: Any) -> Any:
    answer = running.client.get(f"{BASE}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.json()


def audited(running: Running, what: str) -> list[dict[str, Any]]:
    return get(running, "audit", what=what)["data"]


def flag(talker: Talker, heard: Heard, **body: Any) -> str:
    path = f"/api/chats/{heard.chat['id']}/messages/{heard.answer['id']}/flag"
    answer = talker.client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_a_user_sees_none_of_it(tmp_path: Path) -> None:
    with Store.open(sqlite_url(tmp_path / "chatwright.db")) as store:
        store.people.local(datetime.now(UTC))
        with transaction(store._engine, writes=True) as connection:
            connection.execute(people.update().values(role="labeller"))
    made = start_gateway(tmp_path)
    try:
        for method, path in (
            ("GET", "people"), ("PATCH", "people/x"), ("POST", "invitations"), ("GET", "groups"), ("PUT", "groups"),
            ("GET", "keys"), ("DELETE", "keys/x"), ("GET", "flags"), ("GET", "flags/x"), ("PATCH", "flags/x"),
            ("GET", "feedback"), ("GET", "feedback/rating/x"), ("GET", "withdrawals"), ("GET", "traffic"),
            ("GET", "settings"), ("PUT", "settings"), ("GET", "audit"),
        ):  # fmt: skip
            answer = made.client.request(method, f"{BASE}/{path}", json={"data": [], "state": "open"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
    finally:
        stop_gateway(made)


def test_a_report_shows_the_message_and_no_more_than_is_covered(running: Running, talker: Talker) -> None:
    first = talker.ask(talker.new()["id"], "a private beginning")
    alone = talker.ask(first.chat["id"], "the question", first.answer["id"])
    ident = flag(talker, alone, reason="unsafe", text=HOSTILE)
    listed = next(one for one in get(running, "flags", state="open")["data"] if one["id"] == ident)
    assert (listed["reason"], listed["text"], listed["version"]) == ("unsafe", HOSTILE, "ppo-0123")
    assert "private" not in json.dumps(listed)
    shown = get(running, f"flags/{ident}")
    assert [one["content"] for one in shown["messages"]] == ["You said: the question"]
    assert shown["above_by"] == ""
    flag(talker, alone, reason="unsafe", covers="conversation")
    shown = get(running, f"flags/{ident}")
    assert shown["messages"][0]["content"] == "a private beginning"
    assert (len(shown["messages"]), shown["above_by"]) == (4, "flag")
    flag(talker, alone, reason="unsafe")
    running.client.patch(f"/api/chats/{first.chat['id']}", json={"training": True})
    assert get(running, f"flags/{ident}")["above_by"] == "consent"
    looks = [one for one in audited(running, "flag.read") if one["subject"] == ident]
    assert [(one["detail"]["above"], one["detail"]["by"]) for one in looks] == [(3, "consent"), (3, "flag"), (0, "")]
    path = f"{BASE}/flags/{ident}"
    settled = running.client.patch(path, json={"state": "resolved", "note": HOSTILE}).json()
    assert (settled["state"], settled["note"], settled["by"]) == ("resolved", HOSTILE, LOCAL)
    assert ident not in [one["id"] for one in get(running, "flags", state="open")["data"]]
    assert audited(running, "flag.settled")[0]["detail"]["to"] == "resolved"
    assert running.client.patch(path, json={"state": "gone"}).status_code == 400
    assert running.client.get(f"{BASE}/flags/f-none").status_code == 404


def test_feedback_is_filtered_and_paged(running: Running, talker: Talker) -> None:
    chat = talker.new()["id"]
    made = []
    for number in range(7):
        heard = talker.ask(chat, f"n {number}", model="sft" if number % 2 else "ppo")
        value = 1 if number % 3 else -1
        assert rate(talker, heard, value, tags=["other", "clear" if value == 1 else "wrong"], text=HOSTILE).is_success
        made.append(heard.answer["id"])

    def found(**params: Any) -> list[str]:
        ids, before = [], None
        while True:
            page = get(running, "feedback", limit=2, **params, **({"before": before} if before else {}))
            ids += [one["message"] for one in page["data"] if one["message"] in made]
            before = page["next"]
            if before is None:
                return ids

    assert found() == made[::-1]
    assert found(value="-1") == [made[6], made[3], made[0]]
    assert found(tag="wrong") == [made[6], made[3], made[0]]
    assert found(tag="wron") == []
    assert found(version="sft") == found(version="sft-0123") == [made[5], made[3], made[1]]
    assert found(consent="true") == []
    row = get(running, "feedback", limit=1)["data"][0]
    assert (row["text"], row["new_account"], row["consent"]) == (HOSTILE, True, False)
    assert get(running, f"feedback/rating/{row['id']}")["messages"] == []
    assert running.client.get(f"{BASE}/feedback", params={"value": "left"}).status_code == 400
    assert running.client.get(f"{BASE}/feedback", params={"kind": "poem"}).status_code == 400
    assert running.client.get(f"{BASE}/feedback/rating/r-none").status_code == 404
    running.client.put("/api/me/consent", json={"training": True})
    heard = talker.ask(talker.new()["id"], "allowed")
    rate(talker, heard, 1)
    row = get(running, "feedback", consent="true", limit=1)["data"][0]
    shown = get(running, f"feedback/rating/{row['id']}")["messages"]
    assert [one["content"] for one in shown] == ["allowed", "You said: allowed"]
    running.client.put("/api/me/consent", json={"training": False})
    assert get(running, f"feedback/rating/{row['id']}")["messages"] == []
    assert len([one for one in audited(running, "feedback.read") if one["subject"] == row["id"]]) == 2


def test_an_old_account_is_not_marked(running: Running, talker: Talker) -> None:
    with Store.open(sqlite_url(running.workspace / "chatwright.db")) as store, \
         transaction(store._engine, writes=True) as connection:  # fmt: skip
        long_ago = datetime.now(UTC) - timedelta(days=2)
        connection.execute(people.update().where(people.c.id == LOCAL).values(created=long_ago))
    rate(talker, talker.ask(talker.new()["id"], "old"), 1)
    assert get(running, "feedback", limit=1)["data"][0]["new_account"] is False


def test_signals_and_comparisons_are_browsed_too(running: Running, talker: Talker) -> None:
    put = running.client.put(f"{BASE}/settings", json={"compare_rate": 1.0, "compare_with": ["sft", "nobody"]})
    assert put.json()["compare_rate"] == 1.0
    heard = talker.ask(talker.new()["id"], "at once")
    assert len(heard.answers) == 2
    ident = heard.answer["comparison"]["id"]
    assert get(running, "feedback", kind="comparison")["data"] == []
    running.client.put(f"/api/comparisons/{ident}", json={"choice": "both_bad", "tags": ["wrong"], "text": HOSTILE})
    (row,) = get(running, "feedback", kind="comparison", value="both_bad", version="sft", tag="wrong")["data"]
    assert (row["id"], row["text"], row["how"]) == (ident, HOSTILE, "version")
    assert {row["version"], row["other_version"]} == {"sft-0123", "ppo-0123"}
    running.client.put(f"{BASE}/settings", json={"compare_rate": 0.0})
    assert len(talker.ask(talker.new()["id"], "one").answers) == 1
    talker.again(heard.chat["id"], heard.answer["id"])
    eventually(lambda: get(running, "feedback", kind="signal", value="regenerated")["data"])


def test_settings_are_bounded_and_audited(running: Running) -> None:
    before = get(running, "settings")
    for bad in ({"compare_rate": 2}, {"compare_rate": "often"}, {"feedback_per_minute": 0}, {"keep_days": -1},
                {"compare_with": []}, {"colour": "red"}, {"compare_rate": None}):  # fmt: skip
        refused = running.client.put(f"{BASE}/settings", json=bad)
        assert refused.status_code == 400, bad
        assert refused.json()["error"]["param"] in (*bad, f"{next(iter(bad))}.0")
    assert get(running, "settings") == before
    running.client.put(f"{BASE}/settings", json={"keep_days": 7})
    running.client.put(f"{BASE}/settings", json={"keep_days": 7})
    entries = [one for one in audited(running, "setting.changed") if one["subject"] == "keep_days"]
    assert [(one["detail"]["to"], one["who"], one["name"]) for one in entries] == [(7, LOCAL, "You")]


def test_people_groups_and_invitations(running: Running) -> None:
    with Store.open(sqlite_url(running.workspace / "chatwright.db")) as store:
        add(store, "una", name=HOSTILE)
    client = running.client
    assert client.put(f"{BASE}/groups", json={"data": [{"name": "early", "early": True, "about": HOSTILE}]}).is_success
    for bad in (
        {"name": "x", "limits": {"cpu": 1}},
        {"name": "a\nb"},
        {"name": ""},
        {"name": "x", "limits": {"streams": -1}},
    ):
        assert client.put(f"{BASE}/groups", json={"data": [bad]}).status_code == 400
    assert client.put(f"{BASE}/groups", json={"data": [{"name": "a"}, {"name": "a"}]}).status_code == 400
    assert [(one["name"], one["about"]) for one in get(running, "groups")["data"]] == [("early", HOSTILE)]
    changed = client.patch(f"{BASE}/people/una", json={"role": "labeller", "groups": ["early"]}).json()
    assert (changed["name"], changed["role"], changed["groups"]) == (HOSTILE, "labeller", ["early"])
    assert client.patch(f"{BASE}/people/una", json={"role": "king"}).status_code == 400
    assert client.patch(f"{BASE}/people/una", json={"groups": ["nobody"]}).status_code == 400
    assert client.patch(f"{BASE}/people/nobody", json={"role": "user"}).status_code == 404
    assert client.patch(f"{BASE}/people/{LOCAL}", json={"disabled": True}).status_code == 403
    assert {one["id"] for one in get(running, "people")["data"]} == {"una", LOCAL}
    made = client.post(f"{BASE}/invitations", json={"groups": ["early"], "email": "New@Example.org"}).json()
    assert made["email"] == "new@example.org"
    assert made["url_token"] not in json.dumps(get(running, "audit"))
    assert client.post(f"{BASE}/invitations", json={"email": "no address"}).status_code == 400
    assert get(running, "keys") == {"data": []}
    assert client.delete(f"{BASE}/keys/none").status_code == 404


def test_the_audit_log_is_paged_newest_first(running: Running) -> None:
    for days in range(10, 15):
        running.client.put(f"{BASE}/settings", json={"keep_days": days})
    whole = get(running, "audit", limit=200)["data"]
    assert [one["id"] for one in whole] == sorted((one["id"] for one in whole), reverse=True)
    seen, before = [], None
    while True:
        page = get(running, "audit", limit=3, **({"before": before} if before else {}))
        seen += page["data"]
        if (before := page["next"]) is None:
            break
    assert seen == whole
    assert {one["who"] for one in get(running, "audit", who=LOCAL)["data"]} == {LOCAL}


def test_traffic_counts_what_the_engines_did(running: Running, talker: Talker) -> None:
    before = {one["model"]: one for one in get(running, "traffic", seconds=300)["models"]}
    for _ in range(3):
        talker.ask(talker.new()["id"], "count me")
    slow = talker.ask(talker.new()["id"], "forever", until=20)
    talker.ask(talker.new()["id"], "please refuse")

    def now() -> dict[str, Any]:
        return {one["model"]: one for one in get(running, "traffic", seconds=300)["models"]}["ppo"]

    assert now()["streams"] == 1
    talker.stop(slow.chat["id"], slow.answer["id"], 5)
    eventually(lambda: now()["streams"] == 0)
    after = now()
    assert after["version"] == "ppo-0123"
    assert after["tokens"] - before["ppo"]["tokens"] >= 3 * len("You said: count me")
    assert after["requests"] - before["ppo"]["requests"] >= 4
    assert after["errors"] == before["ppo"]["errors"] + 1
    assert after["tokens_per_second"] > 0
    assert running.client.get(f"{BASE}/traffic", params={"seconds": 9_999}).status_code == 400


def test_counters_that_began_again_are_not_negative() -> None:
    key = ("m", "v", "generated_tokens", "")
    looks = [Look(0.0, {key: 500.0}, {}), Look(10.0, {key: 40.0}, {("/x", 503): 2.0, ("/x", 200): 9.0})]
    told = report(looks, 60)
    assert (told["models"][0]["tokens"], told["models"][0]["tokens_per_second"], told["seconds"]) == (40, 4.0, 10.0)
    assert told["refused"] == [{"route": "/x", "status": 503, "count": 2}]
    text = 'chatwright_generated_tokens_total{model="a \\"b\\"",model_version="v"} 12.0\nother_total{x="y"} 3\n'
    assert [*read([text], {}).values()] == [12.0]
