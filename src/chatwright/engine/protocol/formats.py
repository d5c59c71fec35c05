"""What shape the text of an answer must have: `response_format`."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from chatwright.engine.protocol.body import StrictBody
from chatwright.engine.protocol.errors import invalid

LARGEST_SCHEMA = 100_000
"""Characters."""


class NamedSchema(StrictBody):
    name: str = Field(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(StrictBody):
    """`strict` or not, a schema is always held: the sampler cannot leave it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


def schema_of(wanted: ResponseFormat | None) -> str:
    """The JSON schema that restricts the text, as JSON; empty where nothing does."""
    if wanted is None or wanted.type == "text":
        return ""
    if wanted.type == "json_object":
        return json.dumps({"type": "object"})
    if wanted.json_schema is None:
        raise invalid("response_format.json_schema", "the type json_schema needs it")
    schema = wanted.json_schema.json_schema
    text = json.dumps({"type": "object"} if schema is None else schema, ensure_ascii=False)
    if len(text) > LARGEST_SCHEMA:
        raise invalid("response_format.json_schema.schema", f"it is longer than {LARGEST_SCHEMA:,} characters")
    return text
