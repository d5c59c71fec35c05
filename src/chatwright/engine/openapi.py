"""An honest OpenAPI document: bodies that handlers read themselves, streams, and errors in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from chatwright.engine.protocol.documents import ErrorAnswer

ERRORS = (400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503)
_REF = "#/components/schemas/{model}"


def described(
    answer: type[BaseModel] | None, body: type[BaseModel] | None = None, *, stream: bool = False, media: str = ""
) -> dict[str, Any]:
    """Arguments of a route (responses, openapi_extra) that say what it reads and answers.

    `media` is the type of an answer that is no JSON.
    """
    content: dict[str, Any] = {"application/json": {"schema": _named(answer)}} if answer else {}
    if stream:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    if media:
        content[media] = {"schema": {"type": "string", "format": "binary"}}
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "The answer", "content": content}}
    refusal = {"description": "A refusal", "content": {"application/json": {"schema": _named(ErrorAnswer)}}}
    responses |= dict.fromkeys(ERRORS, refusal)
    extra = {"requestBody": {"required": True, "content": {"application/json": {"schema": _named(body)}}}}
    return {"responses": responses, "response_model": None, "openapi_extra": extra if body else None}


def _named(model: type[BaseModel] | None) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)} if model else {}


def document_models(app: FastAPI, *models: type[BaseModel]) -> None:
    """Adds the schemas that `described` refers to. FastAPI's own 422 is taken out: nothing here answers it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (ErrorAnswer, *models):
            schema = model.model_json_schema(ref_template=_REF, mode="validation")
            schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
