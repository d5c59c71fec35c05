"""Answers that follow a JSON schema, from a model that knows nothing of JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.engine.making import TEMPLATE, TOKENIZER, drain, make_engine
from tests.model.small import random_tokens

from chatwright.engine import Completion, Request, SamplingParams
from chatwright.engine.grammar import MOST_SCHEMA_CHARACTERS, Grammars
from chatwright.errors import InputError

PERSON = {
    "type": "object",
    "properties": {
        "name": {"enum": ["Ada", "Grace <|end|>"]},
        "tall": {"type": "boolean"},
        "cats": {"type": "array", "items": {"enum": ["tom", "kit"]}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "tall", "cats"],
    "additionalProperties": False,
}


def is_person(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "tall", "cats"}
        and value["name"] in ("Ada", "Grace <|end|>")
        and isinstance(value["tall"], bool)
        and isinstance(value["cats"], list)
        and 1 <= len(value["cats"]) <= 2
        and all(cat in ("tom", "kit") for cat in value["cats"])
    )


def ask(schema: str, count: int, **sampling: Any) -> list[Completion]:
    """Answers to different prompts, with plain requests between them in the batch."""
    engine = make_engine(3, max_batch=5, scale=0.35, context=256)
    given = {"max_tokens": 200, "temperature": 1.0, **sampling}
    requests = [
        Request(tuple(random_tokens(4 + i, i)), SamplingParams(seed=i, schema=schema if i % 2 else "", **given))
        for i in range(2 * count)
    ]
    return engine.generate(requests)[1::2]


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_answers_follow_the_schema(temperature: float) -> None:
    (end,) = TEMPLATE.stop_ids
    for completion in ask(json.dumps(PERSON), 6, temperature=temperature):
        assert completion.finish_reason == "stop"
        assert is_person(json.loads(completion.text))
        assert completion.tokens[-1] == end
        assert not TOKENIZER.special_ids & set(completion.tokens[:-1])


@pytest.mark.parametrize("schema", [json.dumps(PERSON), "json"])
def test_no_token_is_spent_on_white_space(schema: str) -> None:
    """Even where the model likes blanks and new lines best."""
    blanks = tuple((t, 30.0) for t in range(TOKENIZER.vocab_size) if not TOKENIZER.decode([t]).strip())
    finished = [c for c in ask(schema, 8, logit_bias=blanks) if c.finish_reason == "stop"]
    assert finished
    for completion in finished:
        assert completion.text == json.dumps(json.loads(completion.text), ensure_ascii=False)


def test_any_json_is_json() -> None:
    finished = [c for c in ask("json", 8) if c.finish_reason == "stop"]
    assert finished
    for completion in finished:
        json.loads(completion.text)


def test_an_answer_that_is_cut_says_so_and_a_complete_one_does_not() -> None:
    (cut,) = ask(json.dumps(PERSON), 1, max_tokens=5)
    assert cut.finish_reason == "length"
    assert cut.text.startswith("{")
    assert not cut.text.endswith("}")
    schema = json.dumps({"const": True})
    engine = make_engine(3)
    true = TOKENIZER.encode("true")
    exact = SamplingParams(max_tokens=len(true), temperature=0.0, schema=schema,
                           logit_bias=tuple((t, 50.0) for t in true))  # fmt: skip
    (whole,) = engine.generate([Request((1, 2, 3), exact)])
    assert whole.text == "true"
    assert whole.finish_reason == "stop"


def test_wide_open_answers_hold_no_special_token() -> None:
    """Strings of any text, a bias towards every special token."""
    bias = tuple((t, 100.0) for t in TOKENIZER.special_ids - TEMPLATE.stop_ids)
    schema = json.dumps({"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 3, "maxItems": 3})
    for completion in ask(schema, 4, logit_bias=bias):
        value = json.loads(completion.text)
        assert len(value) == 3
        assert all(isinstance(s, str) and len(s) <= 5 for s in value)
        assert not TOKENIZER.special_ids & set(completion.tokens[:-1])


def nested(depth: int) -> str:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return json.dumps(schema)


BAD = {
    "not JSON": "{",
    "not an object": "[]",
    "no schema": '{"type": "banana"}',
    "broken pattern": '{"type": "string", "pattern": "(["}',
    "long pattern": json.dumps({"type": "string", "pattern": "a" * 2000}),
    "unknown keyword": '{"not": {"type": "string"}}',
    "remote reference": '{"$ref": "http://localhost:1/schema.json"}',
    "missing reference": '{"$ref": "#/nowhere"}',
    "nothing satisfies it": '{"allOf": [{"type": "string"}, {"type": "integer"}]}',
    "too large": json.dumps({"enum": ["x" * MOST_SCHEMA_CHARACTERS]}),
    "too deep": nested(40),
    "far too deep": '{"items":' * 5000 + "{}" + "}" * 5000,
}


@pytest.mark.parametrize("schema", BAD.values(), ids=BAD.keys())
def test_bad_schemas_are_refused_in_one_sentence(schema: str) -> None:
    engine = make_engine()
    with pytest.raises(InputError) as caught:
        engine.submit(Request((1, 2), SamplingParams(schema=schema)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert not engine.busy


def test_a_bad_schema_disturbs_nobody() -> None:
    engine = make_engine(3)
    request = Request((1, 2, 3), SamplingParams(max_tokens=9, temperature=1.0, seed=5))
    expected = engine.generate([request])[0].tokens
    handle = engine.submit(request)
    engine.step()
    with pytest.raises(InputError):
        engine.submit(Request((1, 2), SamplingParams(schema="{")))
    assert tuple(s.token for s in drain(engine)[handle]) == expected[1:]


def test_a_grammar_that_grows_too_large_ends_as_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatwright.engine import grammar

    schema = json.dumps({"type": "string", "pattern": "^(a|b|c|ab|bc|abc){50,}$"})
    monkeypatch.setattr(grammar, "LIMITS", {"max_lexer_states": 30})
    engine = make_engine(3)
    (got,) = engine.generate([Request((1, 2), SamplingParams(max_tokens=40, temperature=1.0, seed=1, schema=schema))])
    assert got.finish_reason == "length"
    assert len(got.tokens) < 40
    assert np.isfinite(got.logprobs).all()
    (after,) = engine.generate([Request((1, 2), SamplingParams(max_tokens=4, temperature=1.0, seed=1))])
    assert len(after.tokens) == 4


def test_the_vocabulary_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grammars = Grammars(TOKENIZER, TOKENIZER.vocab_size, TEMPLATE.stop_ids)
    grammars.matcher("json")
    first = grammars._prepared
    grammars.matcher('{"type": "object"}')
    assert grammars._prepared is first


def test_answers_by_one_schema_do_not_disturb_each_other() -> None:
    schema = json.dumps({"enum": ["river", "mill"]})
    made = lambda: Grammars(TOKENIZER, TOKENIZER.vocab_size, TEMPLATE.stop_ids)  # noqa: E731
    grammars = made()
    first, second = grammars.matcher(schema), grammars.matcher(schema)
    begin = second.allowed().copy()
    (quote,) = TOKENIZER.encode('"')
    first.push(quote)
    assert not np.array_equal(first.allowed(), begin)
    assert np.array_equal(second.allowed(), begin)
    assert np.array_equal(grammars.matcher(schema).allowed(), begin)
    assert np.array_equal(made().matcher(schema).allowed(), begin), "as if it were compiled afresh"
