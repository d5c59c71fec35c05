"""What the pages may load, and who may send: headers on every response, and a check of where a request came from."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError

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
    generate text, as a simple cross-origin POST needs no permission.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            origin = headers.get(b"origin")
            if origin is not None and urlsplit(origin).netloc.lower() != headers.get(b"host", "").lower():
                refusal = ApiError(403, "this request came from a page of another site", "origin_not_allowed")
                await error_response(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)
