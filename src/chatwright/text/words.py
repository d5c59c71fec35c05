"""What counts as a word, for the rules that count and for the deduplication that compares."""

from __future__ import annotations

import re

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han. Hangul is written with spaces.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def compared_words(text: str) -> list[str]:
    """Lower-case words without punctuation; in scripts without spaces each character is one word."""
    return _WORD.findall(text.lower())


def count_words(text: str) -> int:
    """Words between spaces; scripts without spaces count two characters as a word, about their average."""
    unspaced = len(_UNSPACED_CHARACTER.findall(text))
    return max(len(text.split()), unspaced // 2)


def is_unspaced(text: str) -> bool:
    """Whether most of `text` is in a script without spaces, where rules on words say nothing."""
    return not text.isascii() and 2 * len(_UNSPACED_CHARACTER.findall(text)) > len(text)
