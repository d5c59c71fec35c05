"""The planted dirt is what its label says, and clean prose is clean."""

import re
from itertools import combinations

import pytest

from chatwright.starter import corpus
from chatwright.starter.corpus import DIRT, PII_SHARE


@pytest.fixture(scope="module")
def built():
    return corpus(1, 2000)


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    found = re.findall(r"\w+", text.lower())
    return frozenset(tuple(found[i : i + 5]) for i in range(len(found) - 4))


def _jaccard(one: str, two: str) -> float:
    a, b = _grams(one), _grams(two)
    return len(a & b) / len(a | b)


def _labelled(built, label):
    return [d for d in built.documents if label in built.truth.get(d.id, ())]


def test_each_kind_of_dirt_has_its_share(built):
    assert len(built.documents) == 2000
    for label, share in (*DIRT.items(), ("pii", PII_SHARE)):
        assert len(_labelled(built, label)) == round(share * 2000)


def test_clean_documents_are_not_near_duplicates_of_one_another(built):
    """Brute force over every pair that shares a 5-gram, with sets of words rather than hashes."""
    clean = [d for d in built.documents if not built.truth.get(d.id)]
    grams = [_grams(d.text) for d in clean]
    holders: dict[tuple[str, ...], list[int]] = {}
    for i, mine in enumerate(grams):
        for gram in mine:
            holders.setdefault(gram, []).append(i)
    shared: dict[tuple[int, int], int] = {}
    for rows in holders.values():
        for pair in combinations(rows, 2):
            shared[pair] = shared.get(pair, 0) + 1
    worst = max(n / (len(grams[i]) + len(grams[j]) - n) for (i, j), n in shared.items())
    assert worst < 0.7


def test_duplicates_follow_their_originals_and_resemble_them(built):
    place = {d.id: i for i, d in enumerate(built.documents)}
    text = {d.id: d.text for d in built.documents}
    for document in _labelled(built, "near_duplicate"):
        original = built.copies[document.id]
        assert place[original] < place[document.id]
        assert 0.8 < _jaccard(document.text, text[original]) < 1
    for document in _labelled(built, "exact_duplicate"):
        assert document.text == text[built.copies[document.id]]
        assert place[built.copies[document.id]] < place[document.id]
    assert set(built.copies) == {
        d.id for label in ("near_duplicate", "exact_duplicate") for d in _labelled(built, label)
    }


def test_planted_personal_strings_stand_in_the_text_and_are_fakes(built):
    assert set(built.pii) == {d.id for d in _labelled(built, "pii")}
    for document in _labelled(built, "pii"):
        for value in built.pii[document.id]:
            assert value in document.text
            digits = re.sub(r"\D", "", value)
            if "@" in value:
                assert re.search(r"@example\.(com|org|net)$", value)
            elif value.startswith("DE"):
                assert int(f"{value[4:]}1314{value[2:4]}") % 97 == 1
            elif value.count(".") == 3:
                assert value.startswith(("192.0.2.", "198.51.100.", "203.0.113."))
            elif len(digits) == 16:
                doubled = [int(d) * (2 - i % 2) for i, d in enumerate(digits)]
                assert sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
            else:
                assert "555" in value


def test_clean_documents_hold_no_personal_strings(built):
    for document in built.documents:
        if not built.truth.get(document.id):
            assert not re.search(r"@|\b\d{3}[-. ]\d{4}\b|\b\d{12,}\b|\b\d+\.\d+\.\d+\.\d+\b", document.text)


def test_clean_documents_pass_published_quality_rules(built):
    """The rules of Gopher and C4 that bear on short documents; numbers and signs of sums are not counted as words."""
    stop = {"the", "be", "to", "of", "and", "that", "have", "with", "is", "a", "in", "it", "are", "for", "you"}
    for document in built.documents:
        if built.truth.get(document.id, ["pii"]) != ["pii"]:
            continue
        found = document.text.split()
        assert len(found) >= 20
        spoken = [w for w in found if not re.fullmatch(r"[\d+=x.,?!-]+", w)]
        assert 3 <= sum(map(len, spoken)) / len(spoken) <= 10
        lines = [line for line in document.text.split("\n") if line]
        assert len(set(lines)) > 0.7 * len(lines)
        assert sum(any(c.isalpha() for c in w) for w in spoken) >= 0.8 * len(spoken)
        if document.meta["language"] == "en":
            assert len(stop & {w.lower().strip('.,:"') for w in found}) >= (2 if len(spoken) >= 50 else 1), (
                document.text
            )


def test_documents_are_short_and_average_about_seventy_words(built):
    lengths = [len(d.text.split()) for d in built.documents if not built.truth.get(d.id)]
    assert 60 <= sum(lengths) / len(lengths) <= 90
    assert max(lengths) <= 150


def test_languages_are_named(built):
    assert {d.meta["language"] for d in built.documents} == {"en", "es", "fr"}
