"""Stands between openai-python's tests and a gateway, and makes up for what only a mock can do.

It changes requests, never answers: an id that the suite invents becomes that of an object made for this request; a
response that is asked for without model and input gets both. With `strip`, what docs/api.md documents as absent, and
values outside the documented bounds, are taken out of bodies and query strings.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

KEY = "My API Key"
"""What the suite sends."""
SERVED = ("gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small")
"""The models that the suite asks for."""
SMALL = {"model": SERVED[0], "max_tokens": 8}
ABSENT = {
    "/chat/completions": {
        "audio", "function_call", "functions", "moderation", "reasoning_effort", "verbosity", "web_search_options",
        "max_completion_tokens", "max_tokens", "logit_bias",
    },
    "/completions": {"best_of", "echo", "suffix", "logit_bias"},
    "/embeddings": {"dimensions"},
    "/responses": {
        "background", "background_options", "conversation", "include", "max_tool_calls", "prompt", "reasoning",
        "moderation", "text", "previous_response_id",
    },
}  # fmt: skip
"""Fields absent here, and fields to which the suite gives values that the reference refuses (0 tokens, token "foo")."""
ABSENT_IN_QUERY = {"limit", "include", "include[]", "purpose", "after", "starting_after"}
"""limit=0 and the names of objects that do not exist."""


class SuiteProxy:
    def __init__(self, url: str, *, strip: bool) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/v1", timeout=120, headers={"Authorization": f"Bearer {KEY}"})
        self._strip = strip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = await self._path(request.url.path.removeprefix("/v1"))
        body = self._body(path, request, await request.body())
        query = [(k, v) for k, v in parse_qsl(request.url.query) if not (self._strip and k in ABSENT_IN_QUERY)]
        headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length", "accept-encoding")}
        target = path + ("?" + urlencode(query) if query else "")
        answer = await self._client.send(
            self._client.build_request(request.method, target, content=body, headers=headers), stream=True
        )
        kept = {k: v for k, v in answer.headers.items() if k not in ("content-length", "transfer-encoding")}
        if "text/event-stream" in answer.headers.get("content-type", ""):
            response: Response = StreamingResponse(answer.aiter_raw(), answer.status_code, kept)
        else:
            response = Response(await answer.aread(), answer.status_code, kept)
        try:
            await response(scope, receive, send)
        finally:
            await answer.aclose()

    async def _path(self, path: str) -> str:
        """`path` with the id in it replaced by one of an object that exists."""
        found = re.match(r"(/chat/completions|/responses|/files)/([^/]+)(.*)", path)
        if found is None or found[2] == "compact":
            return path
        return f"{found[1]}/{await self._made(found[1], found[3])}{found[3]}"

    async def _made(self, kind: str, part: str) -> str:
        if kind == "/files":
            form = {"files": {"file": ("a.txt", b"Example data")}, "data": {"purpose": "assistants"}}
            answer = await self._client.post(kind, **form)  # type: ignore[arg-type]  # the form's own types
        elif kind == "/responses":
            answer = await self._client.post(kind, json={"model": SERVED[0], "input": "Hi", "max_output_tokens": 8})
        else:
            # The client's type of a stored message knows no role but assistant.
            turn = {"role": "assistant" if part == "/messages" else "user", "content": "Hi"}
            answer = await self._client.post(kind, json=SMALL | {"store": True, "messages": [turn]})
        return answer.raise_for_status().json()["id"]

    def _body(self, path: str, request: Request, raw: bytes) -> bytes:
        if not raw or request.method != "POST" or "json" not in request.headers.get("content-type", ""):
            return raw
        body: dict[str, Any] = json.loads(raw)
        if path == "/responses":
            body = {"model": SERVED[0], "input": "string"} | body
        if self._strip:
            body = {k: v for k, v in body.items() if k not in ABSENT.get(path, ())}
        return json.dumps(body).encode()
