"""Records: round trips, ids, and one sentence for each mistake."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.errors import InputError
from chatwright.records import (
    ROLES,
    SOURCES,
    Comparison,
    Demonstration,
    Document,
    Message,
    Prompt,
    canonical_json,
    content_id,
)

texts = st.text(max_size=12)
messages = st.lists(st.builds(Message, st.sampled_from(ROLES), texts), min_size=1, max_size=4).map(tuple)
metas = st.dictionaries(texts, st.integers() | texts, max_size=3)
weights = st.floats(0, 10)


@st.composite
def rankings(draw: st.DrawFn, count: int) -> tuple[tuple[int, ...], ...]:
    order = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1))))
    return tuple(tuple(order[i:j]) for i, j in zip([0, *cuts], [*cuts, count], strict=True))


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    responses = tuple(draw(st.lists(texts, min_size=2, max_size=5)))
    return Comparison(
        draw(messages), responses, draw(rankings(len(responses))), draw(texts), draw(st.sampled_from(SOURCES)),
        draw(weights), draw(st.booleans()), (), draw(texts), "c-1", draw(metas),
    )  # fmt: skip


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(comparisons())
def test_comparison_round_trip(comparison: Comparison) -> None:
    assert Comparison.from_json(through_json(comparison.to_json())) == comparison


@given(comparisons())
def test_pairs_are_every_untied_pair_once(comparison: Comparison) -> None:
    place = {index: rank for rank, group in enumerate(comparison.ranking) for index in group}
    count = len(comparison.responses)
    expected = {(i, j) for i in range(count) for j in range(count) if place[i] < place[j]}
    assert sorted(comparison.pairs()) == sorted(expected)


@given(messages.filter(lambda turns: any(m.role == "assistant" for m in turns)), texts, st.sampled_from(SOURCES), metas)
def test_demonstration_round_trip(turns: tuple[Message, ...], skill: str, source: Any, meta: dict[str, Any]) -> None:
    demonstration = Demonstration(turns, skill, source, 0.5, "d-1", meta)
    assert Demonstration.from_json(through_json(demonstration.to_json())) == demonstration


@given(messages.filter(lambda turns: turns[-1].role != "assistant"), texts, metas)
def test_prompt_round_trip(turns: tuple[Message, ...], skill: str, truth: dict[str, Any]) -> None:
    prompt = Prompt(turns, skill, "simulated", truth, "p-1")
    assert Prompt.from_json(through_json(prompt.to_json())) == prompt


@given(texts.filter(bool), texts, metas)
def test_document_round_trip(ident: str, text: str, meta: dict[str, Any]) -> None:
    document = Document(ident, text, meta)
    assert Document.from_json(through_json(document.to_json())) == document


@given(st.dictionaries(texts, st.integers() | texts | st.lists(st.integers()), max_size=5))
def test_equal_values_have_one_spelling_and_one_id(value: dict[str, Any]) -> None:
    shuffled = dict(reversed(value.items()))
    assert canonical_json(shuffled) == canonical_json(value)
    assert content_id(shuffled) == content_id(value)
    assert json.loads(canonical_json(value)) == value


@given(texts, texts)
def test_different_texts_have_different_ids(one: str, other: str) -> None:
    assert (content_id(one) == content_id(other)) == (one == other)


def test_id_of_a_row_without_one_is_its_content() -> None:
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    assert Demonstration.from_json(row).id == Demonstration.from_json({**row, "skill": "x"}).id
    assert Demonstration.from_json(row).to_json()["id"] == Demonstration.from_json(row).id
    assert Document.from_json({"text": "a"}).id != Document.from_json({"text": "b"}).id


@pytest.mark.parametrize(
    ("preferred", "ranking"), [(1, ((1,), (0, 2))), (None, ((0, 1, 2),))], ids=["best of three", "tie"]
)
def test_preferred_index_becomes_a_ranking(preferred: int | None, ranking: tuple[tuple[int, ...], ...]) -> None:
    row = {"prompt": "hi", "responses": ["a", {"content": "b"}, "c"], "preferred": preferred}
    assert Comparison.from_json(row).ranking == ranking


TWO = {"prompt": "hi", "responses": ["a", "b"]}


@pytest.mark.parametrize(
    ("parse", "row", "sentence"),
    [
        (Message.from_json, {"role": "robot", "content": "x"}, "the role 'robot' does not exist"),
        (Message.from_json, {"content": "x"}, "the role None does not exist"),
        (Message.from_json, {"role": ["user"], "content": "x"}, "does not exist"),
        (Message.from_json, {"role": "user", "content": 3}, "must be text, not int"),
        (Message.from_json, "hi", "must be an object"),
        (Document.from_json, {"body": "x"}, "needs a text field"),
        (Document.from_json, {"text": "x", "meta": [1]}, "meta must be an object"),
        (Demonstration.from_json, {}, "non-empty list of messages"),
        (Demonstration.from_json, {"messages": "hi"}, "at least one assistant message"),
        (Demonstration.from_json, {"messages": [{"role": "assistant", "content": "x"}], "source": "alien"}, "'alien'"),
        (Demonstration.from_json, {"messages": [{"role": "assistant", "content": "x"}], "weight": "much"}, "weight"),
        (Demonstration.from_json, {"messages": [{"role": "assistant", "content": "x"}], "weight": None}, "weight"),
        (Demonstration.from_json, {"messages": [{"role": "assistant", "content": "x"}], "weight": "nan"}, "weight"),
        (Prompt.from_json, {"messages": [{"role": "assistant", "content": "x"}]}, "not the assistant's"),
        (Prompt.from_json, {"messages": "hi", "truth": 3}, "truth must be an object"),
        (Comparison.from_json, TWO, "needs a ranking"),
        (Comparison.from_json, {**TWO, "ranking": [0, 2]}, "only 0 to 1 exist"),
        (Comparison.from_json, {**TWO, "ranking": [0, -1]}, "only 0 to 1 exist"),
        (Comparison.from_json, {**TWO, "ranking": [0]}, "each of the 2 responses exactly once"),
        (Comparison.from_json, {**TWO, "ranking": [0, 0, 1]}, "exactly once"),
        (Comparison.from_json, {**TWO, "ranking": [True, False]}, "only 0 to 1 exist"),
        (Comparison.from_json, {**TWO, "ranking": "01"}, "only 0 to 1 exist"),
        (Comparison.from_json, {**TWO, "ranking": 1}, "list"),
        (Comparison.from_json, {**TWO, "preferred": 7}, "only 0 to 1 exist"),
        (Comparison.from_json, {**TWO, "preferred": "a"}, "only 0 to 1 exist"),
        (Comparison.from_json, {"prompt": "hi", "responses": ["a"], "preferred": 0}, "at least two responses"),
        (Comparison.from_json, {"prompt": "hi", "responses": ["a", 3], "preferred": 0}, "every response must be text"),
        (Comparison.from_json, {**TWO, "preferred": 0, "scores": [3, 4]}, "scores"),
        (Comparison.from_json, {**TWO, "preferred": 0, "scores": [{"clear": 4}]}, "each of the 2 responses, not 1"),
        (Comparison.from_json, {**TWO, "preferred": 0, "scores": [{"clear": "4"}, {}]}, "clear must be a number"),
        (Comparison.from_json, {**TWO, "preferred": 0, "scores": [{"clear": math.nan}, {}]}, "clear must be a number"),
        (Comparison.from_json, {**TWO, "preferred": 0, "scores": [{"clear": True}, {}]}, "clear must be a number"),
        (Comparison.from_json, {**TWO, "preferred": 0, "consent": "false"}, "consent must be true or false"),
    ],
)  # fmt: skip
def test_mistake_is_one_sentence(parse: Any, row: Any, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(row)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
