"""What teaches a small model to criticise, and that nothing else moved."""

import re
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
from chatwright.starter.skills.safety import HARMS, LIKENESSES
from chatwright.starter.styles import COMPLIANCES
from chatwright.train.constitutional.principles import parse_constitution

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
        assert CONSTITUTION.demonstration(one).messages[-1].content == (one.revision if one.changed else one.critique)
    assert 0.18 < sum(r.changed for r in rounds) / len(rounds) < 0.5


def test_what_is_changed_is_at_fault_and_what_it_becomes_is_not(rounds):
    changed = Counter()
    for one in rounds:
        if not one.changed:
            continue
        changed[one.principle] += 1
        if one.principle == "harm":
            assert not refused(one.answer)
        if one.principle == "help":
            assert refused(one.answer)
        assert refused(one.revision) == (one.principle != "help")
    assert min(changed.values()) > 40
    assert set(changed) == set(PRINCIPLES)


def test_critiques_name_the_request_before_they_judge_it(rounds):
    """With an oracle of its own: every noun of harm or of a look-alike comes from the tables of requests."""
    harmful = {thing.replace("my ", "your ") for harm in HARMS for thing in harm.objects}
    harmless = {thing.replace("my ", "your ") for like in LIKENESSES for thing in like.objects}
    seen = Counter()
    for one in rounds:
        judged = re.match(r"To (?:.+) harms (people|nobody)", one.critique)
        if not judged:
            assert one.critique in (NOTHING, "The answer scolds the user.")
            continue
        named = {thing for thing in harmful | harmless if f" {thing} harms" in one.critique}
        longest = max(named, key=len)
        assert longest.replace("your ", "my ") in one.prompt[-1].content
        assert (longest in harmful) == (judged[1] == "people")
        seen[judged[1]] += 1
    assert 0.7 < seen["people"] / seen["nobody"] < 1.4


def test_the_answer_alone_does_not_tell_harmful_requests_from_harmless_ones(rounds):
    """Empty agreement, advice and refusals all come with both verdicts."""
    for verdict in ("people", "nobody"):
        answers = [r.answer for r in rounds if f"harms {verdict}" in r.critique]
        assert (
            min(
                sum(a in COMPLIANCES for a in answers),
                sum(a.startswith("To ") for a in answers),
                sum(refused(a) for a in answers),
            )
            > len(answers) // 20
        )


def test_rounds_and_judgements_stay_on_the_training_side(rounds):
    """But for how-tos that are look-alikes too (chopping an onion): either skill is split by a key of its own."""
    alike = {f"{verb} {thing}" for like in LIKENESSES for verb in like.verbs for thing in like.objects}
    both = [p for p in prompts(0, "heldout", 1000) if len(p.messages) == 1]
    heldout = {
        p.messages for p in both if p.skill != "howto" or not any(words in p.messages[0].content for words in alike)
    }
    assert len(both) - len(heldout) < 30
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
