"""/api/operator: for the roles operator and admin. What is shown is plain JSON; whoever shows it escapes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from chatwright.engine.protocol import ApiError, parse_json
from chatwright.engine.protocol.body import checked
from chatwright.engine.protocol.errors import invalid
from chatwright.product.accounts.desk import AccountDesk
from chatwright.product.accounts.own import key_shown
from chatwright.product.chats.routes import body_of
from chatwright.product.chosen import Choices, Chosen
from chatwright.product.identity import in_store, person_of
from chatwright.product.operator.bodies import FlagChange, GroupsBody, InvitationBody, PersonChange
from chatwright.product.operator.traffic import Traffic
from chatwright.store import Group, Invitation, Person, Store

Limit = Annotated[int, Query(ge=1, le=200)]
Words = Annotated[str, Query(max_length=200)]
Kind = Literal["rating", "comparison", "signal"]
VALUES = {
    "rating": ("-1", "1"), "comparison": ("left", "right", "tie", "both_bad"),
    "signal": ("regenerated", "edited", "copied", "stopped", "continued", "abandoned"),
}  # fmt: skip
Clock = Callable[[], datetime]


def operator_of(request: Request) -> Person:
    return person_of(request, "operator")


def add_operator(
    desk: AccountDesk, chosen: Chosen, traffic: Traffic, clock: Clock = lambda: datetime.now(UTC)
) -> APIRouter:  # fmt: skip
    store = desk.store
    router = APIRouter(include_in_schema=False, prefix="/api/operator")
    _add_people(router, desk, clock)
    _add_groups(router, store, clock)
    _add_review(router, store, clock)
    _add_running(router, store, chosen, traffic, clock)
    return router


def _found(row: Any, what: str, ident: str) -> Any:
    if row is None or row is False:
        raise ApiError(404, f"there is no {what} {ident[:80]!r}", f"{what}_not_found")
    return row


def _paged(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    return {"data": rows[:limit], "next": str(rows[limit - 1]["id"]) if len(rows) > limit else None}


def _add_people(router: APIRouter, desk: AccountDesk, clock: Clock) -> None:
    people, invitations = desk.store.people, desk.store.invitations

    @router.get("/people")
    async def listed(
        request: Request, limit: Limit = 50, before: str | None = None, q: Words = ""
    ) -> dict[str, Any]:  # fmt: skip
        operator_of(request)
        rows = await asyncio.to_thread(people.page, before, limit + 1, q.strip())
        return _paged([person_shown(one) for one in rows], limit)

    @router.patch("/people/{ident}")
    async def changed(request: Request, ident: str) -> dict[str, Any]:
        by, body = operator_of(request), await body_of(request, PersonChange)
        changes = {"role": body.role, "disabled": body.disabled, "groups": body.groups}
        return person_shown(_found(await in_store(people.change_by, by, ident, clock(), **changes), "person", ident))

    @router.get("/invitations")
    async def pending(request: Request) -> dict[str, Any]:
        """Links that nobody used yet; their `id` opens nothing."""
        operator_of(request)
        return {"data": [invitation_shown(one) for one in await asyncio.to_thread(invitations.pending, clock())]}

    @router.post("/invitations", status_code=201)
    async def invited(request: Request) -> dict[str, Any]:
        """The link's token is shown this once; kept is its hash."""
        by, body = operator_of(request), await body_of(request, InvitationBody)
        link = await in_store(desk.invite, by, body.role, tuple(body.groups), body.email)
        about = {"role": body.role, "groups": body.groups, "email": body.email, "expires": link.expires.isoformat()}
        return about | {"url_token": link.token, "path": f"/#/invitation/{link.token}"}

    @router.delete("/invitations/{ident}")
    async def taken_back(request: Request, ident: str) -> dict[str, Any]:
        by = operator_of(request)
        _found(await in_store(invitations.revoke_by, by, ident, clock()), "invitation", ident)
        return {"deleted": [ident]}


def _add_groups(router: APIRouter, store: Store, clock: Clock) -> None:
    async def shown() -> dict[str, Any]:
        rows, sizes = await asyncio.to_thread(lambda: (store.groups.all(), store.groups.sizes()))
        return {"data": [group_shown(one, sizes.get(one.name, 0)) for one in rows]}

    @router.get("/groups")
    async def groups(request: Request) -> dict[str, Any]:
        operator_of(request)
        return await shown()

    @router.put("/groups")
    async def put(request: Request) -> dict[str, Any]:
        by, body, now = operator_of(request), await body_of(request, GroupsBody), clock()
        names = [one.name for one in body.data]
        if len(set(names)) < len(names):
            raise invalid("data", "two groups have the same name")
        wanted = [Group(one.name, now, one.about, one.early, one.limits) for one in body.data]
        await in_store(store.groups.put_all, wanted, by.id, by.name)
        return await shown()

    @router.get("/keys")
    async def keys(request: Request) -> dict[str, Any]:
        operator_of(request)
        rows = await asyncio.to_thread(store.keys.all)
        return {"data": [key_shown(key) | {"person": key.person, "person_name": name} for key, name in rows]}

    @router.delete("/keys/{ident}")
    async def revoked(request: Request, ident: str) -> dict[str, Any]:
        by = operator_of(request)
        _found(await in_store(store.keys.revoke_by, by, ident, clock()), "key", ident)
        return {"deleted": [ident]}


def _add_review(router: APIRouter, store: Store, clock: Clock) -> None:
    review = store.review

    @router.get("/flags")
    async def flags(
        request: Request, state: Literal["open", "resolved"] | None = None, limit: Limit = 50, before: str | None = None
    ) -> dict[str, Any]:  # fmt: skip
        operator_of(request)
        return _paged(await asyncio.to_thread(review.flags, state, before, limit + 1), limit)

    @router.get("/flags/{ident}")
    async def flag(request: Request, ident: str) -> dict[str, Any]:
        by = operator_of(request)
        return _found(await asyncio.to_thread(review.flag, ident, by, clock()), "flag", ident)

    @router.patch("/flags/{ident}")
    async def settled(request: Request, ident: str) -> dict[str, Any]:
        by, body = operator_of(request), await body_of(request, FlagChange)
        return _found(await asyncio.to_thread(review.settle, ident, body.state, body.note, by, clock()), "flag", ident)

    @router.get("/feedback")
    async def feedback(
        request: Request, kind: Kind = "rating", version: Words = "", value: Words = "", tag: Words = "",
        consent: bool | None = None, limit: Limit = 50, before: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        operator_of(request)
        if value and value not in VALUES[kind]:
            raise invalid("value", f"of a {kind} use one of {', '.join(VALUES[kind])}")
        rows = await asyncio.to_thread(
            lambda: review.feedback(
                kind, version=version, value=value, tag=tag, consent=consent, after=before, limit=limit + 1
            )
        )
        return _paged(rows, limit)

    @router.get("/feedback/{kind}/{ident}")
    async def said(request: Request, kind: Kind, ident: str) -> dict[str, Any]:
        by = operator_of(request)
        return _found(await asyncio.to_thread(review.said, kind, ident, by, clock()), "feedback", ident)

    @router.get("/withdrawals")
    async def withdrawals(request: Request) -> dict[str, Any]:
        """What was taken back after it had been exported, and what had learned from it."""
        operator_of(request)
        return {"data": await asyncio.to_thread(store.belongings.taken_back)}


def _add_running(router: APIRouter, store: Store, chosen: Chosen, traffic: Traffic, clock: Clock) -> None:
    @router.get("/traffic")
    async def live(request: Request, seconds: Annotated[int, Query(ge=5, le=300)] = 60) -> dict[str, Any]:
        operator_of(request)
        found = await traffic.now(seconds)
        since = clock() - timedelta(seconds=seconds)
        troubles = await asyncio.to_thread(store.review.troubles, since)
        for row in found["models"]:
            row["errors"] = troubles.get((row["model"], row["version"]), 0)
        return found

    @router.get("/settings")
    async def settings(request: Request) -> dict[str, Any]:
        operator_of(request)
        return (await asyncio.to_thread(chosen.read)).model_dump()

    @router.put("/settings")
    async def put(request: Request) -> dict[str, Any]:
        by = operator_of(request)
        raw = parse_json(await request.body())
        if unknown := sorted(set(raw) - set(Choices.model_fields)):
            raise invalid(unknown[0][:80], f"there is no such setting; there are {', '.join(Choices.model_fields)}")
        before = (await asyncio.to_thread(chosen.read)).model_dump()
        wanted = checked(Choices, before | raw, {}).model_dump()
        changed = {name: wanted[name] for name in raw}
        return (await asyncio.to_thread(chosen.set, changed, by, clock())).model_dump()

    @router.get("/audit")
    async def audit(
        request: Request, limit: Limit = 50, before: Annotated[int | None, Query(ge=1)] = None, who: Words = "",
        what: Words = "",
    ) -> dict[str, Any]:  # fmt: skip
        operator_of(request)
        rows = await asyncio.to_thread(
            lambda: store.audit.page(before=before, who=who or None, what=what or None, limit=limit + 1)
        )
        return _paged([asdict(row) | {"at": row.at.isoformat()} for row in rows], limit)


def person_shown(one: Person) -> dict[str, Any]:
    return {
        "id": one.id, "name": one.name, "email": one.email, "role": one.role, "disabled": one.disabled,
        "created": one.created.isoformat(), "groups": list(one.groups),
    }  # fmt: skip


def invitation_shown(one: Invitation) -> dict[str, Any]:
    return {
        "id": one.id, "purpose": one.purpose, "role": one.role, "groups": list(one.groups), "email": one.email,
        "by": one.by, "created": one.created.isoformat(), "expires": one.expires.isoformat(),
    }  # fmt: skip


def group_shown(one: Group, people: int) -> dict[str, Any]:
    return asdict(one) | {"created": one.created.isoformat(), "people": people}
