"""A person's chats in a browser, from the first question to the deletion, on a wide screen and on a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect
from tests.e2e.chatpage import answers, ask, choose, idle, message, say, script, shown_chat

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS = pytest.mark.parametrize("width", [1280, 360])


def open_chats(page: Page) -> None:
    if page.viewport_size and page.viewport_size["width"] < 860:
        page.get_by_role("button", name="Show or hide chats").click()


@WIDTHS
def test_the_whole_story_of_a_chat(page: Page, scripted: str, width: int, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 780})
    page.goto(scripted)
    word = f"Quokka{width}{theme}"
    ask(page, f"tell me of {word}")
    expect(answers(page)).to_contain_text(f"You said: tell me of {word}")
    ident = shown_chat(page)

    say(page, "forever slow")
    expect(answers(page).last).to_contain_text("on and on")
    page.keyboard.press("Escape")
    idle(page)
    expect(page.get_by_text("Stopped.")).to_be_visible()
    page.get_by_role("button", name="Another answer", exact=True).last.click()
    expect(page.get_by_text("2/2")).to_be_visible()
    page.get_by_role("button", name="Stop answering").click()
    idle(page)
    page.get_by_role("button", name="Previous version").last.click()
    expect(page.get_by_text("1/2")).to_be_visible()

    question = page.locator(".message.user").last
    question.hover()
    question.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Edit your message").fill("an edited question")
    page.get_by_role("button", name="Send again").click()
    expect(answers(page).last).to_contain_text("You said: an edited question")
    idle(page)
    expect(page.locator(".message.user").last).to_contain_text("2/2")
    page.reload()
    expect(answers(page).last).to_contain_text("You said: an edited question")

    open_chats(page)
    page.get_by_role("searchbox", name="Search chats").fill(word.lower())
    hit = page.get_by_role("navigation", name="Chats").get_by_role("link").filter(has=page.locator("mark"))
    expect(hit.first).to_contain_text(word)
    hit.first.click()
    expect(page.locator(".message", has_text=word).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width

    choose(page, "Chat menu", "Share")
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("The link. It is shown only this once.").input_value()
    token = link.rsplit("/", 1)[1]
    found = httpx.get(f"{scripted}/api/shared/{token}").json()
    assert [one["content"] for one in found["messages"]][-1] == "You said: an edited question"
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_role("button", name="Take back")).to_have_count(0)
    assert httpx.get(f"{scripted}/api/shared/{token}").status_code == 404
    page.get_by_role("button", name="Close").click()

    choose(page, "Chat menu", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="Deleted.")).to_be_visible()
    assert httpx.get(f"{scripted}/api/chats/{ident}").status_code == 404
    expect(message(page)).to_be_visible()


def test_chats_are_renamed_pinned_and_archived_with_a_way_back(page: Page, scripted: str) -> None:
    page.goto(scripted)
    ask(page, "first name of it")
    row = page.locator(".chat-row.current")
    expect(row).to_contain_text("first name of it")
    choose(page, "Chat menu", "Rename")
    page.get_by_role("textbox", name="Name").fill("Another name")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("Another name")
    expect(page.get_by_role("button", name="Chat menu")).to_be_focused()
    row.hover()
    row.get_by_role("button").click()
    page.get_by_role("menuitem", name="Pin").click()
    expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
    choose(page, "Chat menu", "Archive")
    expect(page.get_by_text("Archived.")).to_be_visible()
    expect(page.locator(".chat-row", has_text="Another name")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".chat-row", has_text="Another name")).to_have_count(1)


def test_a_chat_is_taken_along_as_markdown_and_json(page: Page, scripted: str, tmp_path: Path) -> None:
    page.goto(scripted)
    ask(page, "take me along")
    for item, ending in (("Download as Markdown", "md"), ("Download as JSON", "json")):
        with page.expect_download() as download:
            choose(page, "Chat menu", item)
        file = tmp_path / f"chat.{ending}"
        download.value.save_as(file)
        assert download.value.suggested_filename == f"take-me-along.{ending}"
        assert "You said: take me along" in file.read_text()
    assert json.loads((tmp_path / "chat.json").read_text())["messages"][0]["content"] == "take me along"


def test_several_models_answer_and_one_is_gone_on_with(page: Page, served: str) -> None:
    page.goto(served)
    page.get_by_role("switch", name="Compare").click()
    say(page, "the miller")
    idle(page)
    expect(answers(page)).to_have_count(3)
    second = answers(page).nth(1)
    said = second.locator(".markdown").inner_text()
    second.get_by_role("button", name="Go on with this").click()
    expect(second.get_by_role("button", name="Going on with this")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("switch", name="Compare").click()
    say(page, "and then?")
    idle(page)
    expect(answers(page)).to_have_count(2)
    assert answers(page).first.locator(".markdown").inner_text() == said
    expect(page.get_by_text("2/3")).to_be_visible()


def test_behind_the_name_of_each_model_stands_a_card(page: Page, served: str) -> None:
    page.goto(served)
    page.get_by_role("button", name=re.compile("^Model:")).click()
    dialog = page.get_by_role("dialog", name="Choose a model")
    dialog.get_by_role("button", name="About Fine-tuned").click()
    expect(dialog).to_contain_text("simulated raters")
    dialog.get_by_role("radio", name=re.compile("Fine-tuned")).click()
    expect(page.get_by_role("button", name="Model: Fine-tuned")).to_be_focused()
    ask(page, "who is it")
    expect(answers(page).last).to_contain_text("Fine-tuned")


def test_drafts_are_kept_for_each_chat(page: Page, scripted: str) -> None:
    page.goto(scripted)
    ask(page, "one chat")
    message(page).fill("half a thought")
    page.reload()
    expect(message(page)).to_have_value("half a thought")
    page.get_by_role("link", name="New chat").click()
    expect(message(page)).to_have_value("")
    message(page).fill("another thought")
    page.locator(".chat-row", has_text="one chat").first.get_by_role("link").click()
    expect(message(page)).to_have_value("half a thought")


def test_a_temporary_chat_is_in_no_list(page: Page, scripted: str) -> None:
    page.goto(scripted)
    page.get_by_role("switch", name="Temporary").click()
    ask(page, "leave no trace of zanzibar")
    expect(page.locator(".chat-bar").get_by_text("Temporary")).to_be_visible()
    expect(page.locator(".chat-row", has_text="zanzibar")).to_have_count(0)
    page.get_by_role("button", name="Chat menu").click()
    expect(page.get_by_role("menuitem", name="Share")).to_have_count(0)


def test_text_files_go_with_a_message_and_other_files_do_not(page: Page, scripted: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x is 7")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00\xff\xfe")
    page.goto(scripted)
    page.locator("input[type=file]").set_input_files([tmp_path / "notes.txt", tmp_path / "picture.png"])
    expect(page.get_by_role("alert")).to_have_text("picture.png is not a text file.")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["dropped words"], "dropped.md", {type: "text/markdown"}));
          const main = document.getElementById("main");
          for (const kind of ["dragover", "drop"])
            main.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    expect(page.locator(".composer .files li")).to_have_count(2)
    ask(page, "read")
    expect(page.locator(".message.user .files")).to_contain_text("notes.txt")
    expect(answers(page)).to_contain_text("x is 7")
    expect(answers(page)).to_contain_text("dropped words")
    page.locator(".message.user").hover()
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("textbox", name="Edit your message").fill("read again")
    page.get_by_role("button", name="Send again").click()
    idle(page)
    expect(answers(page)).to_contain_text("read again")
    expect(answers(page)).to_contain_text("x is 7")


def test_an_answer_that_was_stopped_goes_on(page: Page, scripted: str) -> None:
    page.goto(scripted)
    say(page, "slow " + "and steady " * 8)
    expect(answers(page)).to_contain_text("You said")
    page.get_by_role("button", name="Stop answering").click()
    idle(page)
    kept = answers(page).locator(".markdown").inner_text()
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_text("2/2")).to_be_visible()
    idle(page)
    now = answers(page).locator(".markdown").inner_text()
    assert now.startswith(kept)
    assert len(now) > len(kept)


def test_what_is_kept_of_a_stopped_answer_is_what_was_shown(page: Page, scripted: str) -> None:
    page.goto(scripted)
    say(page, "forever")
    expect(answers(page)).to_contain_text("on and on")
    page.keyboard.press("Escape")
    idle(page)
    shown = answers(page).locator(".markdown").inner_text().strip()
    tree = httpx.get(f"{scripted}/api/chats/{shown_chat(page)}").json()["messages"]
    assert tree[-1]["status"] == "stopped"
    assert tree[-1]["content"].strip() == shown


def test_a_system_prompt_belongs_to_its_chat(page: Page, scripted: str) -> None:
    page.goto(scripted)
    choose(page, "Chat menu", "Settings of this chat")
    page.get_by_role("textbox", name="Instructions for this chat").fill("Speak like a pirate")
    page.get_by_role("button", name="Save").click()
    ask(page, "ahoy")
    chat = httpx.get(f"{scripted}/api/chats/{shown_chat(page)}").json()["chat"]
    assert chat["system"] == "Speak like a pirate"
    page.get_by_role("link", name="New chat").click()
    choose(page, "Chat menu", "Settings of this chat")
    expect(page.get_by_role("textbox", name="Instructions for this chat")).to_have_value("")


def test_a_shared_chat_is_read_without_the_rest(page: Page, scripted: str) -> None:
    page.goto(scripted)
    ask(page, "for everybody")
    choose(page, "Chat menu", "Share")
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("The link. It is shown only this once.").input_value()
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("heading", name="for everybody")).to_be_visible()
    expect(page.get_by_text("You said: for everybody")).to_be_visible()
    expect(message(page)).to_have_count(0)


def test_a_chat_that_is_not_there_says_so(page: Page, scripted: str, complaints: list[str]) -> None:
    page.goto(f"{scripted}/#/chat/c-none")
    expect(page.get_by_role("heading", name="This chat is not here")).to_be_visible()
    assert "404" in complaints.pop()


def test_mathematics_and_code_are_drawn(page: Page, scripted: str) -> None:
    page.goto(scripted)
    ask(page, script("$$\n", "\\frac{1}{2}", "\n$$\n\n", "```python\n", "if x: pass\n", "```"))
    expect(answers(page).locator("math mfrac")).to_have_count(1)
    expect(answers(page).locator(".hljs-keyword").first).to_have_text("if")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".copy-code").click()
    assert page.evaluate("navigator.clipboard.readText()") == "if x: pass\n"


def test_links_and_pictures_ask_first_and_show_where_they_lead(page: Page, scripted: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(scripted)
    ask(page, script("[my bank](https://evil.example/bank?x=1) ", "![cat](https://track.example/c.png)"))
    answers(page).get_by_role("link", name="my bank").click()
    dialog = page.get_by_role("dialog", name="Leave this page?")
    expect(dialog.locator("mark")).to_have_text("evil.example")
    expect(dialog).to_contain_text("https://evil.example/bank?x=1")
    page.keyboard.press("Escape")
    expect(answers(page).get_by_role("link", name="my bank")).to_be_focused()
    answers(page).get_by_role("link", name="Picture: cat").click()
    expect(page.get_by_role("dialog").locator("mark")).to_have_text("track.example")
    page.get_by_role("button", name="Cancel").click()
    assert not [url for url in asked if "example" in url]
