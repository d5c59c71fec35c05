"""Near duplicates against brute force, and the corners."""

import random
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.text import NearDuplicates, fingerprint
from chatwright.text.dedup import BANDS, ROWS, jaccard


@cache
def sets(text: str) -> frozenset[tuple[str, ...]]:
    """Word 5-grams, written apart from the code under test."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return frozenset(tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4)))


def similarity(one: str, other: str) -> float:
    return len(sets(one) & sets(other)) / len(sets(one) | sets(other))


def corpus(seed: int, size: int) -> list[str]:
    """Random texts, a third of them edited copies of earlier ones."""
    generator = random.Random(seed)
    vocabulary = [f"word{n}" for n in range(400)]
    texts: list[str] = []
    for _ in range(size):
        if texts and generator.random() < 0.33:
            words = generator.choice(texts).split()
            for _ in range(generator.randint(0, 5)):
                words[generator.randrange(len(words))] = generator.choice(vocabulary)
        else:
            words = generator.choices(vocabulary, k=generator.randint(20, 120))
        texts.append(" ".join(words))
    return texts


def dropped(texts: list[str], threshold: float = 0.75) -> dict[int, int]:
    near = NearDuplicates(threshold)
    for text in texts:
        near.add(text)
    return {duplicate.index: duplicate.first for duplicate in near.groups()}


def brute_force(texts: list[str], threshold: float) -> dict[int, int]:
    """Groups closed under similarity, each led by its first document."""
    first = list(range(len(texts)))
    for j in range(len(texts)):
        for i in range(j):
            if first[i] != first[j] and similarity(texts[i], texts[j]) >= threshold:
                low, high = sorted((first[i], first[j]))
                first = [low if leader == high else leader for leader in first]
    return {index: leader for index, leader in enumerate(first) if leader != index}


def test_agrees_with_brute_force() -> None:
    found = expected = 0
    for seed in range(3):
        texts = corpus(seed, 150)
        truth, result = brute_force(texts, 0.75), dropped(texts)
        assert set(result) <= set(truth), "a verified duplicate is a true one"
        found, expected = found + len(result), expected + len(truth)
    assert expected > 50
    assert found >= 0.93 * expected


def test_catches_what_the_collision_probability_promises() -> None:
    """At similarity s a pair is found with probability 1 - (1 - s^8)^14."""
    generator = random.Random(0)
    pairs = hits = 0
    promised = 0.0
    for _ in range(300):
        words = [f"w{generator.randrange(10**6)}" for _ in range(100)]
        copy = list(words)
        for index in generator.sample(range(100), 3):
            copy[index] = f"v{generator.randrange(10**6)}"
        s = similarity(" ".join(words), " ".join(copy))
        pairs += 1
        promised += 1 - (1 - s**ROWS) ** BANDS
        hits += len(dropped([" ".join(words), " ".join(copy)], threshold=0.01))
    assert abs(hits - promised) < 4 * (pairs * 0.25) ** 0.5


def test_order_decides_who_stays() -> None:
    text = " ".join(f"word{n}" for n in range(60))
    assert dropped([text, "something else of quite another kind", text + " more", text]) == {2: 0, 3: 0}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["", ""], {1: 0}),
        (["one two", "One, two!", "one two three", "two one"], {1: 0}),
        (["one two three four five", "one two three four", "one two three four five"], {2: 0}),
        (["人人生而自由在尊严和权利上一律平等", "人人生而自由在尊严和权利上一律平等。"], {1: 0}),
    ],
)
def test_short_texts(texts: list[str], expected: dict[int, int]) -> None:
    assert dropped(texts) == expected


def test_batches_do_not_matter() -> None:
    texts = corpus(5, 700)
    copies = [*texts, *texts]
    result = dropped(copies)
    assert all(result[index + len(texts)] == result.get(index, index) for index in range(len(texts)))


def test_crowd_of_copies_collapses_to_one() -> None:
    text = " ".join(f"word{n}" for n in range(80))
    assert dropped([f"{text} {n}" for n in range(300)]) == dict.fromkeys(range(1, 300), 0)


@settings(max_examples=50)
@given(st.sets(st.integers(0, 50), min_size=1), st.sets(st.integers(0, 50), min_size=1))
def test_jaccard_is_intersection_over_union(one: set[int], other: set[int]) -> None:
    arrays = (np.array(sorted(values), np.uint64) for values in (one, other))
    assert jaccard(*arrays) == pytest.approx(len(one & other) / len(one | other))


def test_fingerprint_ignores_case_spacing_and_punctuation_only() -> None:
    assert fingerprint("The cat,  sat.") == fingerprint("the CAT sat")
    assert fingerprint("the cat sat") != fingerprint("the cats at")
    assert fingerprint("!!! ???") != fingerprint("... ???")


def test_wiki_duplicates_are_true_ones(wiki: list[str]) -> None:
    for index, first in dropped(wiki[:400]).items():
        assert similarity(wiki[index], wiki[first]) >= 0.5
