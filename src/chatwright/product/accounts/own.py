"""A person's own sessions and API keys."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request

from chatwright.engine.protocol import ApiError
from chatwright.product.accounts.bodies import NewKeyBody
from chatwright.product.accounts.desk import AccountDesk
from chatwright.product.accounts.tokens import new_key
from chatwright.product.chats.routes import body_of
from chatwright.product.identity import person_of, who_of
from chatwright.store import Key, Session

MOST_KEYS = 50


def add_own(router: APIRouter, desk: AccountDesk) -> None:
    _add_sessions(router, desk)
    _add_keys(router, desk)


def _add_sessions(router: APIRouter, desk: AccountDesk) -> None:
    @router.get("/api/me/sessions")
    async def sessions(request: Request) -> dict[str, Any]:
        person, current = person_of(request), who_of(request).session
        rows = await asyncio.to_thread(desk.store.sessions.of, person.id, desk.clock(), desk.idle)
        return {"data": [session_shown(one, current) for one in rows]}

    @router.delete("/api/me/sessions/{ident}")
    async def ended(request: Request, ident: str) -> dict[str, Any]:
        if not await asyncio.to_thread(desk.store.sessions.end, ident, person_of(request).id):
            raise ApiError(404, "there is no such session", "session_not_found")
        return {"deleted": [ident]}


def _add_keys(router: APIRouter, desk: AccountDesk) -> None:
    @router.get("/api/me/keys")
    async def keys(request: Request) -> dict[str, Any]:
        rows = await asyncio.to_thread(desk.store.keys.of, person_of(request).id)
        return {"data": [key_shown(one) for one in rows]}

    @router.post("/api/me/keys", status_code=201)
    async def made(request: Request) -> dict[str, Any]:
        """The key itself is in this answer, and nowhere else ever."""
        person, body = person_of(request), await body_of(request, NewKeyBody)
        if not desk.people:
            raise ApiError(409, "this installation has no accounts, so it asks for no keys", "no_accounts")
        if "operator" in body.scopes and not who_of(request).is_at_least("operator"):
            raise ApiError(403, "a key with the scope operator needs the role operator", "forbidden")
        key, now = new_key(), desk.clock()
        expires = now + timedelta(days=body.expires_days) if body.expires_days else None
        limits = body.limits.model_dump(exclude_none=True) if body.limits else {}
        row = Key(key.prefix, person.id, body.name, key.hash, frozenset(body.scopes), now, expires, limits=limits)
        if not await asyncio.to_thread(desk.store.keys.add, row, MOST_KEYS):
            raise ApiError(409, f"there are {MOST_KEYS} keys already; delete one first", "too_many_keys")
        return key_shown(row) | {"key": key.shown}

    @router.delete("/api/me/keys/{ident}")
    async def revoked(request: Request, ident: str) -> dict[str, Any]:
        if not await asyncio.to_thread(desk.store.keys.revoke, ident, desk.clock(), person_of(request).id):
            raise ApiError(404, f"there is no key {ident[:80]!r}", "key_not_found")
        return {"deleted": [ident]}


def session_shown(one: Session, current: str) -> dict[str, Any]:
    return {
        "id": one.id, "created": one.created.isoformat(), "seen": one.seen.isoformat(), "agent": one.agent,
        "current": one.id == current,
    }  # fmt: skip


def key_shown(one: Key) -> dict[str, Any]:
    return {
        "id": one.id, "name": one.name, "scopes": sorted(one.scopes), "created": one.created.isoformat(),
        "expires": one.expires and one.expires.isoformat(), "used": one.used and one.used.isoformat(),
        "limits": one.limits,
    }  # fmt: skip
