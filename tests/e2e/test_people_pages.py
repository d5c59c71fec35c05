"""People with accounts in a browser: the way in, feedback, consent, operators, and the way out."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from tests.e2e.chatpage import answers, ask, idle, message, say, script
from tests.e2e.conftest import listen
from tests.e2e.test_access import AXE, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from tests.product.running import Running

MISSING = [room for room in ("accounts", "listening", "consent", "operator")
           if importlib.util.find_spec(f"chatwright.product.{room}") is None]  # fmt: skip
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"these rooms are not there yet: {', '.join(MISSING)}")
PASSWORD = "a long way round the lake"


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with accounts in which nobody has been yet. Tests name it before `page`: the page is closed first."""
    from tests.product.running import start_gateway, stop_gateway, write_serving

    workspace = tmp_path_factory.mktemp("place")
    write_serving(workspace, ("sft", "ppo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRIPTED_PAUSE", "0.02")
        running = start_gateway(workspace, accounts="people")
    running.wait_ready("ppo")
    yield running
    stop_gateway(running)


def come_in(page: Page, place: Running) -> None:
    """Makes the first account."""
    page.goto(place.setup)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(message(page)).to_be_visible()


def sign_in(page: Page) -> None:
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("width", [1280, 360])
def test_from_the_first_link_to_the_deletion_of_the_account(
    place: Running, page: Page, width: int, theme: str, tmp_path: Path, complaints: list[str]
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 780})
    come_in(page, place)
    ask(page, "tell me something")

    page.get_by_role("button", name="Bad answer").click()
    page.get_by_role("button", name="Too long").click()
    page.get_by_role("textbox", name="In your own words").fill("half would do")
    page.get_by_role("form", name="Reasons").get_by_role("button", name="Send").click()
    expect(page.get_by_role("form", name="Reasons")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name="Report this answer").click()
    page.get_by_role("radio", name="Spam").check()
    page.get_by_role("button", name="Report", exact=True).click()
    expect(page.get_by_text("Thank you. It will be looked at.")).to_be_visible()

    page.goto(f"{place.url}/#/operator/settings")
    page.get_by_label("Share of turns with two answers").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved")).to_be_visible()
    page.wait_for_timeout(2_500)  # every gateway learns of it within two seconds
    page.goto(f"{place.url}/#/chat")
    say(page, "two of you")
    page.get_by_role("button", name="B is better").click(timeout=30_000)
    expect(page.get_by_role("button", name="Going on with this")).to_be_visible()

    page.goto(f"{place.url}/#/operator/feedback")
    expect(page.get_by_text("half would do")).to_be_visible()
    page.goto(f"{place.url}/#/operator/flags")
    page.get_by_role("button", name="Read the answer").click()
    expect(page.get_by_text("You said: tell me something")).to_be_visible()
    page.goto(f"{place.url}/#/operator/audit")
    expect(page.get_by_role("cell", name="flag.read")).to_be_visible()

    page.goto(f"{place.url}/#/settings/data")
    consent = page.get_by_role("switch", name="My chats may be learned from")
    expect(consent).to_have_attribute("aria-checked", "false")
    consent.click()
    expect(consent).to_have_attribute("aria-checked", "true")
    consent.click()
    expect(consent).to_have_attribute("aria-checked", "false")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download everything").click()
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert any("half would do" in archive.read(name).decode("utf-8", "replace") for name in archive.namelist())
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.get_by_role("button", name="Delete the account").click()
    page.get_by_role("dialog").get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Delete for ever").click()
    # The last admin cannot go: somebody must be able to run the place.
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("last admin")
    assert "409" in complaints.pop()


def test_somebody_invited_comes_in_and_goes_again(
    place: Running, page: Page, browser: Browser, complaints: list[str]
) -> None:
    come_in(page, place)
    page.goto(f"{place.url}/#/operator/people")
    page.get_by_role("button", name="Make an invitation").click()
    link = page.get_by_label("The link. It is shown only this once.").input_value()
    context = browser.new_context()
    guest = context.new_page()
    listen(guest, complaints)
    guest.goto(link)
    guest.get_by_label("Name").fill("Bo <script>")
    guest.get_by_label("E-mail").fill("bo@example.org")
    guest.get_by_label("New password").fill(PASSWORD)
    guest.get_by_role("button", name="Create the account").click()
    ask(guest, "hello from Bo")
    expect(guest.get_by_role("link", name="Operator")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("Bo <script>", exact=True)).to_be_visible()
    guest.goto(f"{place.url}/#/settings/data")
    guest.get_by_role("button", name="Delete the account").click()
    guest.get_by_role("dialog").get_by_label("Password").fill(PASSWORD)
    guest.get_by_role("button", name="Delete for ever").click()
    expect(guest.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Ada", exact=True)).to_be_visible()
    expect(page.get_by_text("Bo <script>", exact=True)).to_have_count(0)
    context.close()


def test_a_session_that_ends_in_mid_stream_loses_nothing(place: Running, page: Page, complaints: list[str]) -> None:
    come_in(page, place)
    words = [f"word{number} " for number in range(100)]
    say(page, script(*words))
    expect(answers(page)).to_contain_text("word3")
    page.evaluate("fetch('/api/sign-out-everywhere', {method: 'POST'})")
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page)
    expect(answers(page)).to_contain_text("".join(words).strip(), timeout=30_000)
    idle(page)
    complaints[:] = [line for line in complaints if "401" not in line]


def test_a_key_is_shown_once(place: Running, page: Page) -> None:
    come_in(page, place)
    page.goto(f"{place.url}/#/settings/keys")
    page.get_by_label("What is it for?").fill("a script")
    page.get_by_role("button", name="Make a key").click()
    key = page.get_by_label("The key. It is shown only this once.").input_value()
    assert place.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    page.reload()
    expect(page.get_by_text("a script")).to_be_visible()
    assert key not in page.content()
    page.get_by_role("button", name="Revoke a script").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("You have no keys.")).to_be_visible()
    assert place.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 401


def test_settings_follow_the_person(place: Running, page: Page) -> None:
    come_in(page, place)
    page.goto(f"{place.url}/#/settings/general")
    page.get_by_label("Language").select_option("ar")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    page.locator("select").nth(1).select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_feedback_by_keyboard_alone(place: Running, page: Page) -> None:
    come_in(page, place)
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Good answer")).to_be_visible(timeout=30_000)
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.ariaLabel") == "Good answer":
            break
    page.keyboard.press("Enter")
    form = page.get_by_role("form", name="Reasons")
    expect(form).to_be_visible()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Helpful":
            break
    page.keyboard.press("Space")
    expect(form.get_by_role("button", name="Helpful")).to_have_attribute("aria-pressed", "true")
    form.get_by_role("textbox").focus()
    page.keyboard.type("thanks")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(form).to_have_count(0)
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed; run make web-test once")
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_on_pages_of_people(place: Running, page: Page, width: int, theme: str) -> None:
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 780})
    page.goto(place.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert violations(page) == []
    page.goto("about:blank")
    page.goto(place.setup)
    expect(page.get_by_role("heading", name="The first account")).to_be_visible()
    assert violations(page) == []
    page.goto("about:blank")
    come_in(page, place)
    ask(page, "hello")
    page.get_by_role("button", name="Bad answer").click()
    assert violations(page) == []
    pages = (
        *(f"settings/{name}" for name in ("general", "data", "memories", "shares", "archived", "account", "keys")),
        *(f"operator/{name}" for name in ("people", "groups", "keys", "flags", "feedback", "traffic", "settings",
                                          "audit")),
    )  # fmt: skip
    for name in pages:
        page.goto(f"{place.url}/#/{name}")
        expect(page.locator("#room-title")).to_be_visible()
        page.wait_for_timeout(400)
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
