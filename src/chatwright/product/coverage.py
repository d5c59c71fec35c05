"""How much of OpenAI's API is covered, endpoint by endpoint and parameter by parameter, read from the code.

    python -m chatwright.product.coverage

prints the tables that stand in docs/api.md; a test holds the two equal. A parameter works where a request model has
it, differs where a note here says how, and is absent where asking for it is refused. The parameters of the reference
are those of OpenAI's OpenAPI document 2.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from chatwright.engine.protocol import ChatBody, CompletionBody, EmbeddingBody, chat, completions, embeddings
from chatwright.product.feedback import FeedbackBody
from chatwright.product.responses import body as responses

NO_EFFECT = "accepted, without effect"
_BOUNDS = "at most 16"
_SAMPLED = {
    "n": _BOUNDS, "max_tokens": "cut to the room that is left in the context", "user": NO_EFFECT,
    "logit_bias": "at most 1,024 tokens", "top_p": "0 means greedy",
    "stream_options": "`include_usage`; `include_obfuscation` without effect",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint that takes a body; `reference` are the names of OpenAI's document."""

    path: str
    model: type[BaseModel]
    reference: Sequence[str]
    refused: Mapping[str, Any] = field(default_factory=dict[str, Any])
    differs: Mapping[str, str] = field(default_factory=dict[str, str])
    beside: Sequence[str] = ()
    """Fields that the gateway takes out before the body reaches the model's."""

    def status(self, name: str) -> tuple[str, str]:
        """(works, differs, absent or extension; a note)."""
        if name in self.beside:
            return "works", ""
        if name in self.refused:
            return "absent", "refused with `unsupported_parameter`"
        if name not in self.model.model_fields:
            return "absent", "passed over"
        if name in self.differs:
            return "differs", self.differs[name]
        return ("works", "") if name in self.reference else ("extension", "")


CHAT = Endpoint(
    "/v1/chat/completions", ChatBody,
    (
        "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
        "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort",
        "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
        "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
    ),
    {name: None for name in chat.NOT_OFFERED if name != "store"},
    _SAMPLED
    | {
        "messages": "parts of type text only", "max_completion_tokens": _SAMPLED["max_tokens"],
        "prediction": NO_EFFECT, "prompt_cache_key": NO_EFFECT, "prompt_cache_retention": NO_EFFECT,
        "safety_identifier": NO_EFFECT, "service_tier": NO_EFFECT,
        "response_format": "a schema is held whether `strict` or not; not together with tools",
        "tools": "functions only, at most 128", "logprobs": "of the model's own distribution, before any penalty",
        "seed": "equal seeds give equal answers, whatever runs beside them",
    },
    ("store",),
)  # fmt: skip
COMPLETIONS = Endpoint(
    "/v1/completions", CompletionBody,
    (
        "model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n",
        "presence_penalty", "seed", "stop", "stream", "stream_options", "suffix", "temperature", "top_p", "user",
    ),
    completions.NOT_OFFERED,
    _SAMPLED | {"prompt": "at most 64 prompts"},
)  # fmt: skip
EMBEDDINGS = Endpoint(
    "/v1/embeddings", EmbeddingBody, ("input", "model", "dimensions", "encoding_format", "user"),
    embeddings.NOT_OFFERED, {"input": "the mean of the model's hidden states, at most 64 texts", "user": NO_EFFECT},
)  # fmt: skip
RESPONSES = Endpoint(
    "/v1/responses", responses.ResponseBody,
    (
        "background", "conversation", "include", "input", "instructions", "max_output_tokens", "max_tool_calls",
        "metadata", "model", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
        "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream",
        "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
    ),
    responses.NOT_OFFERED,
    {
        "input": "messages, function calls and their outputs, as text", "tools": "functions only",
        "include": "`message.output_text.logprobs`", "reasoning": "only the effort `none`",
        "text": "formats; no verbosity", "stream_options": NO_EFFECT, "user": NO_EFFECT, "service_tier": NO_EFFECT,
        "safety_identifier": NO_EFFECT, "prompt_cache_key": NO_EFFECT, "prompt_cache_retention": NO_EFFECT,
    },
)  # fmt: skip
FEEDBACK = Endpoint("/v1/feedback", FeedbackBody, ())
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES)

REFERENCE = (
    "POST /v1/chat/completions", "GET /v1/chat/completions", "GET /v1/chat/completions/{id}",
    "POST /v1/chat/completions/{id}", "DELETE /v1/chat/completions/{id}", "GET /v1/chat/completions/{id}/messages",
    "POST /v1/completions", "POST /v1/embeddings", "GET /v1/models", "GET /v1/models/{id}", "DELETE /v1/models/{id}",
    "POST /v1/responses", "GET /v1/responses/{id}", "DELETE /v1/responses/{id}", "GET /v1/responses/{id}/input_items",
    "POST /v1/responses/{id}/cancel", "POST /v1/files", "GET /v1/files", "GET /v1/files/{id}",
    "GET /v1/files/{id}/content", "DELETE /v1/files/{id}", "POST /v1/moderations", "POST /v1/batches",
    "POST /v1/fine_tuning/jobs", "POST /v1/evals", "POST /v1/audio/speech", "POST /v1/images/generations",
)  # fmt: skip
"""The endpoints of the reference that concern a server of language models; the rest is left out."""
REMARKS = {
    "DELETE /v1/models/{id}": ("differs", "refused with 403: a served model is not deleted over the API"),
    "POST /v1/moderations": ("absent", "404 until a guard is installed"),
    "GET /v1/responses/{id}": ("differs", "as a stream from its beginning: `starting_after` is refused"),
}


def endpoint_rows(routes: set[str]) -> list[tuple[str, str, str]]:
    """(endpoint, status, note) for the reference and for what stands beside it; `routes` are "METHOD /path/{id}"."""
    rows = [(name, *REMARKS.get(name, ("works", "") if name in routes else ("absent", ""))) for name in REFERENCE]
    return rows + [(name, "extension", "") for name in sorted(routes - set(REFERENCE))]


def routes_of(document: Mapping[str, Any]) -> set[str]:
    """The endpoints in an OpenAPI document, with every parameter of a path called id."""
    found = set[str]()
    for path, operations in document["paths"].items():
        plain = "/".join("{id}" if part.startswith("{") else part for part in path.split("/"))
        found |= {f"{method.upper()} {plain}" for method in operations}
    return found


def tables(document: Mapping[str, Any]) -> str:
    """Both tables in Markdown, and the share of the reference that is covered."""
    endpoints = endpoint_rows(routes_of(document))
    lines = ["| endpoint | status | note |", "|---|---|---|"]
    lines += [f"| `{name}` | {status} | {note} |" for name, status, note in endpoints]
    covered = total = 0
    for endpoint in ENDPOINTS:
        names = [*endpoint.reference, *(n for n in endpoint.model.model_fields if n not in endpoint.reference)]
        lines += ["", f"`POST {endpoint.path}`", "", "| parameter | status | note |", "|---|---|---|"]
        for name in names:
            status, note = endpoint.status(name)
            lines.append(f"| `{name}` | {status} | {note} |")
            total += name in endpoint.reference
            covered += status in ("works", "differs") and name in endpoint.reference
    of_reference = [row for row in endpoints if row[1] != "extension"]
    there = sum(status in ("works", "differs") for _, status, _ in of_reference)
    score = (
        f"Of the {len(of_reference)} endpoints above that OpenAI's document has, {there} are there; of the {total} "
        f"parameters of the four that take most, {covered} work or differ as the notes say "
        f"({100 * covered / total:.0f} %)."
    )
    return "\n".join([*lines, "", score])


def current() -> str:
    """The tables of this version."""
    import tempfile
    from pathlib import Path

    from chatwright.config import ServeConfig
    from chatwright.product.gateway import create_app
    from chatwright.product.serving import Serving

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServeConfig(), Path(folder), models=Serving())
        return tables(app.openapi())


if __name__ == "__main__":
    print(current())
