"""Token shards: what is written comes back, whatever the split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.errors import InputError
from chatwright.progress import Progress
from chatwright.records import Document
from chatwright.text import TokenShards, write_shards


class Bytes:
    """One token a byte, and nothing of the package's own tokenizer."""

    bos = 256

    def __init__(self, vocab_size: int = 257, shift: int = 0) -> None:
        self.vocab_size, self.shift = vocab_size, shift

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [[byte + self.shift for byte in text.encode()] for text in texts]


def documents(*texts: str) -> list[Document]:
    return [Document(str(number), text) for number, text in enumerate(texts)]


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=20), limit=st.integers(1, 60))
def test_documents_come_back_with_bos_and_byte_counts(
    texts: list[str], limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("shards")
    shards = write_shards(documents(*texts), Bytes(), out, Progress(), tokenizer_id="tok-1", shard_tokens=limit)
    assert len(shards) == len(texts)
    assert [list(tokens) for tokens in shards] == [[256, *text.encode()] for text in texts]
    assert [shards.bytes(number) for number in range(len(texts))] == [len(text.encode()) for text in texts]
    assert shards.total_bytes == sum(len(text.encode()) for text in texts)
    assert shards.total_tokens == shards.total_bytes + len(texts)
    assert all(shard["tokens"] < limit + 125 for shard in shards.index["shards"])
    assert shards.index["tokenizer"] == "tok-1"


def test_documents_are_views_of_the_file(tmp_path: Path) -> None:
    write_shards(documents("abc", "de"), Bytes(), tmp_path, Progress())
    tokens = TokenShards.open(tmp_path).doc(1)
    assert isinstance(tokens, np.memmap)
    assert tokens.base is not None
    assert list(tokens) == [256, 100, 101]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_535, "<u2"), (65_536, "<u4"), (200_000, "<u4")])
def test_large_vocabularies_get_four_bytes(vocab_size: int, dtype: str, tmp_path: Path) -> None:
    shift = vocab_size - 300
    shards = write_shards(documents("abc"), Bytes(vocab_size, shift), tmp_path, Progress())
    assert shards.doc(0).dtype == np.dtype(dtype)
    assert list(shards.doc(0)[1:]) == [97 + shift, 98 + shift, 99 + shift]


def test_no_documents_make_empty_shards(tmp_path: Path) -> None:
    shards = write_shards([], Bytes(), tmp_path, Progress())
    assert (len(shards), shards.total_tokens, list(shards)) == (0, 0, [])
    with pytest.raises(IndexError):
        shards.doc(0)


def test_missing_or_short_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no token shards"):
        TokenShards.open(tmp_path)
    write_shards(documents("abc", "de"), Bytes(), tmp_path, Progress(), shard_tokens=1)
    file = tmp_path / "tokens-00001.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"damaged \(tokens-00001.bin has 5 bytes instead of 6\)"):
        TokenShards.open(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=r"tokens-00001.bin is missing"):
        TokenShards.open(tmp_path)


def test_interrupted_rewrite_is_not_taken_for_whole(tmp_path: Path) -> None:
    class Broken(Bytes):
        def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
            raise RuntimeError

    write_shards(documents("abc"), Bytes(), tmp_path, Progress())
    with pytest.raises(RuntimeError):
        write_shards(documents("other"), Broken(), tmp_path, Progress())
    with pytest.raises(InputError):
        TokenShards.open(tmp_path)
