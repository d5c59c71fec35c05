"""What the routes of accounts do: sign people in, make first admins, links and passwords; and slow down who guesses."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from chatwright.config import ServeConfig
from chatwright.engine.protocol import ApiError
from chatwright.errors import InputError
from chatwright.product.accounts.bodies import SettingsChange
from chatwright.product.accounts.cookies import Cookie
from chatwright.product.accounts.passwords import Passwords
from chatwright.product.accounts.tokens import hash_of, new_token
from chatwright.store import Invitation, Note, Pace, Person, Session, Store
from chatwright.store.invitations import INVITE, RESET, SETUP
from chatwright.store.people import check_reach

OF_ACCOUNT, OF_ADDRESS = Pace(10, 60.0), Pace(30, 10.0)
"""Attempts to sign in: ten to one account and then one a minute, thirty from one address and then one in 10 s."""
SETUP_LASTS, INVITE_LASTS, RESET_LASTS = timedelta(days=1), timedelta(days=7), timedelta(days=1)
WRONG = ApiError(401, "the e-mail address or the password is not right", "wrong_credentials")


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was just made: `token` is what it ends in, and is known nowhere else."""

    token: str
    expires: datetime


class AccountDesk:
    """The accounts of one gateway."""

    def __init__(
        self, store: Store, settings: ServeConfig, clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        passwords: Passwords | None = None,
    ) -> None:  # fmt: skip
        self.store, self.settings, self.clock = store, settings, clock
        self.people = settings.accounts == "people"
        self.passwords = passwords or (Passwords() if self.people else None)
        self.secure = urlsplit(settings.public_url).scheme == "https"
        self.cookie = Cookie("chatwright-session", secure=self.secure)
        self.idle, self.lasts = timedelta(days=settings.session_idle_days), timedelta(days=settings.session_days)

    def close(self) -> None:
        if self.passwords is not None:
            self.passwords.close()

    # Signing in.

    async def sign_in(self, email: str, password: str, address: str) -> Person:
        """Raises ApiError: 401 in one sentence for whoever is unknown, disabled or wrong; 429 after too many."""
        assert self.passwords is not None
        email = email.strip().lower()
        await self.slow_down(address, "address", OF_ADDRESS)
        await self.slow_down(email, "account", OF_ACCOUNT)
        person, kept = await asyncio.to_thread(self.store.people.by_email, email)
        right = await self.passwords.verify(kept, password)
        if not right or person is None or person.disabled:
            raise WRONG
        await asyncio.to_thread(self.store.attempts.give_back, _bucket(email, "account"))
        if kept is not None and self.passwords.outdated(kept):
            await asyncio.to_thread(
                self.store.people.change, person.id, {"password": await self.passwords.hash(password)}
            )
        return person

    @property
    def verify(self) -> Callable[[Person, str], Awaitable[bool]] | None:
        """`confirm`, where people have passwords at all."""
        return self.confirm if self.people else None

    async def confirm(self, person: Person, password: str) -> bool:
        """Whether this is really the person, before something that cannot be taken back."""
        assert self.passwords is not None
        await self.slow_down(person.email or person.id, "account", OF_ACCOUNT)
        right = await self.passwords.verify(await asyncio.to_thread(self.store.people.password_of, person.id), password)
        if right:
            await asyncio.to_thread(self.store.attempts.give_back, _bucket(person.email or person.id, "account"))
        return right

    def buckets(self, person: Person) -> list[str]:
        """Under which names attempts to sign in to somebody's account are counted."""
        return [_bucket(name, "account") for name in (person.email, person.id) if name]

    async def slow_down(self, what: str, kind: str, pace: Pace) -> None:
        wait = await asyncio.to_thread(self.store.attempts.take, _bucket(what, kind), pace, self.clock())
        if wait > 0:
            seconds = math.ceil(wait)
            raise ApiError(
                429, f"too many attempts to sign in; try again in {seconds} s", "too_many_attempts",
                headers={"Retry-After": str(seconds)},
            )  # fmt: skip

    def begin(self, person: Person, agent: str, instead_of: str = "") -> str:
        """A new session, in the place of the one that was there; the token of its cookie."""
        token, now = new_token(), self.clock()
        agent = "".join(letter for letter in agent if letter.isprintable())[:200]
        made = Session(hash_of(token), person.id, now, now, now + self.lasts, agent)
        self.store.sessions.add(made, instead_of=instead_of or None)
        return token

    # Links.

    def link(self, purpose: str, lasts: timedelta, note: Note | None = None, **about: Any) -> Link:
        token, now = new_token(), self.clock()
        made = Invitation(hash_of(token), purpose, about.pop("role", "user"), now, now + lasts, **about)
        self.store.invitations.add(made, note)
        return Link(token, made.expires)

    def first_link(self) -> str:
        """The token that makes the first admin; "" where there is one, or there are no accounts."""
        if not self.people or self.store.people.has_admin():
            return ""
        return self.link(SETUP, SETUP_LASTS, role="admin").token

    def invite(self, by: Person, role: str, groups: tuple[str, ...] = (), email: str | None = None) -> Link:
        """Raises Forbidden for a role above one's own, InputError for a group that is not there."""
        check_reach(by, role)
        note = Note(by.id, by.name, "invitation.create", email or "", {"role": role, "groups": list(groups)})
        return self.link(INVITE, INVITE_LASTS, note, role=role, groups=groups, email=email, by=by.id)

    def reset(self, by: Person, ident: str) -> Link:
        """A link that sets a new password. Raises Forbidden for somebody with more rights than one's own."""
        person = self.store.people.get(ident)
        if person is None:
            raise ApiError(404, f"there is no person {ident[:80]!r}", "person_not_found")
        check_reach(by, person.role)
        return self._new_password(Note(by.id, by.name, "password.link", person.id), person, by.id)

    def rescue(self, email: str, name: str) -> Link:
        """A link that sets a new password, for whoever runs commands on this machine, called `name` there.

        Raises InputError where nobody has that address, or they are not let in.
        """
        person, _ = self.store.people.by_email(email.strip().lower())
        if person is None:
            raise InputError(f"nobody here has the address {email!r}; `chatwright people list` shows who there is")
        if person.disabled:
            raise InputError(f"{email} is disabled; an operator lets them in again on the people page")
        return self._new_password(Note("", name, "password.rescue", person.id), person, None)

    def _new_password(self, note: Note, person: Person, by: str | None) -> Link:
        return self.link(RESET, RESET_LASTS, note, role=person.role, email=person.email, person=person.id, by=by)

    def open_link(self, token: str, *purposes: str) -> Invitation:
        found = self.store.invitations.get(hash_of(token), self.clock())
        if found is None or found.purpose not in purposes:
            raise ApiError(404, "this link was used already, or its time is over; ask for another", "link_not_found")
        return found

    # What is shown.

    def me(self, person: Person | None) -> dict[str, Any]:
        from chatwright import __version__

        shown = None
        if person is not None:
            shown = {
                "id": person.id, "name": person.name, "email": person.email, "role": person.role,
                "groups": list(person.groups), "created": person.created.isoformat(), "password": person.password,
            }  # fmt: skip
        oidc = {"name": self.settings.oidc_name} if self.people and self.settings.oidc_issuer else None
        return {
            "mode": self.settings.accounts, "setup": self.people and not self.store.people.has_admin(),
            "signed_in": person is not None, "sign_in": {"password": self.people, "oidc": oidc}, "person": shown,
            "settings": settings_of(person), "version": __version__,
        }  # fmt: skip


def settings_of(person: Person | None) -> dict[str, Any]:
    """What somebody chose, and for the rest what holds without a choice."""
    chosen = {} if person is None else person.settings
    known = SettingsChange().model_dump() | {"training": False}
    return {name: chosen.get(name, value) for name, value in known.items()}


def new_person(name: str, email: str | None, created: datetime) -> Person:
    return Person(f"p-{secrets.token_hex(12)}", name, "user", created, email)


def secret_of(settings: ServeConfig) -> str:
    return os.environ.get(settings.oidc_secret_env, "") if settings.oidc_secret_env else ""


def _bucket(what: str, kind: str) -> str:
    return hash_of(f"{kind}\0{what}")
