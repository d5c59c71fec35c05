"""Puts accounts in front of the gateway: who it is, what they may, how much of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from urllib.parse import urlsplit

from fastapi import FastAPI

from chatwright.config import ServeConfig
from chatwright.engine.http import LoopbackNames
from chatwright.product.accounts.access import Access
from chatwright.product.accounts.desk import AccountDesk
from chatwright.product.accounts.identify import PeopleIdentify
from chatwright.product.accounts.limits import Meter, PersonLimits
from chatwright.product.accounts.routes import add_accounts
from chatwright.product.accounts.watch import EndWithSession
from chatwright.product.identity import Identifies, Identify, local_only
from chatwright.product.limits import RequestLimits
from chatwright.product.security import KeyRequired, SameOrigin
from chatwright.store import LOCAL, Store


def put_accounts(app: FastAPI, store: Store, settings: ServeConfig, meter: Meter) -> AccountDesk:
    """Adds routes and middleware; what was added to `app` before stands behind them."""
    desk = AccountDesk(store, settings)
    identifies = identifies_of(desk)
    app.include_router(add_accounts(desk))
    app.state.accounts = desk
    if desk.people:
        app.add_middleware(EndWithSession, identifies=identifies)
    app.add_middleware(PersonLimits, meter=meter)
    app.add_middleware(Access)
    app.add_middleware(Identify, identifies=identifies)
    by_address = settings.requests_per_address if desk.people else settings.requests_per_minute
    app.add_middleware(RequestLimits, per_minute=by_address)
    if not desk.people and settings.key_env:
        app.add_middleware(KeyRequired, key=os.environ.get(settings.key_env, ""))
    app.add_middleware(SameOrigin)
    app.add_middleware(LoopbackNames, also=urlsplit(settings.public_url).netloc if desk.people else "")
    return desk


def identifies_of(desk: AccountDesk) -> Identifies:
    if desk.people:
        return PeopleIdentify(desk.store, desk.cookie, desk.idle, desk.clock)
    people = desk.store.people
    return local_only(lambda: people.get(LOCAL) or people.local(datetime.now(UTC)))
