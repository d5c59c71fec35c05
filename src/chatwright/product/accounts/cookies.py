"""The cookie of a session: for this host only, never for scripts, never along with other sites' requests."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi.responses import Response

from chatwright.product.accounts.tokens import LONGEST


class Cookie:
    """One cookie. Where people come by https its name begins with __Host-, so that no neighbour can set it.

    See RFC 6265bis, 4.1.3.2.
    """

    def __init__(self, name: str, *, secure: bool) -> None:
        self.name, self.secure = f"__Host-{name}" if secure else name, secure

    def put(self, response: Response, value: str, seconds: int) -> None:
        response.set_cookie(
            self.name, value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def clear(self, response: Response) -> None:
        self.put(response, "", 0)

    def values(self, headers: Iterable[tuple[bytes, bytes]], longest: int = LONGEST) -> list[str]:
        """All that came under this name. One that cannot be ours comes back as "", which is nobody's."""
        found: list[str] = []
        for name, value in headers:
            if name != b"cookie":
                continue
            for part in value.decode("latin-1").split(";"):
                key, _, text = part.strip().partition("=")
                if key == self.name and text:
                    found.append(text if len(text) <= longest else "")
        return found
