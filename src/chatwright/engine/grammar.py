"""Answers that follow a JSON schema, through the library llguidance.

The library compiles a schema into a grammar and says before each token which of the vocabulary may follow. Special
tokens are never part of a text; the end token may come exactly where the grammar may stop. What a person sends is
bounded before it is compiled and while it runs, so that no schema can hold up those who share the batch.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import numpy as np

from chatwright.errors import InputError
from chatwright.model.tokenizer import Tokenizer

ANY_JSON = "json"
"""Stands for a schema that allows any JSON value."""

MOST_SCHEMA_CHARACTERS = 50_000
MOST_SCHEMA_DEPTH = 32
MOST_PATTERN_CHARACTERS = 1_000
MOST_KEPT = 32
"""Compiled schemas."""

LIMITS = {
    "initial_lexer_fuel": 500_000,  # about 10 ms while a schema is compiled
    "step_lexer_fuel": 100_000,  # about 7 ms a token
    "step_max_items": 20_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 100_000,
    "max_items_in_row": 1_000,
}
SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as Python and chat templates write it. Where white space is free, a weak model writes blanks for ever."""


class Matcher:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: Any, vocab_size: int, end_ids: Sequence[int]) -> None:
        self._matcher, self._vocab_size, self._end_ids = matcher, vocab_size, end_ids
        self._bits = np.zeros((1, -(-vocab_size // 32)), dtype=np.int32)

    def allowed(self) -> np.ndarray:
        """Which tokens may come next, bool V; only the end where the matcher is stuck."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        allowed = np.unpackbits(self._bits.view(np.uint8)[0], count=self._vocab_size, bitorder="little").view(bool)
        if self.stuck:
            allowed[:] = False
            allowed[self._end_ids] = True
        return allowed

    def push(self, token: int) -> None:
        self._matcher.consume_token(token)

    @property
    def complete(self) -> bool:
        """Whether nothing but the end token can follow."""
        return bool(self._matcher.is_stopped()) and not self.stuck

    @property
    def stuck(self) -> bool:
        """Whether the grammar grew beyond its limits, so that nothing can be said about the next token."""
        return bool(self._matcher.is_error())


class Grammars:
    """Compiles schemas for one tokenizer, whose vocabulary is prepared once, at the first schema.

    What was compiled last is kept, so that the answers to one request, and requests with a schema that many send, share
    the work. Any thread may call.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end_ids: Collection[int]) -> None:
        self._tokenizer, self._vocab_size, self._end_ids = tokenizer, vocab_size, sorted(end_ids)
        self._lock, self._preparing = threading.Lock(), threading.Lock()
        self._prepared: Any = None
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def matcher(self, schema: str) -> Matcher:
        """The beginning of an answer that must follow `schema`, JSON text or ANY_JSON.

        Raises InputError where the schema is not one, uses what the library does not know, or is too large.
        """
        return Matcher(self.compile(schema).deep_copy(), self._vocab_size, self._end_ids)

    def compile(self, schema: str) -> Any:
        """The library's matcher at the beginning of `schema`, to be copied; raises as `matcher` does."""
        with self._lock:
            if (kept := self._compiled.get(schema)) is not None:
                self._compiled.move_to_end(schema)
                return kept
        made = self._compile("{}" if schema == ANY_JSON else schema)
        with self._lock:
            self._compiled[schema] = made
            while len(self._compiled) > MOST_KEPT:
                self._compiled.popitem(last=False)
        return made

    def _compile(self, text: str) -> Any:
        library = _library()
        _check(text)
        vocabulary = self._vocabulary()
        try:
            grammar = library.LLMatcher.grammar_from_json_schema(text, overrides=SPELLING)
            matcher = library.LLMatcher(vocabulary, grammar, log_level=0, limits=library.LLParserLimits(**LIMITS))
        except ValueError as error:
            raise InputError(f"the JSON schema cannot be used: {_first_line(error)}") from None
        if matcher.is_error():
            raise InputError(f"the JSON schema cannot be used: {_first_line(matcher.get_error())}")
        return matcher

    def _vocabulary(self) -> Any:
        with self._preparing:
            if self._prepared is None:
                library = _library()
                self._prepared = library.LLTokenizer(
                    without_specials(self._tokenizer.backend.to_str()),
                    n_vocab=self._vocab_size,
                    eos_token=self._end_ids,
                    slices=library.LLTokenizer.json_slices(),
                )
            return self._prepared


def without_specials(tokenizer_json: str) -> str:
    """The tokenizer with its special tokens spelled in a way nobody can guess.

    The library would read a schema's "<|end|>" as the end token; in a text it is five ordinary ones.
    """
    tokenizer = json.loads(tokenizer_json)
    secret = secrets.token_hex(16)
    vocab = tokenizer["model"]["vocab"]
    for added in tokenizer["added_tokens"]:
        if added["special"]:
            spelled = f"<{secret}-{added['id']}>"
            if isinstance(vocab, list) and added["id"] < len(vocab):  # a unigram model: pairs of token and score
                vocab[added["id"]][0] = spelled
            elif isinstance(vocab, dict) and added["content"] in vocab:
                vocab[spelled] = vocab.pop(added["content"])
            added["content"] = spelled
    tokenizer["post_processor"] = None  # it names special tokens, and nothing is encoded with them here
    return json.dumps(tokenizer)


@cache
def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        raise InputError(
            "answers by a JSON schema need the package llguidance; install it with: pip install 'chatwright[serve]'"
        ) from None
    return llguidance


def _check(text: str) -> None:
    """Raises InputError where a schema is too large to be handed to a compiler."""
    if len(text) > MOST_SCHEMA_CHARACTERS:
        raise InputError(f"the JSON schema has {len(text)} characters; at most {MOST_SCHEMA_CHARACTERS} are read")
    try:
        schema = json.loads(text)
    except RecursionError:
        raise InputError(f"the JSON schema is nested deeper than {MOST_SCHEMA_DEPTH} levels") from None
    except ValueError as error:
        raise InputError(f"the JSON schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise InputError("the JSON schema must be an object")
    level: list[Any] = [schema]
    for _ in range(MOST_SCHEMA_DEPTH + 1):
        if not level:
            return
        for part in level:
            pattern = part.get("pattern") if isinstance(part, dict) else None
            if isinstance(pattern, str) and len(pattern) > MOST_PATTERN_CHARACTERS:
                raise InputError(f"a pattern in the JSON schema is longer than {MOST_PATTERN_CHARACTERS} characters")
        level = [child for part in level for child in _children(part)]
    raise InputError(f"the JSON schema is nested deeper than {MOST_SCHEMA_DEPTH} levels")


def _children(part: Any) -> list[Any]:
    values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [value for value in values if isinstance(value, dict | list)]


def _first_line(error: object) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "it is not valid"
