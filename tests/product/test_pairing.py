"""Which turns get two answers, and where each stands: rates, fairness, and that nobody can steer the draw."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import binomtest

from chatwright.product.listening.pairing import Pair, pair

MANY = 4_000


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_as_many_turns_as_the_rate_says(rate: float) -> None:
    drawn = sum(pair("s", "c", f"t{n}", rate, "a", ["b"]) is not None for n in range(MANY))
    assert binomtest(drawn, MANY, rate).pvalue > 1e-3


def test_sides_and_others_are_fair_and_independent() -> None:
    found = [pair("s", "c", f"t{n}", 1.0, "a", ["b", "c", "a"]) for n in range(MANY)]
    assert all(one is not None and "a" in (one.left, one.right) for one in found)
    counts = Counter((one.left, one.right) for one in found if one)
    for other in ("b", "c"):
        left, right = counts[other, "a"], counts["a", other]
        assert binomtest(left, left + right).pvalue > 1e-3
        assert binomtest(left + right, MANY, 1 / 3).pvalue > 1e-3
    assert Pair("a", "a").how == "sample"
    assert Pair("a", "b").how == "version"


def test_never_at_rate_0_or_without_another() -> None:
    assert all(pair("s", "c", f"t{n}", 0.0, "a", ["b"]) is None for n in range(100))
    assert all(pair("s", "c", f"t{n}", 1.0, "a", []) is None for n in range(100))


def test_the_same_turn_draws_the_same_and_another_secret_another() -> None:
    def sides(secret: str) -> list[Pair | None]:
        return [pair(secret, "c", f"t{n}", 0.5, "a", ["b"]) for n in range(64)]

    assert sides("s") == sides("s")
    assert sides("s") != sides("other")
