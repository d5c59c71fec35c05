"""A person at the chat page: what tests do there, by the names that people see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def message(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def idle(page: Page) -> None:
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible(timeout=30_000)


def say(page: Page, text: str) -> None:
    message(page).fill(text)
    message(page).press("Enter")


def ask(page: Page, text: str) -> None:
    """Says something and waits for the whole answer."""
    before = answers(page).count()
    say(page, text)
    expect(answers(page)).to_have_count(before + 1, timeout=30_000)
    idle(page)


def answers(page: Page) -> Locator:
    return page.locator(".message.answer")


def script(*pieces: str) -> str:
    """A message that the scripted engine answers with these pieces; it says 4 and more of them as one token each."""
    return json.dumps({"script": pieces})


def choose(page: Page, menu: str, item: str) -> None:
    page.get_by_role("button", name=menu).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def shown_chat(page: Page) -> str:
    """The id of the chat in the address."""
    page.wait_for_url("**/#/chat/c-*")
    return page.url.rsplit("/", 1)[1]
