"""The client side of HTTP towards upstreams: engines of ours on their sockets, and servers by URL.

aiohttp and not httpx, which the rest of Chatwright asks with: reading a token of a stream takes a seventh of the time
(measured with 64 streams), and the gateway reads every token that anybody is shown.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

CONNECT_SECONDS, READ_SECONDS = 10.0, 600.0
IDLE_SECONDS = 2.0
"""A connection idle for longer is not used again: servers close theirs after some seconds, 5 in uvicorn."""


class UpstreamError(Exception):
    """The upstream went away, broke a rule of HTTP, or was silent for too long."""


class NotTaken(UpstreamError):
    """There was no connection, so the request was surely not taken."""


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError:
        raise NotTaken("no connection") from None
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise UpstreamError(type(error).__name__) from None


class Reply:
    """An upstream's answer: its status and headers, and its body, piece by piece or at once."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response, self._body = response, b""
        self._hears: Callable[[bytes], None] = lambda _: None
        self._ended: Callable[[], None] = lambda: None
        self.status_code, self.headers = response.status, response.headers

    def overheard(self, hears: Callable[[bytes], None], ended: Callable[[], None]) -> Reply:
        """The same, but tells `hears` of every piece of the body, and `ended` when it is let go."""
        self._hears, self._ended = hears, ended
        return self

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises UpstreamError where it breaks off."""
        with _explained():
            async for block in self._response.content.iter_any():
                self._hears(block)
                yield block

    async def aread(self) -> bytes:
        """The whole body, which `content` and `json` then have."""
        with _explained():
            self._body = await self._response.read()
        return self._body

    @property
    def content(self) -> bytes:
        return self._body

    def json(self) -> Any:
        """Raises ValueError where the body is no JSON."""
        return json.loads(self._body)

    async def aclose(self) -> None:
        """Lets go; an answer that was not read to its end is broken off, which ends the work on it."""
        self._response.close()
        ended, self._ended = self._ended, lambda: None
        ended()


class Client:
    """Speaks to one upstream: at `base` (with its /v1), or behind the Unix socket `socket`."""

    def __init__(self, base: str, *, socket: Path | None = None, headers: Mapping[str, str] | None = None) -> None:
        self._base, self._socket, self._headers = base, socket, dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # made within the event loop that uses it
            rules: dict[str, Any] = {"limit": 0, "keepalive_timeout": IDLE_SECONDS}
            connector = (
                aiohttp.UnixConnector(str(self._socket), **rules) if self._socket else aiohttp.TCPConnector(**rules)
            )  # fmt: skip
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
            )  # fmt: skip
        return self._session

    async def get(self, path: str, timeout: float) -> Reply:
        """A whole answer; `path` is under the base, or an address. Redirects are not followed."""
        limit = aiohttp.ClientTimeout(total=timeout)
        with _explained():
            response = await self._open().get(self._address(path), timeout=limit, allow_redirects=False)
        reply = Reply(response)
        await reply.aread()
        return reply

    async def post(self, path: str, content: bytes) -> Reply:
        """An answer to a JSON body, its own body not yet read."""
        headers = {"Content-Type": "application/json"}
        with _explained():
            response = await self._open().post(
                self._address(path), data=content, headers=headers, allow_redirects=False
            )  # fmt: skip
        return Reply(response)

    def _address(self, path: str) -> str:
        return path if path.startswith("http") else self._base + path

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
