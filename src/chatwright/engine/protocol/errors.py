"""Errors in OpenAI's body."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ApiError(Exception):
    """An answer in OpenAI's error body; `message` is the whole sentence the caller is shown."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    @property
    def kind(self) -> str:
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed a moment later: said in `x-should-retry`, which clients obey."""
        return self.status in (429, 503)

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def unsupported(name: str, why: str = "is not offered; leave it out") -> ApiError:
    """What would change the answer and cannot be done is refused, never passed over."""
    return ApiError(400, f"{name} {why}", "unsupported_parameter", name)


def invalid(where: str, why: str) -> ApiError:
    return ApiError(400, f"{where}: {why}", "invalid_value", where)
