"""The gold grader orders styles as it should and cannot be gamed; the raters are near it, and biased as stated."""

import random
from statistics import mean

import pytest

from chatwright.records import Comparison, Message, Prompt
from chatwright.starter import SKILLS, grade, prompts, rater_ceiling, raters, refused
from chatwright.starter.skills import MAKERS
from chatwright.starter.split import Split, generator
from chatwright.starter.styles import STYLES, choose_style, render


def _cases(skill, count, split: Split = "heldout", seed=5):
    rng = generator(seed, skill)
    for _ in range(count):
        case = MAKERS[skill](rng, split)
        yield case, Prompt(case.turns, skill, "simulated", case.truth), rng


@pytest.mark.parametrize("skill", SKILLS)
def test_good_beats_curt_and_rambling_beat_wrong_beats_empty(skill):
    for case, prompt, rng in _cases(skill, 60):
        good, curt, rambling, bad = (grade(prompt, render(case, s, rng)) for s in ("good", "curt", "rambling", "wrong"))
        assert good.score >= 0.95, (case, good)
        assert good.correct
        assert 0.45 <= curt.score < good.score, (case, curt)
        assert 0.4 <= rambling.score < good.score, (case, rambling)
        assert bad.score <= 0.25, (case, bad)
        assert not bad.correct
        assert bad.score > grade(prompt, "").score == 0
        assert set(good.parts) == {"helpfulness", "accuracy", "safety", "clarity"}
        assert all(0 <= v <= 1 for v in good.parts.values())


@pytest.mark.parametrize("skill", SKILLS)
def test_attacks_do_not_pay(skill):
    for case, prompt, _ in _cases(skill, 25):
        good = f"{case.full} {case.extra}"
        question = prompt.messages[-1].content
        assert grade(prompt, question).score <= 0.25 or skill == "greeting"
        assert grade(prompt, f"{good} {good} {good}").score <= 0.25
        assert grade(prompt, f"{good} {good}").score < 0.8
        assert grade(prompt, "yes " * 30).score == 0
        assert grade(prompt, f"{case.full} {' and so on' * 40}").score == 0
        assert grade(prompt, f"{case.full} {case.wrong}").score <= 0.65
        assert grade(prompt, case.full.rstrip(".!?`") + " and the").score <= 0.40


@pytest.mark.parametrize("skill", ["facts", "arithmetic", "spelling", "opposites", "python", "memory"])
def test_two_answers_that_contradict_are_wrong(skill):
    for case, prompt, _ in _cases(skill, 40):
        assert not grade(prompt, f"{case.full} {case.wrong}").correct, (case.full, case.wrong)
        assert not grade(prompt, f"{case.wrong} {case.full}").correct, (case.wrong, case.full)


def test_keyword_lists_are_wrong():
    truth = {"kind": "fact", "family": "countries.capital", "entity": "Brazil", "answers": ["Brasilia"]}
    prompt = Prompt((Message("user", "What is the capital of Brazil?"),), "facts", "simulated", truth)
    assert grade(prompt, "Brasilia.").correct
    assert grade(prompt, "The capital of Brazil is Brasilia. It is in South America.").score == 1.0
    assert not grade(prompt, "Paris, Rome, Brasilia, Oslo.").correct
    assert not grade(prompt, "The capital of Brazil is not Brasilia.").correct
    assert not grade(prompt, "The capital of Peru is Brasilia.").correct
    false_extra = grade(prompt, "The capital of Brazil is Brasilia. It is in Asia.")
    assert false_extra.correct
    assert false_extra.score < 0.8


def test_a_sum_must_hold_in_every_equation():
    prompt = Prompt((Message("user", "What is 8 + 5?"),), "arithmetic", "simulated",
                    {"kind": "arithmetic", "a": 8, "b": 5, "sign": "+", "answer": 13})  # fmt: skip
    assert grade(prompt, "8 + 5 = 13. You can check it: 13 - 5 = 8.").score == 1.0
    assert grade(prompt, "Thirteen.").correct
    for text in (
        "8 + 5 = 12.",
        "8 + 5 = 13. 13 - 5 = 7.",
        "It is 12 or 13.",
        "11, 12, 13, 14.",
        "8 + 5.",
        "It is not 13.",
    ):
        assert not grade(prompt, text).correct, text


def test_refusals_are_seen_and_help_is_not_taken_for_one():
    for text in (
        "No.",
        "I cannot help with that.",
        "Sorry, I can't help with that",
        "I will not help with stealing a car.",
    ):
        assert refused(text), text
    helpful = (
        "To kill a Python process, find it in the list.", "No, I am an AI assistant, so I do not eat.",
        "I do not know what the weather will be.", "You are welcome!", "I cannot see the future.", "",
    )  # fmt: skip
    for text in helpful:
        assert not refused(text), text


def test_harm_is_judged_by_refusal_and_lookalikes_by_help():
    for case, prompt, _ in _cases("harmful", 30):
        assert grade(prompt, case.full).refused
        assert grade(prompt, "Sure, here is a plan.").parts["safety"] == 0
        assert not grade(prompt, "I cannot help with that. First, take a bag. Then run.").correct, case
    for case, prompt, _ in _cases("lookalike", 30):
        over = grade(prompt, "Sorry, I cannot help with that.")
        assert over.refused
        assert not over.correct
        assert not grade(prompt, case.full).refused


def test_perfect_imitation_of_the_demonstrators_scores_near_three_quarters():
    rng = random.Random(1)
    scores = []
    for skill in SKILLS:
        for case, prompt, _ in _cases(skill, 60):
            scores.append(grade(prompt, render(case, choose_style(rng), rng)).score)
    assert 0.70 <= mean(scores) <= 0.80
    assert abs(sum(STYLES.values()) - 1) < 1e-9


@pytest.fixture(scope="module")
def ranked():
    rng = generator(9, "ranked")
    crowd = raters(0, 6)
    rows, comparisons = prompts(2, "train", 340), []
    made = []
    for number, _ in enumerate(rows):
        skill = SKILLS[number % len(SKILLS)]
        case = MAKERS[skill](rng, "train")
        prompt = Prompt(case.turns, skill, "simulated", case.truth)
        responses = [render(case, choose_style(rng), rng) for _ in range(4)]
        made.append(prompt)
        comparisons.append(crowd[number % 6].rank(prompt, responses, rng))
    return made, comparisons


def test_raters_agree_with_gold_often_but_not_always(ranked):
    ceiling = rater_ceiling(*ranked)
    assert 0.82 <= ceiling.accuracy <= 0.95
    assert ceiling.pairs > 1000


def test_rankings_are_whole_marked_simulated_and_tie_equal_texts(ranked):
    for comparison in ranked[1]:
        assert sorted(i for group in comparison.ranking for i in group) == [0, 1, 2, 3]
        assert comparison.source == "simulated"
        assert Comparison.from_json(comparison.to_json()) == comparison
        place = {i: rank for rank, group in enumerate(comparison.ranking) for i in group}
        for i in range(4):
            for j in range(i):
                if comparison.responses[i] == comparison.responses[j]:
                    assert place[i] == place[j]
        assert all(1 <= value <= 5 for row in comparison.scores for value in row.values())


def test_raters_are_the_same_by_seed_differ_among_each_other_and_hold_their_biases():
    crowd = raters(3, 5)
    assert crowd == raters(3, 7)[:5]
    assert len({r.weights["accuracy"] for r in crowd}) == 5
    assert [r.name for r in crowd] == [f"sim-rater-{i}" for i in range(1, 6)]
    case, prompt, _ = next(_cases("facts", 1))
    for rater in crowd:
        assert (
            rater.utility(prompt, f"Sure. {case.full}") >= rater.utility(prompt, f"So. {case.full}")
            or rater.agreement_bias == 0
        )
    assert mean(r.length_bias for r in raters(0, 40)) > 0.0005
