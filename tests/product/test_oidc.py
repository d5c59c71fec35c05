"""Signing in elsewhere, against a small real OpenID Connect provider on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from tests.product.accounts import Town, browser, made
from tests.product.running import start_gateway, stop_gateway, write_serving

CLIENT, SECRET = "chatwright", "a client's secret"


class Provider(ThreadingHTTPServer):
    """Gives a code to whoever comes, and for the code an identity token of `claims`; checks PKCE and the secret."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.sign_with: Any = None
        self.codes: dict[str, dict[str, str]] = {}
        self.reset()

    def reset(self) -> None:
        self.claims = {"sub": "ada-at-home", "email": "ada@example.org", "email_verified": True, "name": "Ada"}
        self.header, self.sign_with = {"alg": "RS256", "kid": self.key.kid}, None

    def token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": asked["nonce"]}
        return jwt.encode(self.header, claims | self.claims, self.sign_with or self.key, algorithms=["RS256", "HS256"])


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        parts, issuer = urlsplit(self.path), self.server.issuer
        if parts.path == "/.well-known/openid-configuration":
            self.say(200, {
                "issuer": issuer, "authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/keys", "id_token_signing_alg_values_supported": ["RS256"],
            })  # fmt: skip
        elif parts.path == "/keys":
            self.say(200, {"keys": [self.server.key.as_dict(private=False)]})
        elif parts.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            code = secrets.token_urlsafe(8)
            self.server.codes[code] = asked
            self.send_response(302)
            self.send_header(
                "Location", f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
            )
            self.end_headers()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(raw).items()}
        asked = self.server.codes.pop(form["code"], None)
        basic = base64.b64encode(f"{CLIENT}:{urlencode({'': SECRET})[1:]}".encode()).decode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or self.headers["Authorization"] != f"Basic {basic}":
            self.say(401, {"error": "invalid_client"})
        elif asked["code_challenge"] != digest or asked["redirect_uri"] != form["redirect_uri"]:
            self.say(400, {"error": "invalid_grant"})
        else:
            self.say(200, {"access_token": "x", "token_type": "Bearer", "id_token": self.server.token(asked)})

    def say(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Town]:
    workspace: Path = tmp_path_factory.mktemp("oidc")
    write_serving(workspace, ("ppo",))
    os.environ["CHATWRIGHT_TEST_OIDC"] = SECRET
    running = start_gateway(
        workspace, accounts="people", oidc_issuer=provider.issuer, oidc_client_id=CLIENT, oidc_name="Home",
        oidc_secret_env="CHATWRIGHT_TEST_OIDC",
    )  # fmt: skip
    del os.environ["CHATWRIGHT_TEST_OIDC"]
    town = Town(running).settle()
    town.invite("ada")
    yield town
    town.close()
    stop_gateway(running)


@pytest.fixture
def town(settled: Town, provider: Provider) -> Town:
    provider.reset()
    return settled


def go(town: Town, client: httpx.Client, then: str = "") -> httpx.Response:
    """Goes there and back; the answer of the callback."""
    there = client.get("/api/oidc/start", params={"next": then})
    assert there.status_code == 303, there.text
    back = httpx.get(there.headers["location"])
    assert back.headers["location"].startswith(f"{town.running.url}/api/oidc/callback?")
    return client.get(back.headers["location"])


def problem(answer: httpx.Response) -> str:
    assert answer.status_code == 303
    assert "chatwright-session" not in answer.headers.get("set-cookie", "")
    at, _, word = answer.headers["location"].partition("?problem=")
    assert at == "/#/sign-in"
    return word


def test_who_is_known_there_is_signed_in_here(town: Town) -> None:
    with browser(town.running) as client:
        assert made(client.get("/api/me"))["sign_in"]["oidc"] == {"name": "Home"}
        answer = go(town, client, "/chat/c-1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/#/chat/c-1")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert made(client.get("/api/me"))["person"]["id"] == town.ids["ada"]


def test_the_provider_changes_its_keys(town: Town, provider: Provider) -> None:
    with browser(town.running) as client:
        go(town, client)
        provider.key = RSAKey.generate_key(2048, {"kid": "two"})
        provider.reset()
        assert go(town, client).headers["location"] == "/#"


def test_from_then_on_the_subject_counts_and_not_the_address(town: Town, provider: Provider) -> None:
    with browser(town.running) as client:
        go(town, client)
        provider.claims["email"] = "admin@example.org"
        go(town, client)
        assert made(client.get("/api/me"))["person"]["id"] == town.ids["ada"]


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": "true"}, {"email": None}])
def test_an_address_that_nobody_checked_opens_no_account(town: Town, provider: Provider, claims: dict) -> None:
    provider.claims |= {"sub": "somebody-else", "email": "admin@example.org"} | claims
    with browser(town.running) as client:
        assert problem(go(town, client)) == "no_account"
        assert made(client.get("/api/me"))["signed_in"] is False


def test_who_is_not_invited_gets_no_account_and_who_is_does(town: Town, provider: Provider) -> None:
    from chatwright.config import ServeConfig
    from chatwright.product.accounts.desk import AccountDesk
    from chatwright.store import Store, sqlite_url

    provider.claims |= {"sub": "nina", "email": "Nina@Example.org", "name": "Nina\u202e\x07 N."}
    with browser(town.running) as client:
        assert problem(go(town, client)) == "no_account"
        with Store.open(sqlite_url(town.running.workspace / "chatwright.db")) as store:
            admin = store.people.get(town.ids["admin"])
            assert admin is not None
            desk = AccountDesk(store, ServeConfig(accounts="people"))
            desk.invite(admin, "labeller", email="nina@example.org")
            desk.close()
        go(town, client)
        person = made(client.get("/api/me"))["person"]
        assert (person["name"], person["role"], person["email"]) == ("Nina N.", "labeller", "nina@example.org")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1"}, {"aud": "another"}, {"aud": [CLIENT, "another"]}, {"azp": "another"},
        {"nonce": "another"}, {"exp": 1}, {"iat": 99_999_999_999}, {"sub": ""}, {"sub": 7},
    ],
)  # fmt: skip
def test_a_token_that_is_not_for_this_sign_in_is_refused(town: Town, provider: Provider, claims: dict) -> None:
    provider.claims |= claims
    with browser(town.running) as client:
        assert problem(go(town, client)) == "failed"


def test_a_token_of_another_key_or_none_is_refused(town: Town, provider: Provider) -> None:
    public = provider.key.as_pem(private=False)
    for header, key in (
        ({"alg": "RS256", "kid": provider.key.kid}, RSAKey.generate_key(2048)),
        ({"alg": "HS256", "kid": provider.key.kid}, OctKey.import_key(SECRET)),
        ({"alg": "HS256"}, OctKey.import_key(hashlib.sha256(public).hexdigest())),
    ):
        provider.header, provider.sign_with = header, key
        with browser(town.running) as client:
            assert problem(go(town, client)) == "failed"


def test_who_did_not_go_away_does_not_come_back(town: Town) -> None:
    """Another browser's code (login CSRF), a guessed state, a code used twice, an answer of another provider."""
    with browser(town.running) as client, browser(town.running) as victim:
        there = client.get("/api/oidc/start").headers["location"]
        back = httpx.get(there).headers["location"]
        assert problem(victim.get(back)) == "failed"
        assert problem(client.get("/api/oidc/callback?state=guessed&code=x")) == "failed"
    with browser(town.running) as client:
        back = httpx.get(client.get("/api/oidc/start").headers["location"]).headers["location"]
        assert problem(client.get(f"{back}&iss=http%3A%2F%2Fother.example")) == "refused"
    with browser(town.running) as client:
        there = client.get("/api/oidc/start").headers["location"]
        back = httpx.get(there).headers["location"]
        kept = dict(client.cookies)
        assert client.get(back).headers["location"] == "/#"
        client.cookies.update(kept)
        assert problem(client.get(back)) == "failed"


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil", "/x\r\nSet-Cookie: a=b", "x"])
def test_after_signing_in_nobody_is_sent_elsewhere(town: Town, then: str) -> None:
    with browser(town.running) as client:
        location = go(town, client, then).headers["location"]
        assert location.startswith("/#")
        assert "evil.example" not in location or location == "/#//evil.example"
        assert "\r" not in location


def test_where_it_is_not_set_up_there_is_no_such_way(gateway: Any) -> None:
    for path in ("/api/oidc/start", "/api/oidc/callback"):
        assert gateway.client.get(path).status_code == 404
