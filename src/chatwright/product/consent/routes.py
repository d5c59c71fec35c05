"""/api/me: what may be learned from me, what is kept of me, all of it to take along, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.body import StrictBody
from chatwright.product.chats.routes import body_of
from chatwright.product.consent.archive import archive, blocks
from chatwright.product.consent.lineage import Lineage
from chatwright.product.consent.wording import VERSION, WORDING
from chatwright.product.identity import person_of
from chatwright.store import LOCAL, Person, Store, Uploads
from chatwright.store.consents import Consent
from chatwright.store.people import Forbidden

Verify = Callable[[Person, str], Awaitable[bool]]
"""Whether a password is the person's."""


class ConsentBody(StrictBody):
    """`version` names the wording that was shown, where one was."""

    training: bool
    version: str | None = Field(None, max_length=40)


class EndBody(StrictBody):
    """The password; without accounts, or for who signs in elsewhere, the word "delete"."""

    password: str | None = Field(None, max_length=1_000)
    confirm: Literal["delete"] | None = None


def add_consent(
    store: Store, uploads: Uploads, lineage: Lineage, *, verify: Verify | None = None,
    buckets: Callable[[Person], list[str]] = lambda person: [],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> APIRouter:  # fmt: skip
    """Without `verify` there are no passwords, and the word is enough. `buckets`: see `Belongings.delete`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/api/me/consent")
    async def log(request: Request) -> dict[str, Any]:
        lines = await asyncio.to_thread(store.consents.log, person_of(request).id)
        account = [line for line in lines if line.chat is None]
        return {
            "data": [line_shown(line) for line in lines], "training": bool(account and account[-1].training),
            "version": VERSION, "wording": WORDING,
        }  # fmt: skip

    @router.put("/api/me/consent")
    async def chosen(request: Request) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, ConsentBody)
        if body.version not in (None, VERSION):
            raise ApiError(409, "the wording has changed since; read it again", "wording_changed", "version")
        line = await asyncio.to_thread(store.consents.choose, person.id, body.training, VERSION, clock())
        used = []
        if not body.training:
            used = await asyncio.to_thread(lineage.take_back, person.id, None, "consent withdrawn")
        return line_shown(line) | {"used": [asdict(one) for one in used]}

    @router.get("/api/me/data")
    async def kept(request: Request) -> dict[str, Any]:
        person = person_of(request)
        sizes = await asyncio.to_thread(store.belongings.sizes, person.id)
        used = await asyncio.to_thread(lineage.used, person.id)
        return {
            "counts": {kind: count for kind, (count, _) in sizes.items()},
            "bytes": {kind: size for kind, (_, size) in sizes.items()}, "used": [asdict(one) for one in used],
        }  # fmt: skip

    @router.get("/api/me/export")
    async def taken(request: Request) -> StreamingResponse:
        made = await asyncio.to_thread(archive, store, uploads, person_of(request))
        headers = {"Content-Disposition": 'attachment; filename="chatwright-data.zip"'}
        return StreamingResponse(blocks(made), media_type="application/zip", headers=headers)

    @router.delete("/api/me")
    async def ended(request: Request) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, EndBody)
        has_one = verify is not None and await asyncio.to_thread(store.belongings.has_password, person.id)
        await _check(person, body, verify if has_one else None)
        return await asyncio.to_thread(_end, store, uploads, lineage, person, clock(), buckets(person))

    return router


async def _check(person: Person, body: EndBody, verify: Verify | None) -> None:
    """Raises ApiError(403) where it may be an accident, or somebody else."""
    if verify is None:
        if body.confirm != "delete":
            raise ApiError(403, 'this cannot be undone; write "delete" in confirm', "not_confirmed", "confirm")
    elif body.password is None:
        raise ApiError(403, "this cannot be undone; give your password", "not_confirmed", "password")
    elif not await verify(person, body.password):
        raise ApiError(403, "the password is not right", "wrong_password", "password")


def _end(
    store: Store, uploads: Uploads, lineage: Lineage, person: Person, now: datetime, buckets: list[str]
) -> dict[str, Any]:  # fmt: skip
    used = lineage.used(person.id)
    counts = {kind: count for kind, (count, _) in store.belongings.sizes(person.id).items() if count}
    try:
        files = store.belongings.delete(person.id, [one.id for one in used], now, buckets)
    except Forbidden as error:
        raise ApiError(409, str(error), "last_admin") from None
    for ident in files:
        uploads.content(ident).unlink(missing_ok=True)
    if person.id == LOCAL:
        store.people.local(now)  # an installation without accounts is somebody's all the same
    return {"deleted": counts, "used": [asdict(one) for one in used]}


def line_shown(line: Consent) -> dict[str, Any]:
    return {"training": line.training, "version": line.version, "at": line.at.isoformat(), "chat": line.chat}
