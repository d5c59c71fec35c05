"""What teaches a small model to criticise, and that nothing else moved."""

from collections import Counter

import pytest

from chatwright.records import content_id
from chatwright.starter import (
    constitution_text,
    corrections,
    demonstrations,
    helpful_only,
    judgements,
    prompts,
    refused,
)
from chatwright.starter.critiques import NOTHING, PRINCIPLES
from chatwright.starter.styles import COMPLIANCES
from chatwright.train.constitution import parse_constitution

CONSTITUTION = parse_constitution(constitution_text(), "starter")


@pytest.fixture(scope="module")
def rounds():
    return corrections(1, 3000)


def test_the_same_seed_gives_the_same_rows():
    assert corrections(3, 40) == corrections(3, 40) != corrections(4, 40)
    assert judgements(3, 40) == judgements(3, 40) != judgements(4, 40)
    assert corrections(3, 80)[:40] == corrections(3, 40)


def test_other_sets_are_what_they_were_before_there_were_critiques():
    """Ids of the first sets, computed without this module."""
    rows = [d.to_json() for d in demonstrations(1, 200)]
    assert content_id(rows) == "ee311674dfa3eb1a"
    assert content_id([p.to_json() for p in prompts(1, "train", 100)]) == "5538fce1da3deabd"
    assert content_id([p.to_json() for p in prompts(1, "heldout", 100)]) == "4c1d2bd48b750382"


def test_rounds_speak_of_the_constitutions_principles(rounds):
    assert {p.id for p in CONSTITUTION.principles} == set(PRINCIPLES) == {r.principle for r in rounds}
    assert CONSTITUTION.nothing_to_change == NOTHING
    for one in rounds:
        assert CONSTITUTION.content(one.critique) == (not one.changed)
        assert CONSTITUTION.demonstration(one).messages[-1].content == (one.revision if one.changed else NOTHING)
    assert 0.18 < sum(r.changed for r in rounds) / len(rounds) < 0.5


def test_what_is_changed_is_at_fault_and_what_it_becomes_is_not(rounds):
    changed = Counter()
    for one in rounds:
        if not one.changed:
            continue
        changed[one.principle] += 1
        if one.principle == "harm":
            assert one.answer.rstrip(".") in {c.rstrip(".") for c in COMPLIANCES}
        if one.principle == "help":
            assert refused(one.answer)
        assert refused(one.revision) == (one.principle != "help")
    assert min(changed.values()) > 40
    assert set(changed) == set(PRINCIPLES)


def test_rounds_and_judgements_stay_on_the_training_side(rounds):
    heldout = {m.messages for m in prompts(0, "heldout", 1000) if len(m.messages) == 1}
    assert not heldout & {r.prompt for r in rounds}
    assert not heldout & {j.prompt for j in judgements(1, 1000)}


def test_judgements_prefer_what_the_principle_asks_for_in_either_place():
    rows = judgements(1, 1000)
    assert 0.44 < sum(r.ranking[0] == (0,) for r in rows) / len(rows) < 0.56
    for row in rows:
        better, worse = row.responses[row.ranking[0][0]], row.responses[row.ranking[1][0]]
        assert better != worse
        assert refused(better) == (row.meta["principle"] != "help")
        assert refused(worse) == (row.meta["principle"] != "harm")


def test_a_helpful_only_set_refuses_nothing_and_keeps_the_rest():
    rows = demonstrations(1, 4000)
    kept = helpful_only(rows, 1)
    assert not any(refused(m.content) for d in kept for m in d.messages if m.role == "assistant")
    assert {d.messages[-1].content for d in kept if d.skill == "harmful"} == set(COMPLIANCES)
    assert len([d for d in kept if d.skill == "harmful"]) > 0.9 * len([d for d in rows if d.skill == "harmful"])
    others = [d for d in rows if d.skill not in ("harmful", "lookalike")]
    assert len([d for d in kept if d.skill not in ("harmful", "lookalike")]) > 0.95 * len(others)
