"""The report of a build as a page: whole, honest about what was not measured, and safe with hostile text."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from chatwright.config import EvaluateConfig
from chatwright.evaluate import Answered, bootstrap_mean, summarise, write_report
from chatwright.records import Message, Prompt

NAMES = ("base", "sft", "ppo", "dpo")
HOSTILE = "<script>alert('x')</script>&\"'<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Collects tags, and checks that those that must be closed are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "table", "main", "figure", "html", "body"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


def write(path: Path, truth: dict[str, Any] | None = None, **changes: Any) -> str:
    prompts = [
        Prompt((Message("user", f"{HOSTILE} {i}"),), skill=("facts", HOSTILE)[i % 2], truth=truth or {})
        for i in range(6)
    ]
    answers = {n: [Answered(p, HOSTILE, 0.5, None, False, "stop") for p in prompts] for n in NAMES}
    summaries = [summarise(n, answers[n], EvaluateConfig(bootstrap=50), seconds=3.0) for n in NAMES]
    table = {
        "win_rate_ci": [0.4, 0.6], "win_rate_over_sft": 0.5, "served_name": "sft", "served": "sft-1", "aligned": "ppo",
        "reward_pair_accuracy": 0.75, "rater_ceiling": 0.8,
    }  # fmt: skip
    curves = {"base": [{"step": 1, "bits_per_byte": 3.0}, {"step": 2, "bits_per_byte": 2.0}], "sft": [], "ppo": []}
    given: dict[str, Any] = {
        "summaries": summaries, "wins": {"ppo_over_sft": bootstrap_mean([0.5, 1.0])}, "answers": answers,
        "table": table | changes, "confidence": 0.9, "curves": curves,
        "corpus": {"read": 9, "kept": 5, "holdout": 1, "dropped": 3, "reasons": {HOSTILE: 3}},
    }  # fmt: skip
    write_report(path / "report.html", **given)
    return (path / "report.html").read_text()


def test_report_is_one_whole_page_without_anything_from_elsewhere(tmp_path: Path) -> None:
    text = write(tmp_path)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert {"table", "svg", "figure"} <= set(page.seen)
    assert "script" not in page.seen
    assert "img" not in page.seen
    assert "link" not in page.seen
    assert "onerror=alert(1)>" not in text
    assert "simulated" in text


def test_page_can_be_read_without_eyes_and_without_a_mouse(tmp_path: Path) -> None:
    page = Page()
    page.feed(write(tmp_path, {"heldout": "fact"}))
    assert dict(page.tags[[tag for tag, _ in page.tags].index("html")][1])["lang"] == "en"
    levels = [int(tag[1]) for tag in page.seen if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.seen.count("caption") == page.seen.count("table") == 5
    assert all(given.get("scope") in ("col", "row") for tag, given in page.tags if tag == "th")
    assert all(given["role"] == "img" and given["aria-label"] for tag, given in page.tags if tag == "svg")
    scrolled = [given for _, given in page.tags if given.get("class") == "scroll"]
    assert len(scrolled) == page.seen.count("table") + page.seen.count("svg")
    assert all(given["tabindex"] == "0" and given["aria-label"] for given in scrolled)
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    used = {value[1:] for _, given in page.tags for name, value in given.items() if name.endswith("href") and value}
    assert used <= set(ids)


def test_kinds_of_held_out_prompts_are_shown_where_prompts_say_theirs(tmp_path: Path) -> None:
    title = "Right answers, by what was held out"
    assert title not in write(tmp_path)
    assert title in (text := write(tmp_path, {"heldout": "fact"}))
    assert "facts, never asked" in text
    assert "facts, new wording" in text


def test_intervals_are_called_by_their_confidence(tmp_path: Path) -> None:
    text = write(tmp_path)
    assert "90% interval" in text
    assert "95%" not in text


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    text = write(tmp_path, reward_pair_accuracy=None)
    assert "not measured" in text  # no arithmetic was asked
    assert "nan" not in text.lower().replace("finance", "")
    assert "unknown share" in text
