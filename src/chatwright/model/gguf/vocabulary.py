"""Tokens, merges, special tokens and the chat template as GGUF metadata, and back.

llama.cpp knows how text is cut before merging by a name, not by a pattern, so a tokenizer can be written only where
its pattern has a name. Special tokens are of the type `control`: llama.cpp matches those in a rendered template, never
in text that is tokenised as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from chatwright.errors import CheckpointError, InputError
from chatwright.model.chat import JINJA
from chatwright.model.checkpoint import read_json, stop_ids
from chatwright.model.tokenizer import BOS, END, PAD, SPECIAL_TOKENS, SPLIT, Tokenizer

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
PLAIN_JINJA = JINJA.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
"""Our template without the tags that mark an assistant's words, which older readers do not know."""

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {
    "qwen2": _CONTRACTIONS + _WORDS + r"|\p{N}" + _REST,
    "llama-bpe": _CONTRACTIONS + _WORDS + r"|\p{N}{1,3}" + _REST,
    "tekken": _CASED,
}
"""Patterns as in the tokenizer.json of the models they are named after, by llama.cpp's names."""
# Equal to qwen2's: the contractions in another order, and `\\s*` already takes all line breaks but the last.
ALIKE = {SPLIT: "qwen2"}
GPT2, DIGITS_THEN_GPT2 = "gpt-2", "smollm"
WHOLE_WORDS = frozenset({"llama-bpe", "tekken"})
"""Where a word that is a token as a whole is taken before any merge (`ignore_merges`)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a file says of its tokens; ids are None where it names none."""

    backend: Backend
    template: str | None
    bos: int | None
    eos: int | None
    pad: int | None
    unk: int | None = None
    stops: frozenset[int] = field(default_factory=frozenset)


def vocabulary_metadata(folder: Path, tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """The keys of a model folder's tokenizer and template, `vocab_size` tokens long.

    Raises InputError for a tokenizer that llama.cpp would split differently.
    """
    spec = json.loads(tokenizer.backend.to_str())
    pre = split_name(spec)
    tokens, types = _tokens(spec, tokenizer.backend, vocab_size)
    config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    named = {key: _id(tokenizer, config.get(f"{key}_token")) for key in ("bos", "eos", "pad", "unk")}
    text = {"eos_token": token} if (token := _content(config.get("eos_token"))) else {}
    stops = sorted(stop_ids(folder, tokenizer, text))
    named["eos"] = named["eos"] if named["eos"] is not None else next(iter(stops), None)
    other_stops = [ident for ident in stops if ident != named["eos"]]
    template = _template_of(folder, config)
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": _merges(spec),
        "tokenizer.ggml.add_bos_token": template == JINJA or _adds_bos(tokenizer, named["bos"]),
        "tokenizer.huggingface.json": json.dumps(spec, ensure_ascii=False, separators=(",", ":")),
    }  # fmt: skip
    words = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    keys |= {f"tokenizer.ggml.{words[key]}_token_id": ident for key, ident in named.items() if ident is not None}
    for key, ident in zip(("eot", "eom"), other_stops, strict=False):
        keys[f"tokenizer.ggml.{key}_token_id"] = ident
    if template is not None:
        keys["tokenizer.chat_template"] = PLAIN_JINJA if template == JINJA else template
    return keys


def split_name(spec: Mapping[str, Any]) -> str:
    """llama.cpp's name for how this tokenizer.json cuts text; raises InputError where there is none."""
    model, before = spec.get("model") or {}, spec.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    kinds = [step.get("type") for step in steps]
    if model.get("type") != "BPE" or model.get("byte_fallback") or "ByteLevel" not in kinds:
        raise InputError("only byte-level BPE tokenizers are written as GGUF; this one is of another kind")
    if (spec.get("normalizer") or {}).get("type", "NFC") != "NFC":
        raise InputError("the tokenizer rewrites text before splitting it, which a GGUF file cannot say")
    name = None
    last = steps[-1]
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space"):
        if kinds == ["Split", "ByteLevel"] and steps[0].get("behavior") == "Isolated" and not last.get("use_regex"):
            pattern = (steps[0].get("pattern") or {}).get("Regex", "")
            name = ALIKE.get(pattern) or next((n for n, known in PATTERNS.items() if known == pattern), None)
        elif kinds == ["ByteLevel"] and last.get("use_regex", True):
            name = GPT2
        elif kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and last.get("use_regex", True):
            name = DIGITS_THEN_GPT2
    if name is None or bool(model.get("ignore_merges")) != (name in WHOLE_WORDS):
        raise InputError("llama.cpp has no name for how this tokenizer splits text, so its tokens would differ there")
    return name


def _tokens(spec: Mapping[str, Any], backend: Backend, vocab_size: int) -> tuple[list[str], list[int]]:
    """Texts and types by id; rows of the embedding beyond the last token are named and marked unused."""
    vocab = backend.get_vocab(with_added_tokens=True)
    if max(vocab.values()) >= vocab_size:
        raise CheckpointError(f"the tokenizer has {max(vocab.values()) + 1} tokens, the model only {vocab_size}")
    tokens = [f"[PAD{ident}]" for ident in range(vocab_size)]
    types = [UNUSED] * vocab_size
    for text, ident in vocab.items():
        tokens[ident], types[ident] = text, NORMAL
    for token in spec.get("added_tokens", []):
        types[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    return tokens, types


def _merges(spec: Mapping[str, Any]) -> list[str]:
    """Merges as GGUF spells them: two tokens with a space between, which no byte-level token holds."""
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in spec["model"]["merges"]]


def _adds_bos(tokenizer: Tokenizer, bos: int | None) -> bool:
    return bos is not None and tokenizer.backend.encode("a", add_special_tokens=True).ids[:1] == [bos]


def _id(tokenizer: Tokenizer, token: Any) -> int | None:
    return tokenizer.backend.token_to_id(text) if (text := _content(token)) else None


def _content(token: Any) -> str:
    return token.get("content", "") if isinstance(token, Mapping) else token or ""


def _template_of(folder: Path, config: Mapping[str, Any]) -> str | None:
    if (folder / "chat_template.jinja").exists():
        return (folder / "chat_template.jinja").read_text("utf-8")
    source = config.get("chat_template")
    if isinstance(source, list):
        return next((t["template"] for t in source if t.get("name") == "default"), None)
    return source


def read_vocabulary(fields: Mapping[str, Any]) -> Vocabulary:
    """Tokenizer and template of a file; raises CheckpointError for a tokenizer that cannot be built from it."""
    tokens = fields.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens:
        raise CheckpointError("the file holds no tokenizer, only weights")
    types = fields.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    merges = fields.get("tokenizer.ggml.merges") or []
    backend = _whole(fields, tokens, types, merges) or _rebuilt(fields, tokens, types, merges)
    names = ("bos", "eos", "padding", "unknown", "eot", "eom")
    ids = {name: _within(fields.get(f"tokenizer.ggml.{name}_token_id"), tokens) for name in names}
    template = fields.get("tokenizer.chat_template")
    if template == PLAIN_JINJA and all(backend.token_to_id(token) is not None for token in SPECIAL_TOKENS):
        template = JINJA
    stops = frozenset(ident for name in ("eos", "eot", "eom") if (ident := ids[name]) is not None)
    return Vocabulary(backend, template, ids["bos"], ids["eos"], ids["padding"], ids["unknown"], stops)


def _within(ident: Any, tokens: Sequence[str]) -> int | None:
    return int(ident) if ident is not None and 0 <= int(ident) < len(tokens) else None


def _whole(
    fields: Mapping[str, Any], tokens: Sequence[str], types: Sequence[int], merges: Sequence[str]
) -> Backend | None:
    """The tokenizer.json that the file carries whole, where it describes the same tokens and merges."""
    source = fields.get("tokenizer.huggingface.json")
    if not isinstance(source, str):
        return None
    try:
        backend, spec = Backend.from_str(source), json.loads(source)
        theirs = _merges(spec)
    except Exception:  # the library raises bare Exception; the file's own lists say the same
        return None
    used = {text: ident for ident, text in enumerate(tokens) if types[ident] != UNUSED}
    return backend if backend.get_vocab(with_added_tokens=True) == used and theirs == list(merges) else None


def _rebuilt(fields: Mapping[str, Any], tokens: Sequence[str], types: Sequence[int], merges: Sequence[str]) -> Backend:
    """A tokenizer from the file's lists of tokens and merges."""
    kind, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind != "gpt2" or not merges:
        raise CheckpointError(f"a tokenizer of the kind {kind!r} cannot be read; byte-level BPE (gpt2) can")
    if pre not in (*PATTERNS, GPT2, DIGITS_THEN_GPT2):
        known = ", ".join((*PATTERNS, GPT2, DIGITS_THEN_GPT2))
        raise CheckpointError(f"the tokenizer splits text as {pre!r}, which is not known here; known are {known}")
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    vocab = {text: ident for ident, text in enumerate(tokens) if types[ident] != UNUSED}
    try:
        backend = Backend(models.BPE(vocab=vocab, merges=pairs, ignore_merges=pre in WHOLE_WORDS))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"its merges do not fit its tokens ({error})") from None
    backend.pre_tokenizer = _splitter(pre)
    backend.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        backend.normalizer = normalizers.NFC()  # as the models have it whose name this is
    added = [(ident, types[ident]) for ident in range(len(tokens)) if types[ident] in (CONTROL, USER_DEFINED)]
    special = [AddedToken(tokens[i], special=kind == CONTROL, normalized=False) for i, kind in added]
    backend.add_tokens(special)
    return backend


def _splitter(pre: str) -> pre_tokenizers.PreTokenizer:
    if pre == GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre == DIGITS_THEN_GPT2:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    split = pre_tokenizers.Split(Regex(PATTERNS[pre]), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def is_native(vocabulary: Vocabulary) -> bool:
    """Whether the file has our own template over our own special tokens."""
    ids = (vocabulary.bos, vocabulary.eos, vocabulary.pad)
    return vocabulary.template == JINJA and ids == tuple(vocabulary.backend.token_to_id(t) for t in (BOS, END, PAD))
