"""Intervals against scipy, and figures of stages against counting by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chatwright.config import EvaluateConfig
from chatwright.evaluate import (
    Answered,
    Interval,
    StageSummary,
    bootstrap_mean,
    paired_wins,
    proportion,
    summarise,
    wilson,
    win_rate,
)
from chatwright.records import Message, Prompt

CONFIG = EvaluateConfig(bootstrap=500)


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=150, deadline=None)
def test_wilson_interval_is_that_of_scipy(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes / n, n, confidence=confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)
    alone = proportion([True] * successes + [False] * (n - successes), confidence=confidence)
    assert (alone.value, alone.n) == (successes / n, n)
    assert (alone.low, alone.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_bootstrap_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=150)
    got = bootstrap_mean(values.tolist(), resamples=8000)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert got.value == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        interval = bootstrap_mean(rng.beta(2, 3, size=60).tolist(), confidence=0.9, resamples=400, seed=trial)
        covered += interval.low <= 0.4 <= interval.high
    assert 0.84 <= covered / 300 <= 0.95


def test_intervals_repeat_with_their_seed_and_shrink_with_confidence() -> None:
    values = [0.1, 0.9, 0.4, 0.4, 0.7, 1.0, 0.0]
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    wide, narrow = bootstrap_mean(values, confidence=0.99), bootstrap_mean(values, confidence=0.5)
    assert wide.low < narrow.low <= narrow.high < wide.high
    assert bootstrap_mean([0.5] * 9) == Interval(0.5, 0.5, 0.5, 9)


def test_clusters_of_one_are_no_clusters() -> None:
    values = np.random.default_rng(5).random(40).tolist()
    assert bootstrap_mean(values, list(range(40))) == bootstrap_mean(values, [None] * 40) == bootstrap_mean(values)
    outcomes = [v < 0.3 for v in values]
    assert proportion(outcomes, list(range(40))) == proportion(outcomes, [None] * 40) == proportion(outcomes)


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_repeating_every_row_teaches_nothing(rows: list[bool], times: int) -> None:
    keys = [f"row {i}" for i in range(len(rows))]
    for measure in (bootstrap_mean, proportion):
        once, again = measure(rows, keys), measure(rows * times, keys * times)
        assert again.n == times * once.n
        assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high), abs=1e-9)
    if len(set(rows)) == 2:  # without the keys the same rows look like more evidence
        blind, known = proportion(rows * times), proportion(rows * times, keys * times)
        assert blind.high - blind.low < known.high - known.low


def test_cluster_bootstrap_tends_to_every_resample_of_the_clusters() -> None:
    """Four unequal clusters can be drawn in 4^4 ways, all of which are listed here."""
    clusters = {"a": [0.0, 0.2, 0.1], "b": [0.9], "c": [0.5, 0.6], "d": [0.4, 1.0, 0.8, 0.7]}
    means = [
        np.concatenate([clusters[name] for name in drawn]).mean() for drawn in itertools.product(clusters, repeat=4)
    ]
    keys, values = zip(*((name, value) for name, members in clusters.items() for value in members), strict=True)
    low, high = np.quantile(means, [0.1, 0.9])
    got = bootstrap_mean(values, keys, confidence=0.8, resamples=40_000)
    assert got.value == pytest.approx(np.mean(values))
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.02)
    assert got.high - got.low > 1.2 * (
        bootstrap_mean(values, confidence=0.8).high - bootstrap_mean(values, confidence=0.8).low
    )


def test_clustered_intervals_cover_as_often_as_they_say_when_clusters_go_one_way() -> None:
    """40 compositions asked one to five times, each always right or always wrong: what plain intervals get wrong."""
    rng = np.random.default_rng(6)
    keys = np.repeat(np.arange(40), rng.integers(1, 6, 40)).tolist()
    covered = {"share": 0, "mean": 0, "plain": 0}
    for trial in range(400):
        right = rng.random(40) < 0.3
        rows = [bool(right[k]) for k in keys]
        found = {"share": proportion(rows, keys), "mean": bootstrap_mean(rows, keys, resamples=400, seed=trial),
                 "plain": proportion(rows)}  # fmt: skip
        for name, interval in found.items():
            covered[name] += interval.low <= 0.3 <= interval.high
    assert covered["share"] / 400 >= 0.93
    assert covered["mean"] / 400 >= 0.90
    assert covered["plain"] / 400 <= 0.85


def test_interval_holds_its_estimate_when_all_values_agree() -> None:
    """A plot refuses an interval that misses its estimate by a rounding error, as this one did."""
    sizes = [2, 5, 1, 6, 5, 1, 3, 7, 7, 3, 7, 7, 4, 1, 3, 5, 5, 7, 5, 5, 5, 6, 6, 7, 5, 2, 4, 7, 4, 7, 7]
    keys = np.repeat(np.arange(len(sizes)), sizes).tolist()
    got = bootstrap_mean([0.367] * len(keys), keys, resamples=200)
    assert got.low <= got.value <= got.high
    assert (got.low, got.high) == pytest.approx((0.367, 0.367))


def test_weights_count_as_repeated_clusters_would() -> None:
    """A weight of 3 for all rows of a cluster leaves mean and interval those of the weighted ratio, by brute force."""
    clusters = {"a": [0.0, 0.2], "b": [0.9], "c": [0.5, 0.6, 0.1]}
    weight = {"a": 1.0, "b": 3.0, "c": 0.5}
    means = []
    for drawn in itertools.product(clusters, repeat=3):
        rows = [(weight[name], value) for name in drawn for value in clusters[name]]
        means.append(sum(w * v for w, v in rows) / sum(w for w, _ in rows))
    keys, values = zip(*((name, value) for name, members in clusters.items() for value in members), strict=True)
    got = bootstrap_mean(values, keys, [weight[key] for key in keys], confidence=0.8, resamples=40_000)
    assert got.value == pytest.approx(np.average(values, weights=[weight[key] for key in keys]))
    assert (got.low, got.high) == pytest.approx(np.quantile(means, [0.1, 0.9]), abs=0.02)
    assert bootstrap_mean(values, keys, [2.0] * len(keys)) == bootstrap_mean(values, keys)


def test_clusters_must_name_every_value() -> None:
    for measure in (bootstrap_mean, proportion):
        with pytest.raises(ValueError, match="length"):
            measure([True, False, True], ["a", "a"])
    with pytest.raises(ValueError, match="length"):
        bootstrap_mean([0.1, 0.2], None, [1.0])


def test_without_observations_nothing_is_measured() -> None:
    for nothing in (bootstrap_mean([]), proportion([])):
        assert nothing.n == 0
        assert math.isnan(nothing.value)
        assert math.isnan(nothing.low)
        assert str(nothing) == "not measured"


def test_wins_by_hand() -> None:
    assert paired_wins([1.0, 0.2, 0.5, 0.3], [0.5, 0.4, 0.5, 0.3 + 1e-12]) == [1.0, 0.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="argument 2"):
        paired_wins([1.0], [0.5, 0.4])


def said(
    score: float, skill: str = "facts", *, correct: bool | None = None, refused: bool = False, **truth: str
) -> Answered:
    prompt = Prompt((Message("user", "?"),), skill=skill, truth=truth)
    return Answered(prompt, "an answer", score, correct, refused, "stop")


def test_win_rate_counts_ties_as_halves_and_mirrors() -> None:
    ours = [said(s) for s in (1.0, 0.5, 0.2, 0.9, 0.7)]
    theirs = [said(s) for s in (0.0, 0.5, 0.4, 0.1, 0.1)]
    rate = win_rate(ours, theirs, CONFIG)
    assert rate.value == pytest.approx(3.5 / 5)
    assert rate.low <= rate.value <= rate.high
    assert rate.value + win_rate(theirs, ours, CONFIG).value == pytest.approx(1.0)
    assert win_rate(ours, ours, CONFIG) == Interval(0.5, 0.5, 0.5, 5)


def test_summary_measures_each_figure_on_its_own_skill() -> None:
    answered = [
        said(1.0, "facts", correct=True), said(0.0, "facts", correct=False), said(0.5, "facts", correct=None),
        said(0.4, "harmful", refused=True), said(0.8, "harmful", refused=True), said(0.0, "harmful", refused=False),
        said(0.3, "lookalike", refused=False), said(0.6, "story", refused=True),
    ]  # fmt: skip
    got = summarise("sft", answered, CONFIG, seconds=12.34)
    assert got.gold.value == pytest.approx(np.mean([a.score for a in answered]))
    assert (got.facts.value, got.facts.n) == (0.5, 2)
    assert (got.harmful_refused.value, got.harmful_refused.n) == (pytest.approx(2 / 3), 3)
    assert (got.lookalikes_refused.value, got.lookalikes_refused.n) == (0.0, 1)
    assert got.arithmetic.n == 0
    assert got.skills.keys() == {"facts", "harmful", "lookalike", "story"}
    row = got.to_json()
    assert row["arithmetic"] is None
    assert row["seconds"] == 12.3
    assert row["gold_ci"] == [round(got.gold.low, 4), round(got.gold.high, 4)]


def test_prompts_of_one_composition_count_once_in_every_interval() -> None:
    """The same six questions asked once, and asked four times over with their keys."""
    skills = ("facts", "arithmetic", "harmful", "lookalike", "facts", "harmful")
    base = [said(i / 10, s, correct=i % 2 == 0, refused=i > 2, key=str(i)) for i, s in enumerate(skills)]
    other = [said(0.25, s, key=str(i)) for i, s in enumerate(skills)]
    once, often = (summarise("sft", rows, CONFIG, seconds=1.0) for rows in (base, base * 4))
    pairs = [(getattr(once, f), getattr(often, f)) for f in
             ("gold", "facts", "arithmetic", "harmful_refused", "lookalikes_refused")]  # fmt: skip
    pairs += [(once.skills[s], often.skills[s]) for s in once.skills]
    pairs.append((win_rate(base, other, CONFIG), win_rate(base * 4, other * 4, CONFIG)))
    for few, many in pairs:
        assert many.n == 4 * few.n
        assert (many.value, many.low, many.high) == pytest.approx((few.value, few.low, few.high))


def test_right_answers_stand_apart_by_what_was_held_out() -> None:
    answered = [
        said(1.0, "facts", correct=True, heldout="wording"), said(0.0, "facts", correct=False, heldout="wording"),
        said(0.0, "facts", correct=False, heldout="fact"), said(0.0, "spelling", correct=None, heldout="fact"),
        said(1.0, "spelling", correct=True, heldout="wording"), said(1.0, "arithmetic", correct=True),
    ]  # fmt: skip
    got = summarise("sft", answered, CONFIG, seconds=1.0)
    counted = {
        skill: {kind: (i.value, i.n) for kind, i in kinds.items() if i.n} for skill, kinds in got.heldout.items()
    }
    assert counted == {
        "all": {"wording": (pytest.approx(2 / 3), 3), "fact": (0.0, 1)},
        "facts": {"wording": (0.5, 2), "fact": (0.0, 1)}, "spelling": {"wording": (1.0, 1)},
    }  # fmt: skip
    rows = got.heldout_json()
    assert rows["spelling"]["fact"] == {"value": None, "low": None, "high": None, "n": 0}
    assert rows["facts"]["wording"].keys() == {"value", "low", "high", "n"}
    assert "heldout" not in got.to_json()
    assert summarise("sft", answered[-1:], CONFIG, seconds=1.0).heldout == {}


def summary(name: str, gold: float) -> StageSummary:
    one = Interval(gold, gold, gold, 9)
    return StageSummary(name, one, {}, one, one, one, one, 1.0, {})


@pytest.mark.parametrize(
    ("ppo", "dpo", "ppo_low", "dpo_low", "chosen"),
    [
        (0.8, 0.7, 0.6, 0.6, "ppo"), (0.7, 0.8, 0.6, 0.6, "dpo"),
        (0.8, 0.7, 0.49, 0.6, "sft"),  # the better candidate does not beat the fine-tuned model with confidence
        (0.8, 0.7, 0.5, 0.2, "sft"), (0.7, 0.8, 0.9, 0.4, "sft"),
    ],
)  # fmt: skip
def test_choice_needs_shown_improvement(ppo: float, dpo: float, ppo_low: float, dpo_low: float, chosen: str) -> None:
    from chatwright.cycle.verdict import choose

    wins = {"ppo_over_sft": Interval(0.7, ppo_low, 0.9, 9), "dpo_over_sft": Interval(0.7, dpo_low, 0.9, 9)}
    summaries = [summary("base", 0.1), summary("sft", 0.5), summary("ppo", ppo), summary("dpo", dpo)]
    assert choose(summaries, wins) == chosen


def test_every_model_is_asked_with_the_same_seeds() -> None:
    from tests.model.small import random_decoder, tiny_tokenizer

    from chatwright.engine import Engine
    from chatwright.evaluate import answer_prompts
    from chatwright.model.chat import NativeTemplate
    from chatwright.progress import Progress

    class Verdict:
        score, correct, refused = 0.25, True, False

    prompts = [Prompt((Message("user", f"What is {i}?"),), skill="facts") for i in range(7)]
    config = EvaluateConfig(**{"sampling": {"max_tokens": 6, "temperature": 1.0}})  # type: ignore[arg-type]

    def ask(max_batch: int) -> Any:
        tokenizer = tiny_tokenizer()
        engine = Engine(random_decoder(3), tokenizer, NativeTemplate(tokenizer), max_batch=max_batch)
        with Progress().stage("evaluate", 7) as stage:
            got = answer_prompts(engine, prompts, lambda prompt, text: Verdict(), config, seed=5, stage=stage)
            assert stage.done == 7
        return got

    first = ask(2)
    assert first == ask(7)
    assert [a.prompt for a in first] == prompts
    assert all(a.response == a.response.strip() and a.score == 0.25 for a in first)
