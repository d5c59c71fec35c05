"""The constitution file: what it must hold, and exactly what a critic reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.principled import FILE, small_constitution, user

from chatwright.errors import InputError
from chatwright.records import Correction, Message
from chatwright.starter import constitution_text
from chatwright.train.constitutional.principles import (
    comparison_turns,
    default_constitution,
    letter_turns,
    load_constitution,
    parse_constitution,
)


def spoken(turns: tuple[Message, ...]) -> list[str]:
    return [f"{m.role}: {m.content}" for m in turns]


def test_the_default_and_the_starters_constitution_are_whole() -> None:
    for constitution in (default_constitution(), parse_constitution(constitution_text(), "starter")):
        assert constitution.principles
        assert any(not e.changed for e in constitution.examples)
        assert any(e.changed for e in constitution.examples)
    assert len(default_constitution().principles) >= 8


def test_a_round_is_rendered_turn_by_turn() -> None:
    constitution = small_constitution()
    mill = constitution.principle("mill")
    asked = constitution.critique_turns((Message("system", "Be brief."), user("Who?")), "Me.", mill)
    assert spoken(asked) == ["system: Be brief.", "user: Who?", "assistant: Me.", "user: Is it the mill?"]
    revising = constitution.revision_turns(asked, "No.", mill)
    assert spoken(revising)[4:] == ["assistant: No.", "user: Say it again."]


def test_examples_stand_behind_the_system_message_and_before_the_prompt() -> None:
    constitution = small_constitution()
    prompt = (Message("system", "Be brief."), user("Why?"))
    assert spoken(constitution.critique_turns(prompt, "So.", constitution.principle("river"), shots=2)) == [
        "system: Be brief.",
        "user: Where?", "assistant: Here.", "user: Is it the mill?", "assistant: No mill.",
        "user: Say it again.", "assistant: At the mill.",
        "user: Who?", "assistant: The miller.", "user: Is it wet?", "assistant: All is well.",
        "user: Why?", "assistant: So.", "user: Is it wet?",
    ]  # fmt: skip


def test_a_comparison_is_one_question() -> None:
    prompt = (user("Where?"), Message("assistant", "Who knows."), user("You."))
    asked = comparison_turns(prompt, "one", "two", small_constitution().principle("river"))
    assert spoken(asked) == [
        "user: Which is dry?\n\nUser: Where?\nAssistant: Who knows.\nUser: You.\n\n(A) one\n(B) two\n\n"
        "Answer with the letter A or B."
    ]  # fmt: skip
    reasoned = comparison_turns(prompt, "one", "two", small_constitution().principle("river"), reason=True)
    assert reasoned[0].content.endswith("First say in one or two sentences what speaks for each of them.")
    assert spoken(letter_turns(reasoned, "Hm."))[1:] == ["assistant: Hm.", "user: Answer with the letter A or B."]


def test_a_demonstrated_round_teaches_the_critic_and_not_the_answer() -> None:
    constitution = small_constitution()
    changed = Correction((user("Where?"),), "Here.", "mill", "No mill.", "At the mill.")
    kept = Correction((user("Where?"),), "Here.", "mill", "All is well.", "Here.")
    row = constitution.demonstration(changed, skill="critique")
    assert (row.given, len(row.messages), row.messages[-1].content) == (2, 6, "At the mill.")
    assert spoken(constitution.demonstration(kept).messages)[2:] == ["user: Is it the mill?", "assistant: All is well."]


@pytest.mark.parametrize(
    ("critique", "content"),
    [
        ("All is well.", True),
        (" all is well, I think", True),
        ("All is lost.", False),
        ("Not all is well.", False),
        ("The wheel turns! The water is clean. All is well.", True),
        ("The wheel turns. Not all is well.", False),
        ("That all is well. is what one thinks. The wheel is broken.", False),
    ],
)
def test_a_critique_that_says_so_first_or_last_leaves_the_answer(critique: str, content: bool) -> None:
    assert small_constitution().content(critique) == content


def test_the_id_follows_what_a_critic_reads() -> None:
    ident = small_constitution().id
    assert parse_constitution(f"# a remark\n{FILE}", "elsewhere").id == ident
    for old, new in (
        ('"3"', '"4"'),
        ("Is it wet?", "Is it damp?"),
        ("No mill.", "No mill!"),
        ("Which is dry?", "Dry?"),
    ):
        assert parse_constitution(FILE.replace(old, new), "elsewhere").id != ident


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "small"', "", "small.toml needs name as text, which is missing"),
        ('version = "3"', "version = 3", "small.toml needs version as text, which it is not"),
        ('critique = "Is it wet?"\n', "", "small.toml, principle 2 (river) needs critique as text, which is missing"),
        ('id = "river"', 'id = "mill"', "two principles 'mill'"),
        ('id = "river"', 'id = "river"\nweight = 2', "principle 2 (river) has 'weight'"),
        ('id = "river"', "", "principle 2 needs id"),
        ("[[principles]]", "[principles]", "small.toml is not valid TOML"),
        ('principle = "mill"', 'principle = "sea"', "no principle 'sea'"),
        ('critique = "All is well."', 'critique = "All is well."\nrevision = "x"', "example 2 (principle river) needs"),
        ('revision = "At the mill."', "", "example 1 (principle mill) needs a revision"),
        ('critique = "All is well."', 'critique = "Bad."\nrevision = "Good."', "critique is 'All is well.'"),
        ('name = "small"', 'name = "small"\nauthor = "x"', "has 'author', which no constitution knows"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence_that_names_the_place(old: str, new: str, sentence: str) -> None:
    assert old in FILE
    with pytest.raises(InputError) as caught:
        parse_constitution(FILE.replace(old, new), "small.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.toml cannot be read"):
        load_constitution(tmp_path / "no.toml")
    (tmp_path / "empty.toml").write_text('name = "x"\nversion = "1"\nnothing_to_change = "Fine."\n')
    with pytest.raises(InputError, match="has no principle"):
        load_constitution(tmp_path / "empty.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        load_constitution(tmp_path / "binary.toml")
