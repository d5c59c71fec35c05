"""Sums worked out: what they show is right, nothing held out is among them, and the grader knows a right way."""

import re
from collections import Counter

import pytest

from chatwright.records import Message, Prompt
from chatwright.starter import balanced, grade, skill_prompts, worked_sums
from chatwright.starter.grading.text import words
from chatwright.starter.split import split_of
from chatwright.starter.worked import work_out
from chatwright.train.verifiers import ExactAnswer

SUMS = [(a, "+", b) for a in range(11) for b in range(11)] + [(a, "-", b) for a in range(11) for b in range(a + 1)] \
    + [(a, "x", b) for a in range(6) for b in range(6)]  # fmt: skip


def value_of(a: int, sign: str, b: int) -> int:
    return {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}[sign](a, b)


def prompt(a: int, sign: str, b: int) -> Prompt:
    truth = {"kind": "arithmetic", "a": a, "b": b, "sign": sign, "answer": value_of(a, sign, b)}
    return Prompt((Message("user", f"What is {a} {sign} {b}?"),), "arithmetic", "simulated", truth)


@pytest.fixture(scope="module")
def worked():
    return worked_sums(1, 1500)


def test_the_same_seed_gives_the_same_sums():
    assert worked_sums(3, 40) == worked_sums(3, 40) != worked_sums(4, 40)
    assert worked_sums(3, 80)[:40] == worked_sums(3, 40)


def test_a_way_reads_as_it_should():
    assert work_out(4, "+", 3) == "4 + 3: 5 one, 6 two, 7 three. So 4 + 3 is 7."
    assert work_out(9, "-", 2) == "9 - 2: 8 one, 7 two. So 9 - 2 is 7."
    assert work_out(3, "x", 4) == "3 x 4: 3 one, 6 two, 9 three, 12 four. So 3 x 4 is 12."
    for nothing in ((4, "+", 0), (4, "-", 0), (0, "x", 3), (3, "x", 0)):
        a, sign, b = nothing
        assert work_out(*nothing) == f"{a} {sign} {b}: nothing to count. So {a} {sign} {b} is {value_of(*nothing)}."


def test_nothing_held_out_is_asked_or_stated(worked):
    heldout = {f"arithmetic:{a}{sign}{b}" for a, sign, b in SUMS if split_of(f"arithmetic:{a}{sign}{b}") == "heldout"}
    assert len(heldout) > 20
    for row in worked:
        text = row.messages[-1].content
        stated = {f"arithmetic:{a}{s}{b}" for a, s, b in re.findall(r"(\d+) ([-+x]) (\d+)", text)}
        assert stated == {row.meta["key"]}
        assert row.meta["key"] not in heldout
        assert row.source == "simulated"


def test_every_way_is_graded_as_a_good_answer_and_rewarded():
    for a, sign, b in SUMS:
        asked, text = prompt(a, sign, b), work_out(a, sign, b)
        assert grade(asked, text).score == 1.0, text
        assert ExactAnswer()([asked], [text]) == [1.0]


def test_a_wrong_step_or_a_way_without_a_result_is_wrong():
    asked = prompt(4, "+", 3)
    for text in (
        "4 + 3: 5 one, 6 two, 8 three. So 4 + 3 is 7.",
        "4 + 3: 5 one, 6 two. So 4 + 3 is 7.",
        "4 + 3: 5 one, 6 two, 7 three, 8 four. So 4 + 3 is 7.",
        "4 + 3: 5 one, 6 three, 7 two. So 4 + 3 is 7.",
        "4 + 3: 5 one, 6 two, 7 three. So 4 + 3 is 8.",
        "4 + 3: 5 one, 6 two, 7 three.",
        "4 + 2: 5 one, 6 two. So 4 + 3 is 7.",
        "7 - 3: 6 one, 5 two, 4 three. So 4 + 3 is 7.",
        "5, 6, 7.",
    ):
        assert not grade(asked, text).correct, text


def test_counting_on_from_the_other_number_is_right_where_it_is_the_same():
    assert grade(prompt(4, "+", 3), "3 + 4: 4 one, 5 two, 6 three, 7 four. So 4 + 3 is 7.").correct
    assert not grade(prompt(4, "-", 3), "3 - 4: 2 one, 1 two. So 4 - 3 is 1.").correct


def test_a_way_may_be_longer_than_other_answers():
    long = work_out(10, "+", 10)
    assert len(words(long)) > 25
    assert grade(prompt(10, "+", 10), long).parts["clarity"] == 1.0


def test_balanced_prompts_ask_each_sum_a_few_times_at_most_and_lose_none():
    drawn = skill_prompts(1, "arithmetic", "train", 1500)
    kept = balanced(drawn, 4)
    counts, before = Counter(p.truth["key"] for p in kept), Counter(p.truth["key"] for p in drawn)
    assert counts == {key: min(4, n) for key, n in before.items()}
    assert max(before.values()) > 4
    assert balanced(drawn, 10_000) == drawn
