"""Embeddings: the mean of the model's hidden states over each text."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from chatwright.engine.protocol.body import StrictBody, checked
from chatwright.engine.protocol.completions import Prompts

NOT_OFFERED: dict[str, tuple[Any, ...]] = {"dimensions": (None,)}


class EmbeddingBody(StrictBody):
    """The body of POST /v1/embeddings."""

    model: str = Field(min_length=1, max_length=512)
    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


def parse_embedding(body: Mapping[str, Any]) -> EmbeddingBody:
    return checked(EmbeddingBody, body, NOT_OFFERED)


def embedding_answer(
    model: str, vectors: Sequence[Sequence[float]], tokens: int, encoding: str | None
) -> dict[str, Any]:
    """base64 is of little-endian float32, which OpenAI's own client asks for."""
    rows = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if encoding == "base64" else list(vector)}
        for index, vector in enumerate(vectors)
    ]
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": model, "usage": used}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
