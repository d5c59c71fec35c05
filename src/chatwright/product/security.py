"""What the pages may load, and who may send: headers on every response, and a check of where a request came from."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError
from chatwright.product.identity import key_in

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types dompurify"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox allow-popups"
)
"""A report is a file of its own: inline styles and pictures, never a script."""


class SameOrigin:
    """Refuses a request that changes or computes something when a page of another origin sent it.

    Programs send no Origin; a browser always does with POST. Without this, any site could make this machine
    generate text, as a simple cross-origin POST needs no permission. Browsers also say where a request comes from
    (Sec-Fetch-Site, W3C Fetch Metadata): what another site asks of the API is refused whatever it is, but for
    a person following a link.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_foreign(scope):
            refusal = ApiError(403, "this request came from a page of another site", "origin_not_allowed")
            await error_response(refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_foreign(scope: Scope) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    elsewhere = headers.get(b"sec-fetch-site", "none").lower() not in ("none", "same-origin")
    if scope["method"] in ("GET", "HEAD"):
        reads = scope["path"].startswith(("/api/", "/v1/"))
        return elsewhere and reads and headers.get(b"sec-fetch-mode", "").lower() != "navigate"
    origin = headers.get(b"origin")
    return elsewhere or (origin is not None and _host_of(origin) != headers.get(b"host", "").lower())


def _host_of(origin: str) -> str:
    """The host and port of an origin; "" where it is none, which is the host of nobody."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class KeyRequired:
    """Lets nobody use /v1 without the key, where there is one: as a bearer token or in `x-api-key`, by one rule.

    Where a request carries both, both must be right.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._key and scope["type"] == "http" and scope["path"].startswith("/v1"):
            given = [key for name, value in scope["headers"] if (key := key_in(name, value)) is not None]
            if not given or not all(hmac.compare_digest(key, self._key) for key in given):
                words = "the API key is not right" if given else "there is no API key; send it as a bearer token"
                refusal = ApiError(401, words, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
                await error_response(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)
