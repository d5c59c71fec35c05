"""The build page in a browser: a running build, its end, and what a newcomer sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from tests.e2e.conftest import append_event, write_models

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_running_build_is_shown_live_and_survives_a_reload(building: tuple[str, Path], page: Page) -> None:
    url, workspace = building
    page.goto(url)
    expect(page.get_by_role("heading", name="Your assistant is being built")).to_be_visible()
    stage = page.get_by_role("navigation", name="Stages of the build").get_by_role("button", name="Pretrain")
    expect(stage).to_have_attribute("aria-current", "step")
    expect(stage).to_contain_text("50%")
    expect(page.get_by_role("img", name="loss: from")).to_be_visible()
    append_event(workspace, stage="pretrain", event="step", done=240, total=320, loss=1.5)
    expect(stage).to_contain_text("75%")
    append_event(workspace, stage="pretrain", event="sample", done=240, prompt="Who are you?", response="a new answer")
    expect(page.get_by_text("a new answer")).to_be_visible()
    page.reload()
    expect(stage).to_contain_text("75%")
    expect(page.get_by_text("a new answer")).to_be_visible()


def test_the_end_of_a_build_leads_to_the_chat(building: tuple[str, Path], page: Page) -> None:
    url, workspace = building
    page.goto(url)
    expect(page.get_by_role("heading", name="Your assistant is being built")).to_be_visible()
    write_models(workspace, ("ppo",))
    append_event(workspace, stage="build", event="done")
    expect(page.get_by_role("heading", name="Your assistant is ready")).to_be_visible()
    page.get_by_role("link", name="Start chatting").click(timeout=30_000)
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_every_stage_explains_itself_and_answers_stand_side_by_side(page: Page, served: str) -> None:
    page.goto(f"{served}/#/build")
    stages = page.get_by_role("navigation", name="Stages of the build").get_by_role("button")
    expect(stages).to_have_count(10)
    for stage in stages.all():
        stage.click()
        title = stage.locator(".stage-title").inner_text()
        expect(page.get_by_role("heading", name=title, exact=True, level=2)).to_be_visible()
        assert len(page.locator(".about").inner_text()) > 40
    row = page.get_by_role("article").filter(has_text="What is the capital of Velmora?")
    expect(row.get_by_role("listitem")).to_have_count(4)
    tops = {round(item.bounding_box()["y"]) for item in row.get_by_role("listitem").all()}  # type: ignore[index]
    assert len(tops) == 1


def test_the_report_opens_from_the_banner(page: Page, served: str) -> None:
    page.goto(f"{served}/#/build")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Read the report").click()
    expect(opened.value.get_by_role("heading", name="Report of the build")).to_be_visible()


def test_the_page_fits_a_narrow_phone(page: Page, served: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for hash_ in ("#/build", "#/chat"):
        page.goto(f"{served}/{hash_}")
        expect(page.get_by_role("main")).to_be_visible()
        page.wait_for_timeout(200)
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360
