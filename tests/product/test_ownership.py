"""Whose is it: every object x who asks x what they want, as a table. A route that is not in it fails."""

from __future__ import annotations

import io
import json
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.product.accounts import PASSWORD, Town, browser, made
from tests.product.chatting import Talker
from tests.product.running import eventually, start_gateway, stop_gateway, write_serving

ASKERS = ("owner", "other", "labeller", "operator", "admin", "anonymous", "share_link")
"""`share_link` is anonymous too, and knows the token of a link to the chat."""
HIDDEN = {"owner": 200, "other": 404, "labeller": 404, "operator": 404, "admin": 404, "anonymous": 401,
          "share_link": 401}  # fmt: skip
"""An object of one person: for every other it is not there, whatever their role."""


@dataclass(frozen=True)
class Case:
    """One way to reach an object. `path` has the names of `Things` in braces."""

    kind: str
    does: str
    method: str
    path: str
    body: Any = None
    statuses: tuple[tuple[str, int], ...] = tuple(HIDDEN.items())


def row(kind: str, does: str, call: str, body: Any = None, **statuses: int) -> Case:
    method, path = call.split(" ", 1)
    return Case(kind, does, method, path, body, tuple((HIDDEN | statuses).items()))


STAFF = {"owner": 403, "other": 403, "labeller": 403, "operator": 200, "admin": 200}
"""What operators look at and change."""
ADMINS = STAFF | {"operator": 403}
"""What reaches above an operator."""
EVERYBODY = dict.fromkeys(("owner", "other", "labeller", "operator", "admin"), 200)
"""Of each their own; nobody's else comes with it, see the tests below."""
CASES = (
    row("chat", "read", "GET /api/chats/{chat}"),
    row("chat", "read", "GET /api/chats/{chat}/export"),
    row("chat", "read", "GET /api/chats?before={chat}"),
    row("chat", "change", "PATCH /api/chats/{chat}", {"pinned": True}),
    row("chat", "delete", "DELETE /api/chats/{chat}"),
    row("chat", "change", "POST /api/chats/{chat}/turns", {"id": "t-2", "text": "hi"}),
    row("stream", "stream", "GET /api/chats/{chat}/stream"),
    row("stream", "stream", "GET /api/chats/{chat}/stream?from={message}:0"),
    row("message", "change", "POST /api/chats/{chat}/messages/{message}/regenerate", {"id": "t-3"}),
    row("message", "change", "POST /api/chats/{chat}/messages/{message}/continue", {"id": "t-4"}),
    row("message", "change", "POST /api/chats/{chat}/messages/{message}/stop", {"seen": 3}),
    row("share", "change", "POST /api/chats/{chat}/shares", {}, owner=201),
    row("share", "delete", "DELETE /api/shares/{share}"),
    row("share", "read", "GET /api/shared/{token}", **dict.fromkeys(ASKERS, 200)),
    row("memory", "change", "PATCH /api/me/memories/{memory}", {"text": "else"}),
    row("memory", "delete", "DELETE /api/me/memories/{memory}"),
    row("stored completion", "read", "GET /v1/chat/completions/{completion}"),
    row("stored completion", "read", "GET /v1/chat/completions/{completion}/messages"),
    row("stored completion", "change", "POST /v1/chat/completions/{completion}", {"metadata": {"a": "b"}}),
    row("stored completion", "delete", "DELETE /v1/chat/completions/{completion}"),
    row("response", "read", "GET /v1/responses/{response}"),
    row("response", "stream", "GET /v1/responses/{response}?stream=true"),
    row("response", "read", "GET /v1/responses/{response}/input_items"),
    row("response", "change", "POST /v1/responses",
        {"model": "ppo", "input": "and", "previous_response_id": "{response}"}),
    row("response", "delete", "DELETE /v1/responses/{response}"),
    row("file", "read", "GET /v1/files/{file}"),
    row("file", "read", "GET /v1/files/{file}/content"),
    row("file", "delete", "DELETE /v1/files/{file}"),
    row("feedback", "change", "POST /v1/feedback", {"completion_id": "{completion}", "rating": "up"}),
    row("rating", "change", "PUT /api/chats/{chat}/messages/{message}/rating", {"value": 1, "text": "secret"}),
    row("flag", "change", "POST /api/chats/{chat}/messages/{message}/flag", {"reason": "unsafe"}, owner=201),
    row("signal", "change", "POST /api/chats/{chat}/messages/{message}/signals", {"kind": "copied"}, owner=201),
    row("comparison", "change", "PUT /api/comparisons/{comparison}", {"choice": "left"}),
    row("consent", "change", "PATCH /api/chats/{chat}", {"training": False}),
    row("consent", "change", "PUT /api/me/consent", {"training": False}, **EVERYBODY),
    row("account", "read", "GET /api/me/data", **EVERYBODY),
    row("account", "read", "GET /api/me/export", **EVERYBODY),
    row("account", "delete", "DELETE /api/me", {"password": "not the password"}, **dict.fromkeys(EVERYBODY, 403)),
    row("account", "delete", "DELETE /api/me", {"confirm": "delete"}, **dict.fromkeys(EVERYBODY, 403)),
    row("key", "delete", "DELETE /api/me/keys/{key}"),
    row("session", "delete", "DELETE /api/me/sessions/{session}"),
    row("person", "change", "POST /api/operator/people/{person}/reset", {}, owner=403, other=403, labeller=403,
        operator=201, admin=201),
    row("person", "change", "POST /api/operator/people/{admin}/reset", {}, **ADMINS | {"admin": 201}),
    row("person", "change", "PATCH /api/operator/people/{person}", {"groups": []}, **STAFF),
    row("person", "change", "PATCH /api/operator/people/{person}", {"role": "admin", "groups": ["none"]},
        **ADMINS | {"admin": 400}),
    row("person", "change", "PATCH /api/operator/people/{admin}", {"disabled": False}, **ADMINS),
    row("person", "change", "PATCH /api/operator/people/{admin}", {"role": "user"}, **ADMINS | {"admin": 403}),
    row("person", "change", "POST /api/operator/invitations", {"role": "operator"},
        **STAFF | {"operator": 201, "admin": 201}),
    row("person", "change", "POST /api/operator/invitations", {"role": "admin"}, **ADMINS | {"admin": 201}),
    row("person", "delete", "DELETE /api/operator/invitations/{invitation}", **ADMINS),
    row("key", "delete", "DELETE /api/operator/keys/{admin_key}", **ADMINS),
    row("flag", "read", "GET /api/operator/flags/{flag}", **STAFF),
    row("flag", "change", "PATCH /api/operator/flags/{flag}", {"state": "open"}, **STAFF),
    *(row(kind, "read", f"GET /api/operator/feedback/{{of_{kind}}}/{{{kind}}}", **STAFF)
      for kind in ("rating", "comparison", "signal")),
    *(row("operator's view", "read", f"GET /api/operator/{name}", **STAFF) for name in (
        "people", "invitations", "groups", "keys", "flags", "feedback", "feedback?kind=comparison",
        "feedback?kind=signal", "withdrawals", "traffic", "settings", "audit",
    )),
    row("operator's view", "change", "PUT /api/operator/groups", {"data": []}, **STAFF),
    row("operator's view", "change", "PUT /api/operator/settings", {}, **STAFF),
)  # fmt: skip

TAKEN = [case for case in CASES if case.does == "delete" and dict(case.statuses)["owner"] == 200]
"""Where the owner needs a new one, for the others to look for what is there."""
LISTS = (
    "/api/chats", "/api/search?q=secret", "/api/shares", "/api/me/memories", "/v1/chat/completions", "/v1/files",
    "/api/me/keys", "/api/me/sessions", "/api/me/consent",
)  # fmt: skip
"""Each shows everybody their own rows only."""

NOT_OBJECTS = frozenset(
    {
        "GET /", "GET /favicon.svg", "GET /healthz", "GET /metrics", "GET /openapi.json", "GET /api/build",
        "GET /api/build/events", "GET /api/report", "GET /api/starters", "GET /api/models", "GET /v1/models",
        "GET /v1/models/{ident:path}",
        "DELETE /v1/models/{ident:path}", "POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings",
        "POST /v1/moderations", "POST /v1/files", "POST /api/chats", "DELETE /api/chats", "POST /api/me/memories",
        "GET /api/me", "PATCH /api/me", "POST /api/me/password", "POST /api/me/keys", "POST /api/setup",
        "POST /api/sign-in", "POST /api/sign-out", "POST /api/sign-out-everywhere", "GET /api/invitations/{token}",
        "POST /api/invitations/{token}", "GET /api/oidc/start", "GET /api/oidc/callback",
    }
)  # fmt: skip
"""Routes that name no object of a person; what they make or change is the caller's own."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    workspace = tmp_path_factory.mktemp("ownership")
    write_serving(workspace, ("ppo",))
    running = start_gateway(workspace, accounts="people")
    running.wait_ready("ppo")
    town = Town(running).settle()
    for name, role in (("owner", "user"), ("other", "user"), ("labeller", "labeller"), ("operator", "operator")):
        town.invite(name, role)
    town.people["anonymous"] = browser(running)
    town.people["share_link"] = browser(running)
    yield town
    town.close()
    stop_gateway(running)


def things_of(town: Town, name: str) -> dict[str, str]:
    """One object of each kind, made by this person, each with the word "secret" in it."""
    client = town.people[name]
    chat = made(client.post("/api/chats", json={"title": "secret"}))["id"]
    turn = {"id": uuid.uuid4().hex, "text": "a secret"}
    with client.stream("POST", f"/api/chats/{chat}/turns", json=turn) as answer:
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    message = json.loads(lines[0])["answers"][0]["id"]
    share = made(client.post(f"/api/chats/{chat}/shares", json={}))
    completion = made(client.post("/v1/chat/completions", json={
        "model": "ppo", "store": True, "messages": [{"role": "user", "content": "secret"}],
    }))  # fmt: skip
    file = client.post("/v1/files", files={"file": ("secret.txt", b"secret")}, data={"purpose": "user_data"})
    key = made(client.post("/api/me/keys", json={"name": "secret", "scopes": ["chat"]}))
    with browser(town.running) as second:
        made(second.post("/api/sign-in", json={"email": f"{name}@example.org", "password": "correct horse battery"}))
        rows = made(second.get("/api/me/sessions"))["data"]
    return {
        "chat": chat, "message": message, "share": share["id"], "token": share["token"],
        "memory": made(client.post("/api/me/memories", json={"text": "secret"}))["id"], "completion": completion["id"],
        "response": made(client.post("/v1/responses", json={"model": "ppo", "input": "secret"}))["id"],
        "file": made(file)["id"], "key": key["id"],
        **said_of(town, name, chat, message),
        "session": next(one["id"] for one in rows if one["current"]), "person": town.ids[name],
        "admin": town.ids["admin"],
    }  # fmt: skip


def said_of(town: Town, name: str, chat: str, message: str) -> dict[str, str]:
    """What was said of an answer, as operators find it; a comparison that is open; an admin's key and link."""
    client, admin = town.people[name], town.people["admin"]
    path = f"/api/chats/{chat}/messages/{message}"
    made(client.put(f"{path}/rating", json={"value": -1, "text": "secret"}))
    flag = made(client.post(f"{path}/flag", json={"reason": "unsafe", "text": "said of it"}))["id"]
    made(client.post(f"{path}/signals", json={"kind": "copied"}))
    found = {
        kind: made(admin.get("/api/operator/feedback", params={"kind": kind, "limit": 1}))["data"][0]["id"]
        for kind in ("rating", "signal")
    }
    made(admin.put("/api/operator/settings", json={"compare_rate": 1.0}))
    eventually(lambda: made(admin.get("/api/operator/settings"))["compare_rate"] == 1.0)
    second = made(client.post("/api/chats", json={}))["id"]
    heard = Talker(client).ask(second, "which is better")
    made(admin.put("/api/operator/settings", json={"compare_rate": 0.0}))
    invited = {"role": "admin", "email": "guest@example.org"}
    made(admin.post("/api/operator/invitations", json=invited))
    link = made(admin.get("/api/operator/invitations"))["data"][0]
    key = made(admin.post("/api/me/keys", json={"name": "admin's", "scopes": ["operator"]}))
    return found | {f"of_{kind}": kind for kind in ("rating", "comparison", "signal")} | {
        "flag": flag, "comparison": heard.answer["comparison"]["id"], "admin_key": key["id"], "invitation": link["id"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def things(town: Town) -> dict[str, str]:
    return things_of(town, "owner")


def send(client: httpx.Client, case: Case, things: dict[str, str]) -> httpx.Response:
    path = case.path.format(**things)
    body = case.body and json.loads(json.dumps(case.body).replace("{response}", things["response"])
                                    .replace("{completion}", things["completion"]))  # fmt: skip
    return client.request(case.method, path, **({} if case.body is None else {"json": body}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind} {case.does} {case.method} {case.path}")
def test_what_is_somebody_elses_is_not_there(town: Town, things: dict[str, str], case: Case) -> None:
    expected = dict(case.statuses)
    for asker in (*[name for name in ASKERS if name != "owner"], "owner"):
        mine = things_of(town, "owner") if asker == "owner" and case in TAKEN else things
        answer = send(town.people[asker], case, mine)
        if asker == "owner" and case.path.endswith("/continue"):
            assert answer.status_code in (200, 409)
            continue
        assert answer.status_code == expected[asker], (asker, answer.text[:300])
        if answer.status_code == 404:
            assert "secret" not in answer.text


@pytest.mark.parametrize("path", LISTS)
def test_lists_show_ones_own_rows_only(town: Town, things: dict[str, str], path: str) -> None:
    assert made(town.people["owner"].get(path))["data"]
    for name in ("other", "labeller", "operator"):
        text = json.dumps(made(town.people[name].get(path)))
        assert "secret" not in text
        assert not any(things[kind] in text for kind in ("chat", "completion", "file", "key", "session", "share"))
    assert town.people["anonymous"].get(path).status_code == 401


def test_what_is_kept_and_taken_along_is_ones_own(town: Town, things: dict[str, str]) -> None:
    def taken(name: str) -> str:
        with zipfile.ZipFile(io.BytesIO(town.people[name].get("/api/me/export").content)) as found:
            return "".join(found.read(one).decode() for one in found.namelist())

    assert "secret" in taken("owner")
    for name in ("other", "labeller", "operator", "admin"):
        assert "secret" not in taken(name)
        assert made(town.people[name].get("/api/me/data"))["counts"]["messages"] == 0
    assert made(town.people["owner"].get("/api/me/data"))["counts"]["messages"] > 0


def test_an_operator_sees_what_was_reported_and_no_more(town: Town, things: dict[str, str]) -> None:
    """The question above a reported answer, and what feedback is about, are the person's own without their word."""
    operator = town.people["operator"]
    shown = made(operator.get(f"/api/operator/flags/{things['flag']}"))
    assert [one["id"] for one in shown["messages"]] == [things["message"]]
    for kind in ("rating", "comparison", "signal"):
        assert made(operator.get(f"/api/operator/feedback/{kind}/{things[kind]}"))["messages"] == []
    views = [operator.get(f"/api/operator/{name}").text for name in ("people", "keys", "invitations", "audit")]
    for name in ("token", "hash", "argon2", things["token"]):
        assert not any(name in text.replace("prompt_hash", "") for text in views), name


def test_no_key_says_what_may_be_learned_or_takes_everything_along(town: Town, things: dict[str, str]) -> None:
    with town.key("owner", "chat", "files", "feedback", "api") as key:
        made(key.patch(f"/api/chats/{things['chat']}", json={"pinned": True}))
        for method, path, body in (
            ("PATCH", f"/api/chats/{things['chat']}", {"training": True}),
            ("PUT", "/api/me/consent", {"training": True}),
            ("GET", "/api/me/export", None), ("DELETE", "/api/me", {"password": PASSWORD}),
        ):  # fmt: skip
            answer = key.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope"), path
        assert key.get("/api/operator/people").status_code == 403


def test_clearing_ones_chats_leaves_those_of_others(town: Town, things: dict[str, str]) -> None:
    made(town.people["other"].delete("/api/chats"))
    made(town.people["owner"].get(f"/api/chats/{things['chat']}"))


def test_a_link_shows_what_was_said_and_nothing_else_and_ends(town: Town) -> None:
    mine, anonymous = things_of(town, "owner"), town.people["share_link"]
    shown = made(anonymous.get(f"/api/shared/{mine['token']}"))
    assert set(shown) == {"title", "created", "messages"}
    assert mine["chat"] not in json.dumps(shown)
    for method in ("DELETE", "PATCH", "POST", "PUT"):
        assert anonymous.request(method, f"/api/shared/{mine['token']}").status_code in (401, 405)
    made(town.people["owner"].delete(f"/api/shares/{mine['share']}"))
    assert anonymous.get(f"/api/shared/{mine['token']}").status_code == 404


def test_an_idempotency_key_is_each_persons_own(town: Town) -> None:
    body = {"model": "ppo", "messages": [{"role": "user", "content": "who"}]}
    headers = {"Idempotency-Key": "the same"}
    ids = [
        made(town.people[name].post("/v1/chat/completions", json=body, headers=headers))["id"]
        for name in ("owner", "other", "owner")
    ]
    assert ids[0] == ids[2] != ids[1]


def test_what_nobody_owns_is_the_admins(town: Town) -> None:
    from datetime import UTC, datetime

    from chatwright.store import Answer, Store, sqlite_url

    content = {"request": {"messages": []}, "answer": {"id": "old"}, "metadata": {}}
    with Store.open(sqlite_url(town.running.workspace / "chatwright.db")) as store:
        store.answers.add(Answer("old", "chat.completion", "m", "v", datetime.now(UTC), "h" * 64, {}, content))
    statuses = {name: town.people[name].get("/v1/chat/completions/old/messages").status_code for name in ASKERS[:4]}
    assert set(statuses.values()) == {404}
    assert town.people["admin"].get("/v1/chat/completions/old/messages").status_code == 200


def routes() -> set[str]:
    from chatwright.config import ServeConfig
    from chatwright.product.gateway import create_app
    from chatwright.product.serving import Serving

    def walk(found: Any) -> Iterator[str]:
        for route in found:
            inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
            if inner:
                yield from walk(inner)
            for method in getattr(route, "methods", None) or ():
                if method not in ("HEAD", "OPTIONS"):
                    yield f"{method} {route.path}"

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServeConfig(accounts="people"), Path(folder), models=Serving())
        return set(walk(app.routes))


def test_every_route_is_in_the_table() -> None:
    """A new one is entered here: in CASES with who may do what, in LISTS, or in NOT_OBJECTS with good reason."""

    def plain(call: str) -> str:
        method, path = call.split(" ", 1)
        return f"{method} " + "/".join("{}" if part.startswith("{") else part for part in path.split("?")[0].split("/"))

    there = {plain(call) for call in routes()}
    table = {plain(f"{case.method} {case.path}") for case in CASES} | {plain(f"GET {path}") for path in LISTS}
    table |= {plain(call) for call in NOT_OBJECTS}
    assert len(there) > 50
    assert there - table == set()
    assert table - there == set(), "and nothing that is gone"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/x"), ("GET", "/v1/x"), ("GET", "/x"), ("POST", "/healthz"), ("GET", "/assetsx")]
)
def test_a_path_that_nobody_thought_of_is_closed(method: str, path: str) -> None:
    from chatwright.product.accounts.access import refusal_of, rule_of
    from chatwright.product.identity import Who

    refusal = refusal_of(rule_of(method, path), Who())
    assert refusal is not None
    assert refusal.status == 401
