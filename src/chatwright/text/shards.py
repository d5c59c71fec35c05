"""Token shards: a corpus as flat arrays on disk, read through memory maps.

A folder holds `tokens-00000.bin` and so on (little-endian uint16, or uint32 for vocabularies of 65,536 and more), each
with the documents one behind the other, every one beginning with the bos token; beside it `offsets-00000.bin` (int64,
where each document begins, and the end) and `bytes-00000.bin` (int64, its length in UTF-8 bytes, for bits per byte).
`shards.json` names them all and is written last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chatwright.errors import InputError
from chatwright.files import atomic_writer, write_json
from chatwright.progress import Progress
from chatwright.records import Document

INDEX = "shards.json"
SHARD_TOKENS = 64 * 1024 * 1024
"""Tokens after which a new shard begins: 128 MiB of uint16."""
BATCH = 256
"""Documents encoded at once."""


class Tokenizer(Protocol):
    """What is needed of a tokenizer."""

    @property
    def bos(self) -> int: ...

    @property
    def vocab_size(self) -> int: ...

    def encode_batch(self, texts: Sequence[str], /) -> list[list[int]]: ...


def write_shards(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    out: Path,
    progress: Progress,
    *,
    tokenizer_id: str = "",
    shard_tokens: int = SHARD_TOKENS,
) -> TokenShards:
    """Encodes `documents` in order into `out` and opens the result; a shard ends behind the document that fills it.

    `tokenizer_id` is the id of the tokenizer's artefact, kept in the index so that nobody reads them with another.
    """
    dtype = np.dtype("<u2" if tokenizer.vocab_size < 65_536 else "<u4")
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX).unlink(missing_ok=True)
    shards: list[dict[str, Any]] = []
    pieces: list[NDArray[Any]] = []
    sizes: list[int] = []
    held = 0

    def close() -> None:
        nonlocal held
        name = f"{len(shards):05d}"
        offsets = np.concatenate([[0], np.cumsum([piece.size for piece in pieces])])
        _write_array(out / f"tokens-{name}.bin", np.concatenate(pieces))
        _write_array(out / f"offsets-{name}.bin", offsets.astype("<i8"))
        _write_array(out / f"bytes-{name}.bin", np.array(sizes, "<i8"))
        shards.append({"name": name, "documents": len(pieces), "tokens": held, "bytes": sum(sizes)})
        pieces.clear()
        sizes.clear()
        held = 0

    with progress.stage("tokens", total=len(documents)) as stage:
        for start in range(0, len(documents), BATCH):
            texts = [document.text for document in documents[start : start + BATCH]]
            for text, tokens in zip(texts, tokenizer.encode_batch(texts), strict=True):
                pieces.append(np.array([tokenizer.bos, *tokens], dtype))
                sizes.append(len(text.encode("utf-8", "surrogatepass")))
                held += pieces[-1].size
                if held >= shard_tokens:
                    close()
            stage.advance(start + len(texts))
    if pieces:
        close()
    totals = {key: sum(shard[key] for shard in shards) for key in ("documents", "tokens", "bytes")}
    about = {"dtype": dtype.str, "bos": tokenizer.bos, "tokenizer": tokenizer_id}
    write_json(out / INDEX, {**about, **totals, "shards": shards})
    return TokenShards.open(out)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with atomic_writer(path) as file:
        file.write(array.tobytes())


@dataclass(frozen=True, slots=True)
class TokenShards:
    """Documents as tokens, by number; nothing is read before it is asked for."""

    index: dict[str, Any]
    tokens: Sequence[NDArray[Any]]
    offsets: Sequence[NDArray[np.int64]]
    byte_counts: Sequence[NDArray[np.int64]]
    starts: NDArray[np.int64]
    """The number of the first document of each shard."""

    @staticmethod
    def open(path: Path | str) -> TokenShards:
        """Raises InputError where the folder holds no shards or a file has not the size the index says."""
        path = Path(path)
        try:
            index = json.loads((path / INDEX).read_text("utf-8"))
            shards = index["shards"]
            tokens = [_map(path / f"tokens-{s['name']}.bin", index["dtype"], s["tokens"]) for s in shards]
            offsets = [_map(path / f"offsets-{s['name']}.bin", "<i8", s["documents"] + 1) for s in shards]
            sizes = [_map(path / f"bytes-{s['name']}.bin", "<i8", s["documents"]) for s in shards]
        except FileNotFoundError as error:
            raise InputError(
                f"{error.filename} is missing, so {path} holds no token shards; write them again"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"the token shards in {path} are damaged ({error}); write them again") from None
        starts = np.cumsum([0] + [shard["documents"] for shard in shards])
        return TokenShards(index, tokens, offsets, sizes, starts)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def doc(self, number: int) -> NDArray[Any]:
        """The tokens of one document, bos first; a view of the file, not a copy."""
        shard, local = self._place(number)
        start, end = self.offsets[shard][local : local + 2]
        return self.tokens[shard][start:end]

    def bytes(self, number: int) -> int:
        """The length of one document's text in UTF-8 bytes."""
        shard, local = self._place(number)
        return int(self.byte_counts[shard][local])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.doc(number) for number in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, bos included."""
        return np.concatenate([np.zeros(0, np.int64), *(np.diff(offsets) for offsets in self.offsets)])

    @property
    def total_tokens(self) -> int:
        return self.index["tokens"]

    @property
    def total_bytes(self) -> int:
        return self.index["bytes"]

    def _place(self, number: int) -> tuple[int, int]:
        if not 0 <= number < len(self):
            raise IndexError(f"document {number} of {len(self)}")
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        return shard, number - int(self.starts[shard])


def _map(path: Path, dtype: str, count: int) -> NDArray[Any]:
    expected, size = count * np.dtype(dtype).itemsize, path.stat().st_size
    if size != expected:
        raise ValueError(f"{path.name} has {size} bytes instead of {expected}")
    return np.memmap(path, dtype, mode="r") if count else np.empty(0, dtype)
