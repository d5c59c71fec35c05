"""Byte-level BPE through the `tokenizers` library, with the special tokens of the chat template.

Text is always encoded without special tokens: what a user types can never become one. Special tokens enter only
through the template, by id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from chatwright.errors import CheckpointError, InputError
from chatwright.files import write_text

BOS, SYSTEM, USER, ASSISTANT, TOOL, END, PAD = (
    "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<|pad|>",
)  # fmt: skip
SPECIAL_TOKENS = (BOS, SYSTEM, USER, ASSISTANT, TOOL, END, PAD)

# Words with a leading space, digits one by one (small models add better so), other signs, white space.
SPLIT = r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""


def _byte_letters() -> dict[str, int]:
    """The printable letter that stands for each byte in a byte-level vocabulary (GPT-2; Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()


class Tokenizer:
    """A trained tokenizer: text to ids and back, and the ids of its special tokens."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        # A user's "<|end|>" is plain text: special tokens are matched by id, never by spelling.
        self.backend.encode_special_tokens = True

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int, *, show_progress: bool = False) -> Tokenizer:
        """Learns merges from `texts`. Raises InputError where there is too little text for any merge."""
        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=show_progress,
        )
        backend.train_from_iterator(texts, trainer)
        if backend.get_vocab_size() <= len(SPECIAL_TOKENS) + 256:
            raise InputError("there is too little text to train a tokenizer; give it at least a few hundred words")
        return Tokenizer(backend)

    @staticmethod
    def load(path: Path) -> Tokenizer:
        try:
            return Tokenizer(Backend.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{path} is not a tokenizer ({error})") from None

    def save(self, path: Path) -> None:
        write_text(path, self.backend.to_str())

    @property
    def vocab_size(self) -> int:
        return self.backend.get_vocab_size()

    def id(self, token: str) -> int:
        """The id of a special token; raises CheckpointError where this tokenizer has none of that name."""
        ident = self.backend.token_to_id(token)
        if ident is None:
            raise CheckpointError(f"the tokenizer has no token {token}")
        return ident

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token, which may be a part of a character; of a special token, how it is spelled."""
        spelled = self.backend.id_to_token(token) or ""
        if token in self.special_ids:
            return spelled.encode()
        if self._byte_level:
            return (
                bytes(_BYTES[letter] for letter in spelled) if all(c in _BYTES for c in spelled) else spelled.encode()
            )
        if re.fullmatch("<0x[0-9A-F]{2}>", spelled):
            return bytes([int(spelled[3:5], 16)])
        return spelled.replace("\u2581", " ").encode()

    @cached_property
    def _byte_level(self) -> bool:
        return b"ByteLevel" in self.backend.decoder.__getstate__() if self.backend.decoder else False

    @property
    def special_ids(self) -> frozenset[int]:
        return self._special_ids

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(i for i, token in self.backend.get_added_tokens_decoder().items() if token.special)

    @property
    def bos(self) -> int:
        return self.id(BOS)

    def encode(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens; bytes that are not UTF-8 become U+FFFD."""
        return self.backend.decode([i for i in ids if i not in self.special_ids], skip_special_tokens=False)
