"""The chat template: messages to tokens, and which of them an assistant is trained on.

    <|bos|> [<|system|> text <|end|>] <|user|> text <|end|> <|assistant|> text <|end|> ...

The loss mask follows from the spans at rendering time: 1 on the content of assistant turns and on the `<|end|>`
that closes them, 0 elsewhere. Rendering is prefix-preserving (the tokens of a conversation begin with the
tokens of its beginning) and injection-proof (content is encoded without special tokens). Imported checkpoints
keep their own Jinja template behind the same interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tokenizers import Tokenizer as Backend

from chatwright.errors import CheckpointError, InputError
from chatwright.model.tokenizer import ASSISTANT, BOS, END, SYSTEM, TOOL, USER, Tokenizer
from chatwright.records import Message

HEADERS = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "tool": TOOL}

# The same template for transformers and vLLM. Content is inserted as it is, as `NativeTemplate` does.
JINJA = (
    "{{- '" + BOS + "' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- '" + ASSISTANT + "' -}}"
    "{%- generation -%}{{- message['content'] + '" + END + "' -}}{%- endgeneration -%}"
    "{%- else -%}{{- '<|' + message['role'] + '|>' + message['content'] + '" + END + "' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ASSISTANT + "' -}}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Tokens of a conversation and, for each, 1 if an assistant said it (and is trained to), else 0."""

    tokens: list[int]
    mask: list[int]


class ChatTemplate(Protocol):
    """What training, rollouts, evaluation and serving need of a template."""

    stop_ids: frozenset[int]
    begin: tuple[int, ...]
    """What every text begins with: the bos token, or nothing."""

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered: ...


class NativeTemplate:
    """Chatwright's own template over a tokenizer that has its special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._headers = {role: tokenizer.id(token) for role, token in HEADERS.items()}
        self._bos, self._end = tokenizer.id(BOS), tokenizer.id(END)
        self.stop_ids, self.begin = frozenset({self._end}), (self._bos,)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered:
        tokens, mask = [self._bos], [0]
        for message in messages:
            content = self.tokenizer.encode(message.content)
            spoken = int(message.role == "assistant")
            tokens += [self._headers[message.role], *content, self._end]
            mask += [0, *[spoken] * len(content), spoken]
        if add_generation_prompt:
            tokens.append(self._headers["assistant"])
            mask.append(0)
        return Rendered(tokens, mask)


class JinjaTemplate:
    """The template an imported checkpoint brought, rendered as transformers renders it.

    Special tokens inside the template's own text are recognised; the same strings inside a message are refused
    (InputError), since a foreign tokenizer cannot tell them apart once rendered.
    """

    def __init__(self, tokenizer: Tokenizer, source: str, tokens: dict[str, str], stop_ids: frozenset[int]) -> None:
        import jinja2.sandbox

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _generation_tag()]
        )
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _strftime_now
        environment.filters["tojson"] = _tojson
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the chat template of the checkpoint is not valid Jinja ({error})") from None
        self.tokenizer, self.stop_ids, self._tokens = tokenizer, stop_ids, tokens
        bos = tokenizer.backend.token_to_id(tokens["bos_token"]) if "bos_token" in tokens else None
        self.begin = () if bos is None else (bos,)
        # A second backend that does recognise special tokens, for the template's own text.
        self._backend = Backend.from_str(tokenizer.backend.to_str())
        self._special = [t.content for t in tokenizer.backend.get_added_tokens_decoder().values() if t.special]

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered:
        for message in messages:
            if found := next((s for s in self._special if s in message.content), None):
                raise InputError(f"a {message.role} message holds the special token {found}; take it out")
        tokens, mask = self._tokens_of(messages, add_generation_prompt), []
        for index, message in enumerate(messages):
            if message.role == "assistant":
                before = self._tokens_of(messages[:index], True)
                after = self._tokens_of(messages[: index + 1], False)
                if tokens[: len(before)] != before or tokens[: len(after)] != after:
                    continue  # a template that rewrites earlier turns: this turn cannot be located, so not trained on
                end = next((i for i in range(len(before), len(after)) if after[i] in self.stop_ids), len(after) - 1)
                mask += [0] * (len(before) - len(mask)) + [1] * (end + 1 - len(before))
        return Rendered(tokens, mask + [0] * (len(tokens) - len(mask)))

    def _tokens_of(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        import jinja2

        try:
            text = self._template.render(
                messages=[m.to_json() for m in messages],
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self._tokens,
            )
        except (jinja2.TemplateError, TypeError) as error:
            raise InputError(f"the model's chat template refuses this conversation: {error}") from None
        return self._backend.encode(text, add_special_tokens=False).ids


def _raise(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(pattern)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _generation_tag() -> Any:
    """`{% generation %}` marks what an assistant says; for rendering it is transparent."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - the base class declares it so

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return Generation


def fit_to_context(template: ChatTemplate, messages: Sequence[Message], limit: int) -> tuple[tuple[Message, ...], int]:
    """The newest turns whose prompt fits into `limit` tokens, and how many older turns were cut.

    A leading system message is kept. Cuts leave a user turn first. Raises InputError where even the last turn alone
    does not fit.
    """
    system = tuple(messages[:1]) if messages and messages[0].role == "system" else ()
    rest = list(messages[len(system) :])
    for cut in range(len(rest)):
        kept = rest[cut:]
        if cut and kept[0].role != "user":
            continue
        if len(template.render((*system, *kept), add_generation_prompt=True).tokens) <= limit:
            return (*system, *kept), cut
    raise InputError(f"the last message alone is longer than the {limit} tokens this model can read; shorten it")
