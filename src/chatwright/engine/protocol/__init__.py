"""The OpenAI HTTP shape: what a request may say, how answers, chunks and errors are spelled.

Plain values only: neither a web framework nor torch is imported, so the gateway and its tests may use it.
"""

from chatwright.engine.protocol.answers import DONE, Envelope, sse, usage
from chatwright.engine.protocol.body import MOST_CHOICES, parse_json
from chatwright.engine.protocol.chat import ChatBody, ChatRequest, parse_chat
from chatwright.engine.protocol.completions import CompletionBody, CompletionRequest, parse_completion
from chatwright.engine.protocol.embeddings import EmbeddingBody, embedding_answer, parse_embedding
from chatwright.engine.protocol.errors import ApiError

__all__ = [
    "DONE", "MOST_CHOICES", "ApiError", "ChatBody", "ChatRequest", "CompletionBody", "CompletionRequest",
    "EmbeddingBody", "Envelope", "embedding_answer", "parse_chat", "parse_completion", "parse_embedding",
    "parse_json", "sse", "usage",
]  # fmt: skip
