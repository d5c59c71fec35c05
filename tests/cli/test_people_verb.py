"""`chatwright people`: who is there, and a link for who lost the password, on a gateway that runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command
from tests.product.accounts import PASSWORD, Town, browser, made
from tests.product.running import start_gateway, stop_gateway

from chatwright.store import Store, sqlite_url


def test_an_admin_who_lost_the_password_comes_back_in(tmp_path: Path, command: Command) -> None:
    running = start_gateway(tmp_path, accounts="people")
    try:
        town = Town(running).settle()
        town.invite("una")
        listed = command("people", "list", "--workspace", tmp_path, "--json").result
        assert [(one["email"], one["role"]) for one in listed] == [
            ("admin@example.org", "admin"), ("una@example.org", "user"),
        ]  # fmt: skip
        told = command("people", "list", "--workspace", str(tmp_path)).out
        assert "admin@example.org  Admin  (admin)" in told
        args = ("people", "reset", "ADMIN@example.org", "--workspace", str(tmp_path), "--port", "8700")
        link = command(*args).out.strip()
        assert link.startswith("http://127.0.0.1:8700/#/invitation/")
        token = link.rsplit("/", 1)[1]
        with browser(running) as client:
            me = made(client.post(f"/api/invitations/{token}", json={"password": f"another {PASSWORD}"}))
            assert (me["signed_in"], me["person"]["role"]) == (True, "admin")
            assert town.people["admin"].get("/api/me/keys").status_code == 401, "whoever was in is out"
            assert client.get("/api/operator/people").status_code == 200
            audit = made(client.get("/api/operator/audit", params={"what": "password.rescue"}))["data"]
        assert [one["subject"] for one in audit] == [town.ids["admin"]]
        assert token not in json.dumps(audit)
        said = command(*args, "--json", "--set", "serve.public_url=https://chat.example.org/").result
        assert said["url"].startswith("https://chat.example.org/#/invitation/")
        assert said["expires"]
    finally:
        stop_gateway(running)


def test_what_cannot_be_is_one_sentence(tmp_path: Path, command: Command) -> None:
    where = ("--workspace", str(tmp_path))
    assert "no database yet" in command("people", "list", *where).complaint
    with Store.open(sqlite_url(tmp_path / "chatwright.db")):
        pass
    assert "nobody has an account yet" in command("people", "list", *where).out
    assert "nobody here has the address" in command("people", "reset", "x@example.org", *where).complaint
