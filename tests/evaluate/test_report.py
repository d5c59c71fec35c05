"""The report of a build as a page: whole, honest about what was not measured, and safe with hostile text."""

from __future__ import annotations

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

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag in ("script", "table", "main", "figure", "html", "body"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


def write(path: Path, **changes: Any) -> str:
    prompts = [Prompt((Message("user", f"{HOSTILE} {i}"),), skill=("facts", HOSTILE)[i % 2]) for i in range(6)]
    answers = {n: [Answered(p, HOSTILE, 0.5, None, False, "stop") for p in prompts] for n in NAMES}
    summaries = [summarise(n, answers[n], EvaluateConfig(bootstrap=50), seconds=3.0) for n in NAMES]
    table = {
        "win_rate_ci": [0.4, 0.6], "win_rate_over_sft": 0.5, "served_name": "sft", "served": "sft-1", "aligned": "ppo",
        "reward_pair_accuracy": 0.75, "rater_ceiling": 0.8,
    }  # fmt: skip
    curves = {"base": [{"step": 1, "bits_per_byte": 3.0}, {"step": 2, "bits_per_byte": 2.0}], "sft": [], "ppo": []}
    given: dict[str, Any] = {
        "summaries": summaries, "wins": {"ppo_over_sft": bootstrap_mean([0.5, 1.0])}, "answers": answers,
        "table": table | changes, "curves": curves,
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


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    text = write(tmp_path, reward_pair_accuracy=None)
    assert "not measured" in text  # no arithmetic was asked
    assert "nan" not in text.lower().replace("finance", "")
    assert "unknown share" in text
