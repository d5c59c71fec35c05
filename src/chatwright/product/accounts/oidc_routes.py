"""/api/oidc: there and back again. What goes wrong ends at the sign-in page, which is told in one word."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from chatwright.engine.protocol import ApiError
from chatwright.product.accounts.cookies import Cookie
from chatwright.product.accounts.desk import AccountDesk, new_person, secret_of
from chatwright.product.accounts.oidc import Begun, OidcError, Provider
from chatwright.product.identity import who_of
from chatwright.store import Person

LASTS_SECONDS = 600
"""How long somebody may be at the provider's."""
log = logging.getLogger(__name__)


class _Refused(Exception):
    """The word that the sign-in page is told: failed, refused, no_account or disabled."""


def add_oidc(router: APIRouter, desk: AccountDesk) -> None:
    settings = desk.settings
    provider = Provider(settings.oidc_issuer, settings.oidc_client_id, secret_of(settings))
    away = Cookie("chatwright-oidc", secure=desk.secure)

    def back(request: Request) -> str:
        base = settings.public_url or f"{request.url.scheme}://{request.headers['host']}"
        return f"{base.rstrip('/')}/api/oidc/callback"

    def problem(word: str) -> RedirectResponse:
        response = RedirectResponse(f"/#/sign-in?problem={word}", 303)
        away.clear(response)
        return response

    @router.get("/api/oidc/start")
    async def start(request: Request, next: str = "") -> RedirectResponse:
        if not desk.people or not settings.oidc_issuer:
            raise ApiError(404, "signing in elsewhere is not set up here", "not_offered")
        begun = Begun.new()
        try:
            there = await provider.authorization_url(begun, back(request))
        except OidcError as error:
            log.warning("signing in elsewhere: %s", error)
            return problem("failed")
        response = RedirectResponse(there, 303)
        kept = [begun.state, begun.nonce, begun.verifier, next if re.fullmatch(r"/[A-Za-z0-9/_-]{0,200}", next) else ""]
        away.put(response, base64.urlsafe_b64encode(json.dumps(kept).encode()).decode(), LASTS_SECONDS)
        return response

    @router.get("/api/oidc/callback")
    async def callback(request: Request, state: str = "", code: str = "", iss: str = "") -> RedirectResponse:
        if not desk.people or not settings.oidc_issuer:
            raise ApiError(404, "signing in elsewhere is not set up here", "not_offered")
        try:
            begun, then = _kept(away.values(request.headers.raw, 1_000), state)
            if not code or (iss and iss != settings.oidc_issuer):  # RFC 9207: the answer of another provider
                raise _Refused("refused")
            claims = await provider.identity(code, begun, back(request))
            person = await asyncio.to_thread(_person_of, desk, claims)
        except OidcError as error:
            log.warning("signing in elsewhere: %s", error)
            return problem("failed")
        except _Refused as error:
            return problem(str(error))
        old = who_of(request).session
        token = await asyncio.to_thread(desk.begin, person, request.headers.get("user-agent", ""), old)
        response = RedirectResponse(f"/#{then}", 303)
        away.clear(response)
        desk.cookie.put(response, token, int(desk.lasts.total_seconds()))
        return response


def _kept(cookies: list[str], state: str) -> tuple[Begun, str]:
    """What this browser took along; raises where it did not go away with this `state`."""
    for text in cookies:
        try:
            said, nonce, verifier, then = json.loads(base64.urlsafe_b64decode(text.encode()))
        except (ValueError, TypeError):
            continue
        if all(isinstance(one, str) for one in (said, nonce, verifier, then)) and hmac.compare_digest(
            said.encode(), state.encode("utf-8", "surrogatepass")
        ):
            return Begun(said, nonce, verifier), then
    raise _Refused("failed")


def _person_of(desk: AccountDesk, claims: dict[str, Any]) -> Person:
    """Whom the provider means: by its own name for them; the first time by an address that it has checked.

    Who is unknown gets an account where the operator lets everybody in whom the provider knows, or has invited them.
    """
    store = desk.store
    subject = f"{claims['iss']} {claims['sub']}"
    person = store.people.by_subject(subject)
    email = claims.get("email")
    email = email.strip().lower() if isinstance(email, str) and claims.get("email_verified") is True else None
    if person is None and email is not None:
        person, _ = store.people.by_email(email)
        if person is not None:
            store.people.change(person.id, {"subject": subject})
    if person is None:
        person = _new(desk, subject, email, str(claims.get("name") or email or "Somebody"))
    if person.disabled:
        raise _Refused("disabled")
    return person


def _new(desk: AccountDesk, subject: str, email: str | None, name: str) -> Person:
    name = " ".join("".join(letter for letter in name if letter.isprintable()).split())[:100] or "Somebody"
    made, now = new_person(name, email, desk.clock()), desk.clock()
    invitation = desk.store.invitations.for_email(email, now) if email is not None else None
    if invitation is not None:
        done = desk.store.invitations.accept(invitation.id, now, made, subject=subject)
    else:
        done = desk.settings.oidc_sign_up and desk.store.people.create(made, subject=subject)
    person = desk.store.people.get(made.id) if done else None
    if person is None:
        raise _Refused("no_account")
    return person
