"""The coverage table tells the truth: it equals the code, and what it calls absent is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatwright.config import SamplingConfig
from chatwright.engine.protocol import ApiError, parse_chat, parse_completion, parse_embedding
from chatwright.product.coverage import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, RESPONSES, current
from chatwright.product.responses.body import parse_response

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    CHAT.path: (
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, lambda b: parse_chat(b, SamplingConfig()),
    ),
    COMPLETIONS.path: ({"model": "m", "prompt": "hi"}, lambda b: parse_completion(b, SamplingConfig())),
    EMBEDDINGS.path: ({"model": "m", "input": "hi"}, parse_embedding),
    RESPONSES.path: ({"model": "m", "input": "hi"}, parse_response),
}  # fmt: skip


def test_the_documented_table_equals_the_code() -> None:
    text = DOCUMENT.read_text("utf-8")
    shown = text.partition("<!-- coverage -->\n")[2].partition("\n<!-- /coverage -->")[0]
    assert shown == current(), "run `python -m chatwright.product.coverage` and put what it prints into docs/api.md"


@pytest.mark.parametrize(
    ("path", "name"), [(e.path, n) for e in ENDPOINTS for n in e.reference if e.status(n)[0] == "absent"]
)
def test_what_is_absent_is_refused_by_name(path: str, name: str) -> None:
    body, parse = CASES[path]
    with pytest.raises(ApiError) as refusal:
        parse(body | {name: ["something else"]})
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, "unsupported_parameter", name)
    parse(body | {name: None})


@pytest.mark.parametrize(
    ("path", "name"),
    [(e.path, n) for e in ENDPOINTS for n in e.reference if e.status(n)[0] != "absent" and n not in e.beside],
)
def test_what_is_there_is_read_and_checked(path: str, name: str) -> None:
    body, parse = CASES[path]
    with pytest.raises(ApiError) as refusal:
        parse(body | {name: object()})
    assert str(refusal.value.param).split(".")[0] == name, "a value of no JSON type is complained about by name"


def test_notes_and_refusals_name_real_parameters() -> None:
    for endpoint in ENDPOINTS:
        assert set(endpoint.refused) <= set(endpoint.reference)
        assert not set(endpoint.refused) & set(endpoint.model.model_fields)
