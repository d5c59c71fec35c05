"""Signing in, being invited, keys and sessions: against a real gateway in people mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.product.accounts import PASSWORD, Town, browser, link, made, program
from tests.product.running import Running, start_gateway, stop_gateway, write_serving

from chatwright.store import Person, Session, Store, sqlite_url

CHAT = {"model": "ppo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    workspace = tmp_path_factory.mktemp("people")
    write_serving(workspace, ("ppo",))
    running = start_gateway(workspace, accounts="people")
    running.wait_ready("ppo")
    town = Town(running).settle()
    town.invite("ada")
    town.invite("bob")
    town.invite("olga", "operator")
    yield town
    town.close()
    stop_gateway(running)


@pytest.fixture
def store(town: Town) -> Iterator[Store]:
    with Store.open(sqlite_url(town.running.workspace / "chatwright.db")) as opened:
        yield opened


def sign_in(town: Town, email: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    with browser(town.running) as client:
        return client.post("/api/sign-in", json={"email": email, "password": password}, headers=headers)


def test_the_first_admin_comes_by_a_link_that_works_once(town: Town) -> None:
    link = town.running.setup
    assert re.fullmatch(re.escape(town.running.url) + r"/#/setup/[\w-]{43}", link)
    body = {"token": link.rsplit("/", 1)[1], "name": "Eve", "email": "eve@example.org", "password": PASSWORD}
    again = town.running.client.post("/api/setup", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "link_not_found")
    me = made(town.people["admin"].get("/api/me"))
    assert (me["person"]["role"], me["setup"], me["signed_in"]) == ("admin", False, True)


def test_the_link_stands_in_no_log_and_no_file(tmp_path: Path) -> None:
    running = start_gateway(tmp_path, accounts="people")
    try:
        token = running.setup.rsplit("/", 1)[1].encode()
        assert len(token) == 43
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or token not in file.read_bytes(), file
    finally:
        stop_gateway(running)


def test_who_is_nobody_sees_the_page_and_how_to_sign_in(town: Town) -> None:
    with browser(town.running) as client:
        me = made(client.get("/api/me"))
        assert (me["signed_in"], me["person"], me["mode"]) == (False, None, "people")
        assert me["sign_in"] == {"password": True, "oidc": None}
        assert me["settings"]["training"] is False
        for path in ("/api/chats", "/v1/models", "/api/build", "/metrics", "/api/me/keys", "/nothing", "/v1/nothing"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in"), path


def test_the_cookie_is_not_for_scripts_and_not_for_other_sites(town: Town) -> None:
    set_cookie = sign_in(town, "ada@example.org").headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=5184000"):
        assert part in set_cookie
    assert "Secure" not in set_cookie
    assert "Domain" not in set_cookie


def test_the_cookie_of_an_https_address_is_bound_to_its_host(tmp_path: Path) -> None:
    running = start_gateway(tmp_path, accounts="people", public_url="https://chat.example.org", host="0.0.0.0")
    try:
        body = {"token": running.setup.rsplit("/", 1)[1], "name": "A", "email": "a@example.org", "password": PASSWORD}
        assert running.setup.startswith("https://chat.example.org/#/setup/")
        url = running.url.replace("0.0.0.0", "127.0.0.1")
        headers = {"Host": "chat.example.org", "Origin": "https://chat.example.org"}
        answer = httpx.post(f"{url}/api/setup", json=body, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["set-cookie"].startswith("__Host-chatwright-session=")
        assert "; Secure" in answer.headers["set-cookie"]
        for host in ("evil.example", "chat.example.org.evil.example", "chat.example.org:8080"):
            assert httpx.get(f"{url}/api/me", headers={"Host": host}).status_code == 403, host
    finally:
        stop_gateway(running)


def test_unknown_and_wrong_are_told_in_the_same_words(town: Town) -> None:
    wrong, unknown = sign_in(town, "bob@example.org", "not the password"), sign_in(town, "nobody@example.org", "what")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert "set-cookie" not in wrong.headers


def test_an_address_is_the_same_however_it_is_written(town: Town) -> None:
    assert sign_in(town, " ADA@Example.ORG ").status_code == 200


def test_signing_in_begins_a_new_session_and_ends_the_one_before(town: Town) -> None:
    with browser(town.running) as client:
        body = {"email": "ada@example.org", "password": PASSWORD}
        made(client.post("/api/sign-in", json=body))
        first = dict(client.cookies)
        made(client.post("/api/sign-in", json=body))
        assert dict(client.cookies) != first
        with browser(town.running) as old:
            old.cookies.update(first)
            assert made(old.get("/api/me"))["signed_in"] is False
        assert client.post("/api/sign-out").json() == {"signed_out": True}
        assert client.get("/api/chats").status_code == 401


def test_sessions_are_seen_and_ended(town: Town) -> None:
    with browser(town.running, **{"User-Agent": "Firefox"}) as here, browser(town.running) as there:
        body = {"email": "bob@example.org", "password": PASSWORD}
        made(here.post("/api/sign-in", json=body))
        made(there.post("/api/sign-in", json=body))
        rows = made(here.get("/api/me/sessions"))["data"]
        assert [one["agent"] for one in rows if one["current"]] == ["Firefox"]
        mine = next(one["id"] for one in made(there.get("/api/me/sessions"))["data"] if one["current"])
        assert town.people["ada"].delete(f"/api/me/sessions/{mine}").status_code == 404
        assert here.delete(f"/api/me/sessions/{mine}").status_code == 200
        assert there.get("/api/chats").status_code == 401
        assert made(here.post("/api/sign-out-everywhere"))["sessions"] >= 2
        assert here.get("/api/chats").status_code == 401
        assert town.people["bob"].get("/api/chats").status_code == 401
    town.people["bob"].post("/api/sign-in", json=body)


def test_an_invitation_says_what_it_is_for_and_makes_one_account(town: Town) -> None:
    token = link(town.running, town.ids["admin"], "labeller", (), Store.open, sqlite_url)
    with browser(town.running) as client:
        assert made(client.get(f"/api/invitations/{token}")) == {"purpose": "invite", "role": "labeller", "email": None}
        body = {"name": "Lena", "email": "lena@example.org", "password": PASSWORD}
        for name, bad in (("name", None), ("email", "no address"), ("password", "short"), ("password", "aaaaaaaaaaaaa"),
                          ("password", "lena@example.org"), ("name", "Le\x07na"), ("name", "   ")):  # fmt: skip
            answer = client.post(f"/api/invitations/{token}", json=body | {name: bad})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, name), bad
        taken = client.post(f"/api/invitations/{token}", json=body | {"email": "ada@example.org"})
        assert (taken.status_code, taken.json()["error"]["code"]) == (409, "account_exists")
        assert made(client.post(f"/api/invitations/{token}", json=body))["person"]["role"] == "labeller"
        assert client.post(f"/api/invitations/{token}", json=body).status_code == 404
        assert client.get(f"/api/invitations/{token}").status_code == 404


def test_a_new_password_ends_every_other_session(town: Town) -> None:
    with browser(town.running) as here, browser(town.running) as there:
        token = link(town.running, town.ids["admin"], "user", (), Store.open, sqlite_url)
        body = {"name": "Carl", "email": "carl@example.org", "password": PASSWORD}
        made(here.post(f"/api/invitations/{token}", json=body))
        made(there.post("/api/sign-in", json={"email": "carl@example.org", "password": PASSWORD}))
        wrong = here.post("/api/me/password", json={"old": "not the old one", "new": "a completely new one"})
        assert wrong.status_code == 401
        made(here.post("/api/me/password", json={"old": PASSWORD, "new": "a completely new one"}))
        assert here.get("/api/chats").status_code == 200
        assert there.get("/api/chats").status_code == 401
        assert sign_in(town, "carl@example.org").status_code == 401
        assert sign_in(town, "carl@example.org", "a completely new one").status_code == 200


def test_an_operator_makes_a_link_for_a_new_password_but_not_for_an_admin(town: Town) -> None:
    olga, ada = town.people["olga"], town.ids["ada"]
    assert town.people["ada"].post(f"/api/operator/people/{ada}/reset").status_code == 403
    assert olga.post(f"/api/operator/people/{town.ids['admin']}/reset").status_code == 403
    assert olga.post("/api/operator/people/p-none/reset").status_code == 404
    token = made(olga.post(f"/api/operator/people/{ada}/reset"))["url_token"]
    with browser(town.running) as client:
        assert made(client.get(f"/api/invitations/{token}"))["purpose"] == "reset"
        made(client.post(f"/api/invitations/{token}", json={"password": PASSWORD}))
        assert town.people["ada"].get("/api/chats").status_code == 401
        assert client.post(f"/api/invitations/{token}", json={"password": PASSWORD}).status_code == 404
    town.people["ada"].post("/api/sign-in", json={"email": "ada@example.org", "password": PASSWORD})


def test_who_guesses_is_slowed_down_whatever_they_guess(tmp_path: Path) -> None:
    running = start_gateway(tmp_path, accounts="people")
    try:
        town = Town(running).settle()
        for _ in range(10):
            assert sign_in(town, "admin@example.org", "a guess").status_code == 401
        for password in ("a guess", PASSWORD):
            answer = sign_in(town, "admin@example.org", password)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_attempts")
            assert 0 < int(answer.headers["retry-after"]) <= 60
        statuses = [sign_in(town, f"a{n}@example.org", "a guess").status_code for n in range(25)]
        assert 429 in statuses, "from one address too, to whatever account"
        assert made(town.people["admin"].get("/api/me"))["signed_in"], "who is in stays in"
    finally:
        stop_gateway(running)


def test_settings_are_kept_one_by_one_and_training_is_none_of_them(town: Town) -> None:
    ada = town.people["ada"]
    made(ada.patch("/api/me", json={"settings": {"theme": "dark"}}))
    me = made(ada.patch("/api/me", json={"name": "Ada L.", "settings": {"memory": True}}))
    assert (me["settings"]["theme"], me["settings"]["memory"], me["person"]["name"]) == ("dark", True, "Ada L.")
    for bad in ({"training": True}, {"theme": "pink"}, {"unknown": 1}, {"instructions": "x" * 20_001}):
        assert ada.patch("/api/me", json={"settings": bad}).status_code == 400, bad
    assert made(ada.get("/api/me"))["settings"]["training"] is False


# Keys.


def test_a_key_is_shown_once_and_kept_as_a_hash(town: Town, store: Store) -> None:
    answer = made(town.people["ada"].post("/api/me/keys", json={"name": "mine", "scopes": ["chat"], "expires_days": 1}))
    key = answer["key"]
    assert re.fullmatch(r"cw-[0-9a-f]{16}\.[\w-]{43}", key)
    row = next(one for one in made(town.people["ada"].get("/api/me/keys"))["data"] if one["id"] == answer["id"])
    assert "key" not in row
    assert row["used"] is None
    with program(town.running, key) as client:
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
    row = next(one for one in made(town.people["ada"].get("/api/me/keys"))["data"] if one["id"] == answer["id"])
    assert row["used"] is not None
    kept = next(one for one in store.keys.of(town.ids["ada"]) if one.id == answer["id"])
    assert key.split(".")[1] not in repr(kept)
    assert town.people["bob"].delete(f"/api/me/keys/{answer['id']}").status_code == 404
    assert town.people["ada"].delete(f"/api/me/keys/{answer['id']}").status_code == 200
    with program(town.running, key) as client:
        assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("scope", "opens"),
    [("chat", "/v1/models"), ("files", "/v1/files"), ("api", "/api/chats"), ("operator", "/metrics")],
)
def test_a_key_opens_what_its_scope_says_and_nothing_else(town: Town, scope: str, opens: str) -> None:
    with town.key("admin", scope) as client:
        for path in ("/v1/models", "/v1/files", "/api/chats", "/metrics"):
            answer = client.get(path)
            assert answer.status_code == (200 if path == opens else 403), path
            assert path == opens or answer.json()["error"]["code"] == "insufficient_scope"
        for path in ("/api/me/keys", "/api/me/sessions"):
            assert client.get(path).status_code == 403, "a key makes no keys"
        feedback = client.post("/v1/feedback", json={"completion_id": "none", "rating": "up"})
        assert feedback.status_code == 403


def test_nobody_makes_a_key_for_more_than_they_may(town: Town) -> None:
    answer = town.people["ada"].post("/api/me/keys", json={"name": "x", "scopes": ["operator"]})
    assert answer.status_code == 403
    for bad in ({"scopes": []}, {"scopes": ["root"]}, {"expires_days": 0}, {"name": ""}, {"limits": {"cookies": 1}}):
        body = {"name": "x", "scopes": ["chat"]} | bad
        assert town.people["ada"].post("/api/me/keys", json=body).status_code == 400, bad


def test_one_rule_for_every_carrier(town: Town) -> None:
    """All that are sent must be right, and belong to one person."""
    ada, bob = town.key("ada", "chat"), town.key("bob", "chat")
    right, other = ada.headers["Authorization"][7:], bob.headers["Authorization"][7:]
    cookie = "; ".join(f"{name}={value}" for name, value in town.people["ada"].cookies.items())

    def status(*headers: tuple[str, str]) -> int:
        return town.running.client.get("/v1/models", headers=list(headers)).status_code

    for headers in (
        [("Authorization", f"Bearer {right}")], [("x-api-key", right)], [("Cookie", cookie)],
        [("Authorization", f"bearer {right}"), ("x-api-key", right)], [("Cookie", cookie), ("x-api-key", right)],
    ):  # fmt: skip
        assert status(*headers) == 200, headers
    for headers in (
        [], [("Authorization", f"Bearer {right}x")], [("x-api-key", right[:-1])], [("Authorization", f"Basic {right}")],
        [("Authorization", f"Bearer {right}"), ("x-api-key", other)], [("Cookie", cookie), ("x-api-key", other)],
        [("Authorization", f"Bearer {right}"), ("x-api-key", "wrong")], [("x-api-key", right), ("x-api-key", other)],
        [("Cookie", "chatwright-session=wrong"), ("x-api-key", right)], [("Cookie", "chatwright-session=wrong")],
        [("Cookie", f"{cookie}; chatwright-session=wrong")],
    ):  # fmt: skip
        assert status(*headers) == 401, headers
    assert status(*[("x-api-key", right)] * 5) == 400


HOSTILE = [
    "' OR '1'='1", "cw-' UNION SELECT id FROM people--.x", "cw-0000000000000000.' OR 1=1 --aaaaaaaaaaaa", "%00", "\\",
    "cw-" + "0" * 16 + "." + "a" * 43, "cw-" + "0" * 60_000, "cw-.", "cw-0000000000000000.", "\u00e9" * 40, "null",
    "cw-0000000000000000." + "a" * 20 + "; DROP TABLE keys", '{"$ne": null}', "cw-" + "%27" * 20,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_credentials_are_wrong_credentials(town: Town, text: str) -> None:
    for headers in ([("authorization", b"Bearer " + text.encode())], [("x-api-key", text.encode())],
                    [("cookie", b"chatwright-session=" + text.encode())]):  # fmt: skip
        raw = [(name.encode(), value) for name, value in headers]
        answer = httpx.get(f"{town.running.url}/v1/models", headers=raw)
        assert answer.status_code in (400, 401), (headers, answer.text[:200])
    assert town.people["ada"].get("/v1/models").status_code == 200, "and the server goes on"


def test_headers_beyond_all_bounds_end_one_request_only(town: Town) -> None:
    huge = {f"x-{n}": "a" * 8_000 for n in range(200)}
    try:
        status = httpx.get(f"{town.running.url}/v1/models", headers=huge).status_code
    except httpx.HTTPError:  # the connection is closed before all is written
        status = 400
    assert status in (400, 401, 431)
    assert town.people["ada"].get("/v1/models").status_code == 200


def test_a_disabled_person_is_out_at_once_with_cookie_and_key(town: Town, store: Store) -> None:
    client = town.invite("dora")
    with town.key("dora", "chat", "api") as key:
        assert key.get("/v1/models").status_code == client.get("/v1/models").status_code == 200
        now = datetime.now(UTC)
        store.people.change_by(Person("root", "Root", "admin", now), town.ids["dora"], now, disabled=True)
        assert key.get("/v1/models").status_code == client.get("/v1/models").status_code == 401
        assert sign_in(town, "dora@example.org").json() == sign_in(town, "dora@example.org", "wrong").json()


def test_a_session_that_is_over_is_nobodys(town: Town, store: Store) -> None:
    from chatwright.product.accounts.tokens import hash_of

    now = datetime.now(UTC)
    for name, begun, seen, expires in (
        ("expired", now - timedelta(days=60), now, now - timedelta(seconds=1)),
        ("idle", now - timedelta(days=20), now - timedelta(days=15), now + timedelta(days=40)),
        ("of-tomorrow", now + timedelta(days=1), now + timedelta(days=1), now + timedelta(days=60)),
    ):
        store.sessions.add(Session(hash_of(name), town.ids["ada"], begun, seen, expires))
        answer = httpx.get(f"{town.running.url}/api/chats", headers={"Cookie": f"chatwright-session={name}"})
        assert answer.status_code == 401, name


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chats/{}/turns"])
def test_a_stream_ends_when_its_reader_is_out(town: Town, store: Store, path: str) -> None:
    name = "eli" if "v1" in path else "fay"
    client = town.invite(name)
    chat = made(client.post("/api/chats", json={}))["id"]
    body = (
        CHAT | {"stream": True, "messages": [{"role": "user", "content": "slow forever"}]}
        if "v1" in path
        else {"id": "t1", "text": "slow forever"}
    )
    with client.stream("POST", path.format(chat), json=body) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        next(lines)
        assert made(client.post("/api/sign-out"))["signed_out"]
        rest = "\n".join(lines)
    assert "event: done" not in rest
    if "v1" in path:
        assert '"signed_out"' in rest
        assert rest.rstrip().endswith("[DONE]")


# Other sites.


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_get_nothing_and_change_nothing(town: Town, site: str) -> None:
    ada = town.people["ada"]
    for method, path in (
        ("POST", "/api/chats"),
        ("GET", "/api/chats"),
        ("GET", "/v1/models"),
        ("DELETE", "/api/chats"),
    ):
        answer = ada.request(method, path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert answer.status_code == 403, (method, path)
        assert "access-control-allow-origin" not in answer.headers
    post = ada.post("/api/sign-out", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})
    assert post.status_code == 403
    page = ada.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})
    assert page.status_code != 403, "a link to the page may be followed"


def test_an_origin_that_cannot_be_read_is_a_foreign_one(town: Town) -> None:
    for origin in ("http://[", "null", "http://127.0.0.1:1", "https://evil.example"):
        assert town.people["ada"].post("/api/chats", json={}, headers={"Origin": origin}).status_code == 403


# Local mode.


def test_without_accounts_there_is_one_person_and_nothing_to_sign_in_to(gateway: Running) -> None:
    me = made(gateway.client.get("/api/me"))
    assert (me["mode"], me["signed_in"], me["setup"]) == ("local", True, False)
    assert (me["person"]["id"], me["person"]["role"]) == ("local", "admin")
    assert me["sign_in"] == {"password": False, "oidc": None}
    assert gateway.setup == ""
    for path, body in (
        ("/api/sign-in", {"email": "a@b", "password": "x"}),
        ("/api/me/keys", {"name": "x", "scopes": ["chat"]}),
    ):
        answer = gateway.client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_accounts")
    made(gateway.client.patch("/api/me", json={"settings": {"instructions": "be brief"}}))
    assert made(gateway.client.get("/api/me"))["settings"]["instructions"] == "be brief"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "0.0.0.0"}, "other machines"),
        ({"host": "0.0.0.0", "accounts": "people"}, "public_url"),
        ({"accounts": "people", "public_url": "ftp://x"}, "no address"),
        ({"accounts": "people", "key_env": "X"}, "key_env"),
        ({"accounts": "people", "oidc_issuer": "http://id.example"}, "no https address"),
        ({"accounts": "people", "oidc_issuer": "https://id.example"}, "oidc_client_id"),
    ],
)
def test_a_setting_that_would_let_the_wrong_ones_in_stops_the_start(tmp_path: Path, settings: dict, says: str) -> None:
    from chatwright.config import ServeConfig
    from chatwright.errors import ConfigError
    from chatwright.product.run import serve

    with pytest.raises(ConfigError, match=says):
        serve(ServeConfig(port=0, **settings), tmp_path)


def test_an_unknown_person_costs_as_much_as_a_wrong_password() -> None:
    """Counted, not timed: one hash is checked in both cases, with the same settings."""
    import asyncio

    from argon2 import PasswordHasher

    from chatwright.product.accounts.passwords import Passwords

    class Counting(PasswordHasher):
        checked: list[str]

        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            self.checked.append(str(hash).rsplit("$", 2)[0])
            return super().verify(hash, password)

    hasher = Counting(time_cost=1, memory_cost=64, parallelism=1)
    hasher.checked = []
    passwords = Passwords(hasher)
    kept = hasher.hash("right")
    assert not asyncio.run(passwords.verify(None, "nobody has this password"))
    assert not asyncio.run(passwords.verify(kept, "wrong"))
    assert hasher.checked[0] == hasher.checked[1]
    assert asyncio.run(passwords.verify(kept, "right"))
    assert not passwords.outdated(kept)
    assert Passwords().hasher.hash("x").startswith("$argon2id$")
