"""Streams that survive: a reload, a lost network, a second page; and a person who presses too often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import expect
from tests.e2e.chatpage import answers, ask, idle, message, say, script, shown_chat

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORDS = [f"word{number} " for number in range(120)]
LONG = script(*WORDS)
SAID = "".join(WORDS).strip()


def tree(url: str, page: Page) -> list[dict[str, str]]:
    return httpx.get(f"{url}/api/chats/{shown_chat(page)}").json()["messages"]


def offline(complaints: list[str]) -> None:
    """Takes out what the browser says of a network that is away."""
    complaints[:] = [line for line in complaints if "net::ERR_" not in line]


def whole(page: Page) -> None:
    expect(answers(page).last).to_contain_text(SAID, timeout=30_000)


def test_a_reload_in_the_middle_of_an_answer_loses_nothing(page: Page, paced: str) -> None:
    page.goto(paced)
    say(page, LONG)
    expect(answers(page)).to_contain_text("word3")
    page.reload()
    expect(page.get_by_role("button", name="Stop answering")).to_be_visible()
    whole(page)
    idle(page)
    assert [one["content"].strip() for one in tree(paced, page)] == [LONG, SAID]


def test_an_answer_goes_on_while_the_network_is_away(page: Page, paced: str, complaints: list[str]) -> None:
    page.goto(paced)
    say(page, LONG)
    expect(answers(page)).to_contain_text("word3")
    page.context.set_offline(True)
    page.evaluate("window.stop()")  # the lines that are open break off too
    page.wait_for_timeout(800)
    page.context.set_offline(False)
    whole(page)
    idle(page)
    assert len(tree(paced, page)) == 2
    offline(complaints)


def test_a_question_asked_without_a_network_is_asked_once_it_is_back(
    page: Page, scripted: str, complaints: list[str]
) -> None:
    page.goto(scripted)
    ask(page, "before")
    page.context.set_offline(True)
    say(page, "asked in the dark")
    expect(page.locator(".pending")).to_contain_text("asked in the dark")
    expect(page.get_by_text("The connection is lost")).to_be_visible()
    page.context.set_offline(False)
    expect(answers(page).last).to_contain_text("You said: asked in the dark", timeout=30_000)
    idle(page)
    assert [one["role"] for one in tree(scripted, page)] == ["user", "assistant"] * 2
    offline(complaints)


def test_two_pages_on_one_chat_show_the_same(page: Page, paced: str) -> None:
    page.goto(paced)
    ask(page, "from the first")
    other = page.context.new_page()
    other.goto(page.url)
    expect(answers(other)).to_have_count(1)
    say(page, LONG)
    expect(answers(other)).to_have_count(2, timeout=30_000)
    whole(page)
    whole(other)
    idle(page)
    idle(other)
    ask(other, "from the second")
    expect(answers(page).last).to_contain_text("You said: from the second", timeout=30_000)
    assert len(tree(paced, page)) == 6


def test_a_thousand_presses_on_another_answer_ask_once(page: Page, scripted: str) -> None:
    page.goto(scripted)
    ask(page, "slow it is")
    button = page.get_by_role("button", name="Another answer", exact=True)
    button.evaluate("element => { for (let press = 0; press < 1000; press++) element.click(); }")
    expect(page.get_by_text("2/2")).to_be_visible()
    idle(page)
    assert len(tree(scripted, page)) == 3


def test_a_refused_question_comes_back_into_the_box(page: Page, scripted: str, complaints: list[str]) -> None:
    page.goto(scripted)
    ask(page, "hello")
    page.route("**/turns", lambda route: route.fulfill(status=429, json={"error": {
        "message": "too many questions; wait a minute", "type": "rate_limit_error", "param": None, "code": "rate_limit",
    }}))  # fmt: skip
    say(page, "one too many")
    expect(page.get_by_role("alert")).to_contain_text("Too many questions; wait a minute.")
    expect(message(page)).to_have_value("one too many")
    assert "429" in complaints.pop()


def test_a_thousand_messages_stay_smooth(page: Page, scripted: str) -> None:
    """Typing stays quick, and an answer that grows does not draw the others again."""
    page.goto(scripted)
    ask(page, "begin")
    chat = shown_chat(page)
    fill = """async ([chat, count]) => {
      let parent = (await (await fetch(`/api/chats/${chat}`)).json()).chat.leaf;
      for (let number = 0; number < count; number++) {
        const body = JSON.stringify({id: `bulk-${number}`, parent, text: `**${number}** and \\`code\\``});
        const headers = {"Content-Type": "application/json"};
        const said = await (await fetch(`/api/chats/${chat}/turns`, {method: "POST", headers, body})).text();
        parent = JSON.parse(/event: turn\\ndata: (.*)/.exec(said)[1]).answers[0].id;
      }
    }"""
    page.evaluate(fill, [chat, 499])
    page.reload()
    expect(answers(page)).to_have_count(500, timeout=60_000)
    expect(answers(page).last).to_contain_text("498")
    page.evaluate("""() => {
      window.drawn = new Set();
      const see = (rows) => { for (const row of rows) {
        const message = (row.target.closest ? row.target : row.target.parentElement)?.closest(".message");
        if (message) window.drawn.add(message.id);
      } };
      new MutationObserver(see).observe(document.querySelector(".transcript"),
        {subtree: true, childList: true, characterData: true, attributes: true});
    }""")
    ask(page, "slow last words of a long chat")
    assert page.evaluate("window.drawn.size") <= 1_020  # each sees once that an answer is written, and once its end
    took = page.evaluate("""async () => {
      const box = document.getElementById("message");
      const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
      const begin = performance.now();
      for (let press = 0; press < 20; press++) {
        set.call(box, "x".repeat(press + 1));
        box.dispatchEvent(new Event("input", {bubbles: true}));
        await new Promise(requestAnimationFrame);
      }
      return (performance.now() - begin) / 20;
    }""")
    assert took < 100, f"a key press takes {took:.0f} ms"
    assert re.match(r"c-", chat)
