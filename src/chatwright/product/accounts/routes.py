"""/api/me and signing in: who this is, first admin, invitations, passwords."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.errors import invalid
from chatwright.errors import InputError
from chatwright.product.accounts.bodies import Credentials, Joining, MeChange, NewPassword, Setup
from chatwright.product.accounts.desk import AccountDesk, new_person
from chatwright.product.accounts.oidc_routes import add_oidc
from chatwright.product.accounts.own import add_own
from chatwright.product.accounts.passwords import check_password
from chatwright.product.accounts.tokens import hash_of
from chatwright.product.chats.routes import body_of
from chatwright.product.identity import in_store, person_of, who_of
from chatwright.store import Person
from chatwright.store.invitations import INVITE, RESET, SETUP


def add_accounts(desk: AccountDesk) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    _add_me(router, desk)
    _add_sign_in(router, desk)
    _add_links(router, desk)
    add_own(router, desk)
    add_oidc(router, desk)
    return router


def with_accounts(desk: AccountDesk) -> None:
    """Raises ApiError(409) where the one local person needs none of this."""
    if not desk.people:
        raise ApiError(
            409, "this installation has no accounts; start it with --accounts people", "no_accounts"
        )  # fmt: skip


async def signed_in(desk: AccountDesk, request: Request, person: Person) -> JSONResponse:
    """The answer to whoever proved who they are: a cookie with a new session, whatever they came with."""
    old = who_of(request).session
    token = await asyncio.to_thread(desk.begin, person, request.headers.get("user-agent", ""), old)
    response = JSONResponse(await asyncio.to_thread(desk.me, person))
    desk.cookie.put(response, token, int(desk.lasts.total_seconds()))
    return response


def _add_me(router: APIRouter, desk: AccountDesk) -> None:
    @router.get("/api/me")
    async def me(request: Request) -> dict[str, Any]:
        return await asyncio.to_thread(desk.me, who_of(request).person)

    @router.patch("/api/me")
    async def changed(request: Request) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, MeChange)
        if body.name is not None:
            await asyncio.to_thread(desk.store.people.change, person.id, {"name": body.name})
        if body.settings is not None:
            chosen = body.settings.model_dump(include=body.settings.model_fields_set)
            await asyncio.to_thread(desk.store.people.choose, person.id, chosen)
        return await asyncio.to_thread(lambda: desk.me(desk.store.people.get(person.id)))

    @router.post("/api/me/password")
    async def password(request: Request) -> Response:
        """Ends every other session: whoever knew the old password is out."""
        with_accounts(desk)
        person, body = person_of(request), await body_of(request, NewPassword)
        check_password(body.new, person.name, person.email or "")
        assert desk.passwords is not None
        if not person.password:
            raise ApiError(409, "this account has no password; it signs in elsewhere", "no_password")
        if not await desk.confirm(person, body.old):
            raise ApiError(401, "the old password is not right", "wrong_credentials")
        kept = await desk.passwords.hash(body.new)
        await asyncio.to_thread(desk.store.people.change, person.id, {"password": kept})
        await asyncio.to_thread(desk.store.sessions.end_all, person.id)
        return await signed_in(desk, request, person)


def _add_sign_in(router: APIRouter, desk: AccountDesk) -> None:
    @router.post("/api/sign-in")
    async def sign_in(request: Request) -> Response:
        with_accounts(desk)
        body = await body_of(request, Credentials)
        person = await desk.sign_in(body.email, body.password, who_of(request).address)
        return await signed_in(desk, request, person)

    @router.post("/api/sign-out")
    async def sign_out(request: Request) -> Response:
        who = who_of(request)
        if who.person is not None and who.session:
            await asyncio.to_thread(desk.store.sessions.end, who.session, who.person.id)
        response = JSONResponse({"signed_out": True})
        desk.cookie.clear(response)
        return response

    @router.post("/api/sign-out-everywhere")
    async def sign_out_everywhere(request: Request) -> Response:
        ended = await asyncio.to_thread(desk.store.sessions.end_all, person_of(request).id)
        response = JSONResponse({"signed_out": True, "sessions": ended})
        desk.cookie.clear(response)
        return response


def _add_links(router: APIRouter, desk: AccountDesk) -> None:
    async def join(request: Request, token: str, name: str, email: str, password: str) -> Response:
        check_password(password, name, email)
        assert desk.passwords is not None
        kept = await desk.passwords.hash(password)
        made, now = new_person(name, email, desk.clock()), desk.clock()
        try:
            there = await asyncio.to_thread(
                lambda: desk.store.invitations.accept(hash_of(token), now, made, password=kept)
            )
        except InputError as error:
            raise ApiError(409, str(error), "account_exists") from None
        person = await asyncio.to_thread(desk.store.people.get, made.id) if there else None
        if person is None:
            raise ApiError(404, "this link was used already, or its time is over; ask for another", "link_not_found")
        return await signed_in(desk, request, person)

    @router.post("/api/setup")
    async def setup(request: Request) -> Response:
        with_accounts(desk)
        body = await body_of(request, Setup)
        await asyncio.to_thread(desk.open_link, body.token, SETUP)
        return await join(request, body.token, body.name, body.email, body.password)

    @router.get("/api/invitations/{token}")
    async def invitation(token: str) -> dict[str, Any]:
        with_accounts(desk)
        found = await asyncio.to_thread(desk.open_link, token, INVITE, RESET)
        return {"purpose": found.purpose, "role": found.role, "email": found.email}

    @router.post("/api/invitations/{token}")
    async def accepted(request: Request, token: str) -> Response:
        with_accounts(desk)
        body = await body_of(request, Joining)
        found = await asyncio.to_thread(desk.open_link, token, INVITE, RESET)
        if found.purpose == RESET:
            return await reset(request, token, body.password, found.email or "")
        email = found.email or body.email
        if body.name is None or email is None:
            raise invalid("name" if body.name is None else "email", "it is needed to make an account")
        if body.email not in (None, email):
            raise invalid("email", "this invitation is for another address")
        return await join(request, token, body.name, email, body.password)

    async def reset(request: Request, token: str, password: str, email: str) -> Response:
        check_password(password, email)
        assert desk.passwords is not None
        kept = await desk.passwords.hash(password)
        ident = await asyncio.to_thread(desk.store.invitations.reset, hash_of(token), desk.clock(), kept)
        person = None if ident is None else await asyncio.to_thread(desk.store.people.get, ident)
        if person is None or person.disabled:
            raise ApiError(404, "this link was used already, or its time is over; ask for another", "link_not_found")
        return await signed_in(desk, request, person)

    @router.post("/api/operator/people/{ident}/reset", status_code=201)
    async def made_reset(request: Request, ident: str) -> dict[str, Any]:
        """The link's token is shown this once, to the operator who passes it on."""
        with_accounts(desk)
        link = await in_store(desk.reset, person_of(request, "operator"), ident)
        return {"url_token": link.token, "expires": link.expires.isoformat()}
