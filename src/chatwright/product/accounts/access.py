"""Which paths are open to whom: one table, and whatever is not in it needs a person who is signed in.

A rule says the role that a path asks for at least, and the scope that a key must have; SESSION paths are for people at
a page, and no key opens them. Routes may ask for more. Whose an object is, the routes themselves ask of the database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError
from chatwright.product.identity import Who

SCOPES = ("chat", "files", "feedback", "api", "operator")
"""What a key may be made for."""
SESSION = "session"


@dataclass(frozen=True, slots=True)
class Rule:
    """`methods` are separated by a blank, "" are all. Without a role the path is open to everybody."""

    methods: str
    path: str
    role: str = ""
    scope: str = ""


RULES = (
    Rule("GET", r"/|/favicon\.svg|/assets/.*|/healthz|/openapi\.json"),
    Rule("GET", r"/api/me|/api/oidc/(start|callback)|/api/shared/[^/]+|/api/invitations/[^/]+"),
    Rule("POST", r"/api/(setup|sign-in|sign-out)|/api/invitations/[^/]+"),
    Rule("", r"/v1/files(/.*)?", "user", "files"),
    Rule("", r"/v1/feedback", "user", "feedback"),
    Rule("", r"/v1/.*", "user", "chat"),
    Rule("", r"/api/operator(/.*)?|/api/build(/.*)?|/api/report|/metrics", "operator", "operator"),
    Rule("", r"/api/sign-out-everywhere|/api/me/(password|sessions|keys)(/.*)?", "user", SESSION),
    Rule("DELETE", r"/api/me", "user", SESSION),
    Rule("", r"/api/me/(consent|data|export)", "user", SESSION),
    Rule("", r"/api/.*", "user", "api"),
    Rule("", r".*", "user", SESSION),
)
_COMPILED = tuple((frozenset(rule.methods.split()), re.compile(rule.path, re.DOTALL), rule) for rule in RULES)


def rule_of(method: str, path: str) -> Rule:
    """The first rule that fits; the last one fits everything."""
    method = "GET" if method == "HEAD" else method
    return next(
        rule for methods, pattern, rule in _COMPILED if (not methods or method in methods) and pattern.fullmatch(path)
    )


def refusal_of(rule: Rule, who: Who) -> ApiError | None:
    """Why this is not for them; None where it is."""
    if not rule.role:
        return None
    if who.person is None:
        return ApiError(401, "sign in first, or send an API key", "not_signed_in",
                        headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
    if who.scopes is not None and rule.scope not in who.scopes:
        words = "no API key opens this; sign in" if rule.scope == SESSION else f"the key has not the scope {rule.scope}"
        return ApiError(403, words, "insufficient_scope")
    if not who.is_at_least(rule.role):
        return ApiError(403, f"this needs the role {rule.role}", "forbidden")
    return None


class Access:
    """Lets through what the table allows; stands behind `Identify`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = refusal_of(rule_of(scope["method"], scope["path"]), scope["state"]["who"])
            if refusal is not None:
                await error_response(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)
