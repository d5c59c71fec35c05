"""The chat page in a browser: with real engines, and with one that repeats whatever it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect
from tests.product.running import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

HOSTILE = (
    "<img src=/picture.png onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "[go](javascript:alert(1)) ![p](/picture.png)",
    "<iframe srcdoc='<script>top.document.title=1</script>'></iframe>",
)


def message(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


def idle(page: Page) -> None:
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=30_000)


def test_a_conversation_with_a_real_engine(page: Page, served: str) -> None:
    page.goto(served)
    expect(page.get_by_text("knows only its small world")).to_be_visible()
    page.get_by_role("button", name="Who are you?", exact=True).click()
    idle(page)
    expect(page.locator("[data-status]")).to_have_text("Answer complete")
    answers = page.locator(".message.answer")
    expect(answers).to_have_count(1)
    message(page).fill("and now?")
    message(page).press("Enter")
    idle(page)
    expect(answers).to_have_count(2)
    assert all(text.strip() for text in page.locator(".answer .markdown").all_inner_texts())
    page.reload()
    expect(answers).to_have_count(2)
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_role("button", name="Who are you?", exact=True)).to_be_visible()


def test_one_message_goes_to_all_models_side_by_side(page: Page, served: str) -> None:
    page.goto(served)
    page.get_by_role("switch", name="Compare").click()
    message(page).fill("the miller")
    message(page).press("Enter")
    idle(page)
    answers = page.locator(".message.answer")
    expect(answers).to_have_count(3)
    assert [name.split("\n")[0] for name in page.locator(".answer-name").all_inner_texts()] == [
        "Base", "Fine-tuned", "Aligned · PPO",
    ]  # fmt: skip
    assert len({round(answer.bounding_box()["y"]) for answer in answers.all()}) == 1  # type: ignore[index]
    said = page.locator(".answer .markdown").all_inner_texts()  # an untrained model may end before it said anything
    assert len(set(said)) == len(said) >= 2


def test_stop_keeps_what_was_seen(page: Page, scripted: str) -> None:
    page.goto(scripted)
    message(page).fill("forever slow")
    message(page).press("Enter")
    text = page.locator(".answer .markdown")
    expect(text).to_contain_text("on and on")
    page.keyboard.press("Escape")
    idle(page)
    kept = text.inner_text()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    page.wait_for_timeout(300)
    assert text.inner_text() == kept
    message(page).fill("hi")
    message(page).press("Enter")
    expect(page.get_by_text("You said: hi")).to_be_visible()


def test_an_engine_that_dies_is_told_in_a_sentence_with_a_way_on(page: Page, scripted: str) -> None:
    page.goto(scripted)
    message(page).fill("crash slow")
    message(page).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("stopped in the middle of the answer", timeout=30_000)
    expect(page.get_by_role("button", name="Continue", exact=True)).to_be_visible()
    eventually(lambda: httpx.get(f"{scripted}/healthz").json()["ready"])  # the engine is restarted
    message(page).fill("hi")
    message(page).press("Enter")
    expect(page.get_by_text("You said: hi")).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hostile_text_is_shown_and_does_nothing(page: Page, scripted: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    asked: list[str] = []
    page.goto(scripted)
    page.on("request", lambda request: asked.append(request.url))
    for number, text in enumerate(HOSTILE, start=1):
        message(page).fill(text)
        message(page).press("Enter")
        idle(page)
        expect(page.locator(".answer .markdown")).to_have_count(number)
    assert page.title() == "Chatwright"
    assert page.locator(".answer img, .answer script, .answer iframe, .answer a[href^='javascript']").count() == 0
    assert not [url for url in asked if "picture" in url]
