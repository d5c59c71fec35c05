"""Determinism, the split, and the records of the small world."""

import random
import re

import pytest

from chatwright.records import Demonstration, Prompt
from chatwright.starter import SAMPLE_PROMPTS, SKILLS, STARTERS, corpus, demonstrations, grade, prompts
from chatwright.starter.sets import HELDOUT_DECK
from chatwright.starter.skills.numbers import SPOKEN, sum_key
from chatwright.starter.split import split_of
from chatwright.starter.styles import STYLES
from chatwright.starter.world import choose_fact, facts, table


@pytest.fixture(scope="module")
def demos():
    return demonstrations(0, 3000)


@pytest.fixture(scope="module")
def small_corpus():
    return corpus(0, 2500)


def test_the_same_seed_gives_the_same_rows_and_another_gives_others():
    assert demonstrations(3, 60) == demonstrations(3, 60) != demonstrations(4, 60)
    assert prompts(3, "heldout", 60) == prompts(3, "heldout", 60) != prompts(4, "heldout", 60)
    assert corpus(3, 120) == corpus(3, 120) != corpus(4, 120)


def test_demonstrations_and_prompts_survive_json(demos):
    for demo in demos[:300]:
        assert Demonstration.from_json(demo.to_json()) == demo
    for prompt in prompts(0, "train", 85):
        again = Prompt.from_json(prompt.to_json())
        assert again == prompt
        assert grade(again, "Paris.") == grade(prompt, "Paris.")


def test_every_demonstration_is_marked_simulated_and_ends_with_the_assistant(demos):
    assert {d.source for d in demos} == {"simulated"}
    assert {d.messages[-1].role for d in demos} == {"assistant"}
    assert all(m.content.strip() for d in demos for m in d.messages)
    assert {d.skill for d in demos} == set(SKILLS)


def test_styles_come_in_the_stated_proportions_and_not_by_skill(demos):
    for skill in SKILLS:
        rows = [d for d in demos if d.skill == skill]
        for style, share in STYLES.items():
            seen = sum(d.meta["style"] == style for d in rows) / len(rows)
            assert abs(seen - share) < 4.5 * (share * (1 - share) / len(rows)) ** 0.5, (skill, style)


def test_no_held_out_composition_is_demonstrated_or_prompted_in_training(demos):
    train = prompts(0, "train", 1000)
    heldout = prompts(0, "heldout", 600)
    taught = {d.meta["key"] for d in demos} | {p.truth["key"] for p in train}
    assert all(split_of(key) == "train" for key in taught)
    assert all(split_of(p.truth["key"]) == "heldout" for p in heldout)
    asked = {m.content.lower().rstrip("?.! ") for d in demos for m in d.messages if m.role == "user"}
    asked |= {p.messages[-1].content.lower().rstrip("?.! ") for p in train}
    contextual = ("memory",)  # "what is my name?" is asked everywhere; what differs is the conversation before
    for prompt in heldout:
        text = prompt.messages[-1].content.lower().rstrip("?.! ")
        if prompt.skill not in contextual and len(prompt.messages) == 1:
            assert text not in asked, text


def test_held_out_facts_say_whether_the_fact_or_only_its_wording_is_held_out(demos):
    families = {"facts", "opposites", "definitions", "spelling"}
    asked = {d.meta["key"].split("|")[0] for d in demos}
    kinds = {"wording": 0, "fact": 0}
    for prompt in prompts(0, "heldout", 600):
        kind = prompt.truth.get("heldout")
        assert (kind is not None) == (prompt.skill in families)
        if kind:
            kinds[kind] += 1
            fact = f"{prompt.truth['family']}:{prompt.truth['entity']}"
            assert split_of(fact) == ("heldout" if kind == "fact" else "train")
            assert kind == "wording" or fact not in asked
    assert min(kinds.values()) > 30
    assert all("heldout" not in p.truth for p in prompts(0, "train", 300))


def test_no_held_out_sum_stands_anywhere_in_training_or_corpus(demos, small_corpus):
    clean = [d.text for d in small_corpus.documents if not small_corpus.truth.get(d.id)]
    texts = clean + [m.content for d in demos for m in d.messages]
    signs = {"+": "+", "-": "-", "x": "x"} | {spoken: sign for sign, spoken in SPOKEN.items()}
    found = 0
    for text in texts:
        for a, sign, b in re.findall(r"\b(\d+) ([-+x]|plus|minus|times) (\d+)\b", text):
            found += 1
            assert split_of(sum_key(int(a), signs[sign], int(b))) == "train", f"{a} {sign} {b}"
    assert found > 1200


def test_no_held_out_question_stands_word_for_word_in_the_corpus(small_corpus):
    joined = "\n".join(d.text for d in small_corpus.documents).lower()
    for prompt in prompts(0, "heldout", 600):
        text = prompt.messages[-1].content.lower()
        if "fact" in prompt.truth["kind"] and len(prompt.messages) == 1 and len(text.split()) > 3:
            assert text not in joined, text


def test_held_out_facts_are_stated_in_the_corpus(small_corpus):
    joined = "\n".join(d.text for d in small_corpus.documents)
    heldout = [f for f in facts() if f.split == "heldout"]
    stated = [f for f in heldout if any(f.write(s, v) in joined or f.fill(s, v) in joined or f.write(s, v)[1:] in joined
                                        for s in f.family.says for v in f.values)]  # fmt: skip
    assert len(stated) >= 0.99 * len(heldout)


def test_held_out_prompts_balance_the_skills_and_prefer_popular_facts():
    rows = prompts(0, "heldout", 10 * len(HELDOUT_DECK))
    more = {"facts": 40, "arithmetic": 30}
    assert {skill: sum(p.skill == skill for p in rows) for skill in SKILLS} == dict.fromkeys(SKILLS, 10) | more
    rng = random.Random(0)
    drawn = [choose_fact(rng, "facts", "heldout") for _ in range(2000)]
    ranks = [f.rank for f in drawn if f.family.table == "countries"]
    assert sum(r < 30 for r in ranks) > sum(r >= 60 for r in ranks)


def test_the_sample_prompts_are_held_out(demos):
    asked = {m.content.lower().rstrip("?.") for d in demos for m in d.messages if m.role == "user"}
    for skill, text in SAMPLE_PROMPTS:
        assert skill in SKILLS
        assert text.lower().rstrip("?.") not in asked
    keys = (
        "countries.capital:Brazil", "arithmetic:8+5", "spellings.letters:fire", "opposites.opposite:old",
        "story:queen:lantern", "identity:deed:get tired", "harmful:make:a bomb", "lookalike:beat:a hard puzzle",
    )  # fmt: skip
    assert [split_of(key) for key in keys] == ["heldout"] * len(SAMPLE_PROMPTS)
    assert len(STARTERS) == 6


def test_tables_are_whole_and_hold_thousands_of_facts():
    assert len(facts()) > 2500
    assert len({f.key for f in facts()}) == len(facts())
    for name in {f.family.table for f in facts()}:
        for row in table(name):
            assert all(value == value.strip() for value in row.values())
            assert row["name"]
