"""People who sign in to a gateway of a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.product.running import PATIENCE, Running

PASSWORD = "correct horse battery"


def browser(running: Running, **headers: str) -> httpx.Client:
    """A client that keeps cookies, as a page of this gateway sends."""
    return httpx.Client(base_url=running.url, timeout=PATIENCE, headers={"Origin": running.url, **headers})


def program(running: Running, key: str) -> httpx.Client:
    return httpx.Client(base_url=running.url, timeout=PATIENCE, headers={"Authorization": f"Bearer {key}"})


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


@dataclass
class Town:
    """The people of one gateway, each signed in, by name."""

    running: Running
    people: dict[str, httpx.Client] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def settle(self) -> Town:
        """The first admin comes by the link that the gateway printed."""
        client = browser(self.running)
        token = self.running.setup.rsplit("/", 1)[1]
        body = {"token": token, "name": "Admin", "email": "admin@example.org", "password": PASSWORD}
        self._add("admin", client, made(client.post("/api/setup", json=body)))
        return self

    def invite(self, name: str, role: str = "user", groups: tuple[str, ...] = ()) -> httpx.Client:
        from chatwright.store import Store, sqlite_url

        token = link(self.running, self.ids["admin"], role, groups, Store.open, sqlite_url)
        client = browser(self.running)
        body = {"name": name.title(), "email": f"{name}@example.org", "password": PASSWORD}
        self._add(name, client, made(client.post(f"/api/invitations/{token}", json=body)))
        return client

    def key(self, name: str, *scopes: str, **more: Any) -> httpx.Client:
        body = {"name": "a key", "scopes": list(scopes), **more}
        return program(self.running, made(self.people[name].post("/api/me/keys", json=body))["key"])

    def _add(self, name: str, client: httpx.Client, me: dict[str, Any]) -> None:
        self.people[name], self.ids[name] = client, me["person"]["id"]

    def close(self) -> None:
        for client in self.people.values():
            client.close()


def link(running: Running, by: str, role: str, groups: tuple[str, ...], open_store: Any, url: Any) -> str:
    """An invitation, made as the operator's page has it made: by the desk of accounts, on the same database."""
    from chatwright.config import ServeConfig
    from chatwright.product.accounts.desk import AccountDesk

    with open_store(url(running.workspace / "chatwright.db")) as store:
        desk = AccountDesk(store, ServeConfig(accounts="people"))
        person = store.people.get(by)
        assert person is not None
        token = desk.invite(person, role, groups).token
        desk.close()
    return token
