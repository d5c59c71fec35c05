"""Lets go of old answers (`Answers.forget`), temporary chats and sessions, at the start and every hour."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from chatwright.errors import ChatwrightError
from chatwright.product.chosen import Chosen
from chatwright.store import Store

EVERY_SECONDS = 3_600.0
log = logging.getLogger(__name__)


async def retain(store: Store, chosen: Chosen, idle_days: int) -> None:
    """Runs until it is cancelled. A database that is busy or gone is tried again an hour later, and that is logged."""
    while True:
        try:
            settings = await chosen.now()
            before = datetime.now(UTC) - timedelta(days=settings.keep_days) if settings.keep_days else None
            await asyncio.to_thread(store.answers.forget, before, settings.keep_rows or None)
            await asyncio.to_thread(store.chats.expire, datetime.now(UTC))
            idle = timedelta(days=idle_days)
            await asyncio.to_thread(store.sessions.forget, datetime.now(UTC), idle)
            await asyncio.to_thread(store.attempts.forget, datetime.now(UTC))
        except (ChatwrightError, SQLAlchemyError) as error:
            log.warning("old answers could not be let go of (%s); tried again in an hour", error)
        await asyncio.sleep(EVERY_SECONDS)
