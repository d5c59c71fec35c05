"""A critic behind any OpenAI-compatible endpoint: Chatwright's own engine server, vLLM, or a service.

Letter probabilities come from `top_logprobs` where the endpoint offers them, else from the letter it says. Answers that
fail for a moment (429, 5xx, a broken connection) are asked again with growing pauses.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from chatwright.config import EndpointConfig, SamplingConfig
from chatwright.errors import ChatwrightError, ConfigError, InputError
from chatwright.records import Messages
from chatwright.train.constitutional.critic import Letter, Written
from chatwright.train.constitutional.principles import LETTERS

TOP_LOGPROBS = 20
LETTER_TOKENS = 4
"""Enough for "(A)" and for "**A**"."""
LONGEST_PAUSE = 30.0
"""Seconds."""


class _TooLongError(Exception):
    """The conversation does not fit into the endpoint's context."""


class EndpointCritic:
    """`url` is the base of the API, with or without /v1; without `model` the first one it lists is asked.

    Raises InputError where the endpoint cannot be asked at all, ChatwrightError where it stays away meanwhile.
    """

    def __init__(
        self, url: str, config: EndpointConfig, *, model: str = "", key: str = "",
        pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        try:
            import httpx
        except ImportError:
            raise ConfigError("an endpoint as critic needs httpx; install chatwright[serve]") from None
        if not re.fullmatch(r"https?://[^/@]+(/[^@]*)?", url):
            raise InputError(
                f"the critic {url!r} is no address; write it as http://host:port/v1, a key in CHATWRIGHT_CRITIC_KEY"
            )
        base = url.rstrip("/")
        self.url = base if base.endswith("/v1") else f"{base}/v1"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._errors: type[Exception] = httpx.HTTPError
        self._client = httpx.Client(headers=headers, timeout=config.timeout)
        self._config, self._pause = config, pause
        self._logprobs = True
        try:
            self.model = model or self._first_model()
        except BaseException:
            self._client.close()
            raise
        self.id = f"{self.url}#{self.model}"

    def __enter__(self) -> EndpointCritic:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def letters_from(self) -> Literal["logits", "logprobs", "text"]:
        """Known once letters have been asked for."""
        return "logprobs" if self._logprobs else "text"

    def fits(self, conversation: Messages, room: int) -> bool:
        """Only the endpoint knows; what does not fit comes back as an empty text."""
        return True

    def write(self, conversations: Sequence[Messages], sampling: SamplingConfig, seeds: Sequence[int]) -> list[Written]:
        def one(asked: tuple[Messages, int]) -> Written:
            body = {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, "seed": asked[1]}
            body |= {"top_p": sampling.top_p} if sampling.top_p < 1 else {}
            body |= {"top_k": sampling.top_k} if sampling.top_k else {}
            try:
                choice = self._chat(asked[0], body)
            except _TooLongError:
                return Written("", False)
            return Written(_said(choice), choice.get("finish_reason") == "stop")

        return self._each(one, list(zip(conversations, seeds, strict=True)))

    def letters(self, conversations: Sequence[Messages]) -> list[Letter]:
        if not conversations:
            return []
        first = self._letter(conversations[0])  # alone: it finds out whether log-probabilities are offered
        return [first, *self._each(self._letter, list(conversations[1:]))]

    def _letter(self, conversation: Messages) -> Letter:
        body = {"temperature": 0, "max_tokens": LETTER_TOKENS}
        try:
            if self._logprobs:
                try:
                    choice = self._chat(conversation, body | {"logprobs": True, "top_logprobs": TOP_LOGPROBS})
                except InputError as error:
                    if "logprobs" not in str(error):
                        raise
                    self._logprobs = False
                else:
                    content = (choice.get("logprobs") or {}).get("content")
                    if content:
                        return letter_of_logprobs(content)
                    self._logprobs = False
            return letter_of_text(_said(self._chat(conversation, body)))
        except _TooLongError:
            return Letter(0.5, 0.0)

    def _each(self, one: Callable[[Any], Any], rows: list[Any]) -> list[Any]:
        if not rows:
            return []
        with ThreadPoolExecutor(min(self._config.parallel, len(rows))) as pool:
            return list(pool.map(one, rows))

    def _chat(self, conversation: Messages, body: Mapping[str, Any]) -> dict[str, Any]:
        whole = {"model": self.model, "messages": [m.to_json() for m in conversation], **body}
        answer = self._ask("POST", "/chat/completions", whole)
        try:
            return answer["choices"][0]
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{self.url} answers no chat completions; is it an OpenAI-compatible endpoint?") from None

    def _first_model(self) -> str:
        try:
            return str(self._ask("GET", "/models")["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{self.url} lists no model; name one with --critic-model") from None

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of one answer; a failure of the moment is tried again."""
        problem = ""
        for attempt in range(self._config.attempts):
            if attempt:
                self._pause(min(LONGEST_PAUSE, 0.5 * 2**attempt))
            try:
                answer = self._client.request(method, self.url + path, json=body)
            except self._errors as error:
                problem = str(error) or type(error).__name__
                continue
            if answer.status_code == 429 or answer.status_code >= 500:
                problem = f"status {answer.status_code}"
                continue
            return self._read(answer)
        raise ChatwrightError(
            f"the critic at {self.url} does not answer ({problem}); the same command goes on where it was"
        )

    def _read(self, answer: Any) -> Any:
        try:
            found = answer.json()
        except ValueError:
            raise InputError(f"{self.url} answers no JSON; is it an OpenAI-compatible endpoint?") from None
        if answer.status_code < 400:
            return found
        error = found.get("error") if isinstance(found, dict) else None
        error = error if isinstance(error, dict) else {"message": error or found}
        if error.get("code") == "context_length_exceeded":
            raise _TooLongError
        raise InputError(f"the critic at {self.url} refuses: {error.get('message')}")


def _said(choice: Mapping[str, Any]) -> str:
    return str((choice.get("message") or {}).get("content") or "").strip()


def letter_of_logprobs(content: Sequence[Mapping[str, Any]]) -> Letter:
    """From OpenAI's `logprobs.content`: the first position at which a letter was said, or else the first of all.

    Tokens that spell the same letter ("A", " A", "(A") count together; a letter that is not among the top ones has
    the probability 0.
    """
    position = next((row for row in content if _letter_in(row.get("token", ""))), content[0])
    tops = position.get("top_logprobs") or [position]
    first, second = (
        sum(math.exp(top["logprob"]) for top in tops if _letter_in(top["token"]) == letter) for letter in LETTERS
    )
    return Letter(first / (first + second), first + second) if first + second else Letter(0.5, 0.0)


def letter_of_text(text: str) -> Letter:
    """All or nothing from the first letter that stands alone; undecided where there is none."""
    found = re.search(r"(?<![A-Za-z])([AB])(?![A-Za-z])", text)
    return Letter(float(found[1] == LETTERS[0]), 1.0) if found else Letter(0.5, 0.0)


def _letter_in(token: str) -> str:
    bare = token.strip(" \t\n()[]*.:\u2581\u0120\"'")
    return bare if bare in LETTERS else ""
