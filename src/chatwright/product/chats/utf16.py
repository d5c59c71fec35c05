"""Lengths as pages count them. A page's text is a row of UTF-16 units, ours of code points; offsets between them are
in the page's."""

from __future__ import annotations


def units(text: str) -> int:
    """UTF-16 units of a text."""
    return len(text) + sum(character > "\uffff" for character in text)


def clip(text: str, most: int) -> str:
    """As many whole characters as fit into `most` UTF-16 units."""
    if most >= 2 * len(text):
        return text
    count = 0
    for index, character in enumerate(text):
        count += 2 if character > "\uffff" else 1
        if count > most:
            return text[:index]
    return text
