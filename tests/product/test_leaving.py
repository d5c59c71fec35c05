"""Whoever is let in no more, or deletes their account: out at once, and nothing of them stays but what must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Table, select
from tests.product.accounts import PASSWORD, Town, browser, made
from tests.product.chatting import Talker
from tests.product.running import eventually, start_gateway, stop_gateway, write_serving
from tests.product.test_ownership import things_of

from chatwright.store import Store, sqlite_url
from chatwright.store.engine import transaction
from chatwright.store.exports import Export
from chatwright.store.tables import metadata

OF_A_PERSON = {
    "attempts", "audit", "chats", "comparisons", "completions", "consents", "exported", "feedback", "flags",
    "invitations", "keys", "memberships", "memories", "messages", "people", "ratings", "replays", "sessions", "shares",
    "signals", "uploads", "withdrawals",
}  # fmt: skip
"""Tables in which something of a person may stand."""
OF_NOBODY = {"artefacts", "parents", "aliases", "alias_changes", "groups", "choices", "exports"}
"""Of this installation. `choices.who` and the like name operators by their ids."""
KEPT = {
    ("audit", "who"): "who changed what of others stays known, without a name",
    ("audit", "subject"): "and of whom",
    ("choices", "who"): "as in the audit log",
    ("flags", "by"): "who settled somebody else's report, as in the audit log",
    ("consents", "person"): "that learning was allowed is shown by the log, without a name",
    ("withdrawals", "person"): "what is not to be learned from any more",
    ("exported", "person"): "what left before, so that it can be told what learned from it",
}
"""Where the id of a person stays, which names nobody then."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    workspace = tmp_path_factory.mktemp("leaving")
    write_serving(workspace, ("ppo",))
    running = start_gateway(workspace, accounts="people")
    running.wait_ready("ppo")
    town = Town(running).settle()
    town.invite("olga", "operator")
    yield town
    town.close()
    stop_gateway(running)


@pytest.fixture
def store(town: Town) -> Iterator[Store]:
    with Store.open(sqlite_url(town.running.workspace / "chatwright.db")) as opened:
        yield opened


def everything(store: Store) -> dict[str, list[dict[str, Any]]]:
    with transaction(store._engine, writes=False) as connection:

        def rows(table: Table) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(select(table)).mappings()]

        return {name: rows(table) for name, table in metadata.tables.items()}


def places(found: dict[str, list[dict[str, Any]]], *words: str) -> set[tuple[str, str]]:
    """Tables and columns in which one of the words stands."""
    return {
        (name, column) for name, rows in found.items() for row in rows for column, value in row.items()
        if any(word in (value.decode(errors="replace") if isinstance(value, bytes) else str(value)) for word in words)
    }  # fmt: skip


def streams(town: Town) -> int:
    return sum(one["streams"] for one in made(town.people["admin"].get("/api/operator/traffic"))["models"])


def live(town: Town, store: Store, name: str, ident: str) -> dict[str, str]:
    """A person does everything there is to do; two of their words are `secret` and `quokka`."""
    admin, client = town.people["admin"], town.people[name]
    made(admin.put("/api/operator/groups", json={"data": [{"name": "early"}]}))
    made(admin.patch(f"/api/operator/people/{ident}", json={"groups": ["early"]}))
    made(client.put("/api/me/consent", json={"training": True}))
    things = things_of(town, name)
    made(client.post("/v1/feedback", json={"completion_id": things["completion"], "rating": "up", "text": "quokka"}))
    body = {"model": "ppo", "messages": [{"role": "user", "content": "quokka"}]}
    made(client.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": "one"}))
    made(client.post("/api/operator/invitations", json={"role": "user", "email": "friend@example.org"}))
    made(admin.post("/api/operator/invitations", json={"role": "user", "email": f"{name}@example.org"}))
    made(client.put("/api/operator/settings", json={"keep_days": 33}))
    other = Talker(admin).ask(Talker(admin).new()["id"], "of the admin")
    path = f"/api/chats/{other.chat['id']}/messages/{other.answer['id']}/flag"
    flag = made(admin.post(path, json={"reason": "unsafe"}))["id"]
    made(client.patch(f"/api/operator/flags/{flag}", json={"state": "resolved"}))
    rows = (("rating-1", ident, things["chat"]),)
    store.exports.enter(Export("export-1", "rating", {}, datetime.now(UTC), "somebody", rows))
    made(client.put("/api/me/consent", json={"training": False}))
    with browser(town.running) as guess:
        wrong = guess.post("/api/sign-in", json={"email": f"{name}@example.org", "password": "a wrong guess"})
        assert wrong.status_code == 401
    return things


def test_every_table_is_known(town: Town) -> None:
    """A new one is entered above, and what it keeps of a person goes with them."""
    assert set(metadata.tables) == OF_A_PERSON | OF_NOBODY


def test_the_end_of_an_account_reaches_every_table_and_every_file(town: Town, store: Store) -> None:
    from chatwright.product.accounts.desk import _bucket

    client = town.invite("una-quokka", "operator")
    ident = town.ids["una-quokka"]
    things = live(town, store, "una-quokka", ident)
    words = (ident, "una-quokka", "Una-Quokka", "secret", "quokka", _bucket("una-quokka@example.org", "account"))
    before = everything(store)
    reached = {name for name, _ in places(before, *words, things["chat"])}
    assert reached - {"choices"} == OF_A_PERSON, "else this test shows nothing"
    file = town.running.workspace / "files" / things["file"]
    assert file.is_file()
    slow = Talker(client).ask(Talker(client).new()["id"], "secret forever", until=20)
    eventually(lambda: streams(town) == 1)
    key = town.key("una-quokka", "chat")
    for body in ({}, {"confirm": "delete"}, {"password": "a wrong one"}):
        assert client.request("DELETE", "/api/me", json=body).status_code == 403
    made(client.get("/api/me"))
    gone = made(client.request("DELETE", "/api/me", json={"password": PASSWORD}))
    assert gone["deleted"]["chats"] == 3
    after = everything(store)
    left = places(after, *words[1:], slow.answer["id"], things["share"])
    assert left == {("choices", "name")}, "one of the settings is called a secret, which is another"
    assert places(after, ident) == set(KEPT), "nothing else, and each of these is there"
    assert not file.exists()
    assert list((town.running.workspace / "files").iterdir()) == []
    assert client.get("/api/chats").status_code == key.get("/v1/models").status_code == 401
    assert town.running.client.get(f"/api/shared/{things['token']}").status_code == 404
    eventually(lambda: streams(town) == 0)
    with browser(town.running) as again:
        body = {"email": "una-quokka@example.org", "password": PASSWORD}
        assert again.post("/api/sign-in", json=body).status_code == 401
    key.close()


def test_an_answer_that_is_being_written_ends_when_its_person_is_let_in_no_more(town: Town, store: Store) -> None:
    client, stays = town.invite("ben"), town.invite("ada")
    with town.key("ben", "api") as key:
        slow = Talker(client).ask(Talker(client).new()["id"], "forever", until=20)
        other = Talker(stays).ask(Talker(stays).new()["id"], "forever", until=20)
        eventually(lambda: streams(town) == 2)
        changed = town.people["olga"].patch(f"/api/operator/people/{town.ids['ben']}", json={"disabled": True})
        assert made(changed)["disabled"] is True
        assert client.get("/api/chats").status_code == key.get("/api/chats").status_code == 401
        eventually(lambda: streams(town) == 1)

    def ended() -> Any:
        message = store.chats.message(slow.answer["id"], town.ids["ben"])
        assert message is not None
        return message.status != "streaming" and message

    kept = eventually(ended)
    assert kept.status == "stopped"
    assert kept.content.startswith(slow.text), "what came is kept, for when they are let in again"
    still = store.chats.message(other.answer["id"], town.ids["ada"])
    assert still is not None
    assert still.status == "streaming"
    Talker(stays).stop(other.chat["id"], other.answer["id"], 5)


def test_nobody_raises_themselves_and_the_last_admin_stays(town: Town) -> None:
    olga, admin = town.people["olga"], town.people["admin"]
    for path, body in (
        (f"people/{town.ids['olga']}", {"role": "admin"}), (f"people/{town.ids['admin']}", {"disabled": True}),
        (f"people/{town.ids['admin']}", {"role": "user"}), (f"people/{town.ids['admin']}", {"groups": []}),
    ):  # fmt: skip
        answer = olga.patch(f"/api/operator/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), body
    for body in ({"role": "user"}, {"disabled": True}):
        answer = admin.patch(f"/api/operator/people/{town.ids['admin']}", json=body)
        assert (answer.status_code, "last admin" in answer.text) == (403, True)
    answer = admin.request("DELETE", "/api/me", json={"password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "last_admin")
    assert made(admin.get("/api/me"))["person"]["role"] == "admin"


def test_an_invitation_that_was_taken_back_opens_nothing(town: Town) -> None:
    olga = town.people["olga"]
    token = made(olga.post("/api/operator/invitations", json={"role": "user", "email": "x@example.org"}))["url_token"]
    pending = made(olga.get("/api/operator/invitations"))["data"]
    (ident,) = [one["id"] for one in pending if one["email"] == "x@example.org"]
    with browser(town.running) as client:
        made(client.get(f"/api/invitations/{token}"))
        assert client.get(f"/api/invitations/{ident}").status_code == 404, "its id is not its token"
        made(olga.delete(f"/api/operator/invitations/{ident}"))
        assert client.get(f"/api/invitations/{token}").status_code == 404
    assert olga.delete(f"/api/operator/invitations/{ident}").status_code == 404
