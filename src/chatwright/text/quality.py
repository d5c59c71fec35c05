"""Rules that say whether a document is worth learning from, each a pure function: a reason in words, or None.

The thresholds are those of Gopher (Rae et al. 2021, appendix A1.1), C4 (Raffel et al. 2020, section 2.2) and FineWeb
(Penedo et al. 2024), read from datatrove 0.10.1. They were made for whole web pages of hundreds of words; a small
corpus lives on documents of 30 to 150 words, lists, dialogues, sums and code. Where a rule was eased for them, its
docstring says how and why.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.text.language import STOP_WORDS, guess_language, latin_words
from chatwright.text.words import count_words, is_unspaced

LONG = 100
"""Words from which a document is long enough for a rule that counts how often something repeats."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a document is dropped: the rule's name, and what it saw."""

    rule: str
    detail: str


class Page:
    """A document as the rules see it; every view is computed once, when first asked for."""

    def __init__(self, text: str, language: str | None = None) -> None:
        self.text = text
        self._language = language

    @cached_property
    def words(self) -> list[str]:
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @cached_property
    def lettered(self) -> list[str]:
        """Words that hold a letter, without the punctuation around them."""
        return [word.strip(_PUNCTUATION) for word in self.words if _LETTER.search(word)]

    @cached_property
    def unspaced(self) -> bool:
        return is_unspaced(self.text)

    @cached_property
    def latin(self) -> list[str]:
        return latin_words(self.text)

    @cached_property
    def is_latin(self) -> bool:
        """Whether Latin script prevails: a Russian text that names a few firms is not judged by their names."""
        return self.text.isascii() or 2 * sum(map(len, self.latin)) > sum(map(len, self.lettered))

    @cached_property
    def language(self) -> str | None:
        """As given with the document, else a guess."""
        return self._language or guess_language(self.latin)

    @cached_property
    def is_code(self) -> bool:
        """At least two lines, and 15 % of them, read like a program: rules about prose say nothing then."""
        hits = sum(bool(_CODE_LINE.search(line)) for line in self.lines)
        return "```" in self.text or (hits >= 2 and hits >= 0.15 * len(self.lines))


_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»¿¡…—–"
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(r"[-+]?[$€£]?\d[\d.,:/%]*[.,;:?!)]*|[-+*/=×÷<>?]+")
_CODE_LINE = re.compile(
    r"^(?:def|class|import|from|return|for|while|if|elif|else|try|except|with|print|async|assert|raise|lambda)\b.*[:(\[=]"
    r"|^(?:import|return|from)\s+[\w.]+|^[\w.\[\]'\"]+\s*[-+*/]?=\s*\S|^[\w.]+\([^)]*\)$|^(?:>>>|#|//|@\w|\}|\))|[;{]$"
)
_TERMINAL = tuple(".!?\"'”’…。！？؟।॥۔။:;)»")


def too_short(page: Page, min_words: int) -> str | None:
    """Fewer words than asked for. Gopher drops below 50, which would leave nothing of a corpus of short texts."""
    count = count_words(page.text)
    return f"{count} words, fewer than {min_words}" if count < min_words else None


def word_length(page: Page) -> str | None:
    """Gopher: the mean word has 3 to 10 letters.

    Eased to 2 to 12 and to words with a letter: spelling lessons and sums hold many words of one letter, and
    Finnish or German prose of few words passes 10.
    """
    words = [word for word in page.lettered if "://" not in word]
    if page.unspaced or page.is_code or not words:
        return None
    mean = sum(map(len, words)) / len(words)
    return None if 2 <= mean <= 12 else f"mean word length {mean:.1f}"


def symbols(page: Page) -> str | None:
    """Gopher: at most one "#" and one ellipsis to ten words. "#" begins a comment in code, which is left alone."""
    if page.is_code or not page.words:
        return None
    for name, count in (("#", page.text.count("#")), ("ellipsis", page.text.count("...") + page.text.count("…"))):
        if count / len(page.words) > 0.1 and count > 1:
            return f"{count} {name} in {len(page.words)} words"
    return None


def few_letters(page: Page) -> str | None:
    """Gopher: at least 80 % of the words hold a letter.

    Numbers and operators between spaces are left out of the count, so that sums and tables of facts pass; a text
    of hardly anything else passes only where it holds an equation.
    """
    if page.unspaced or page.is_code or not page.words:
        return None
    others = [word for word in page.words if not _NUMBER.fullmatch(word)]
    lettered = len(page.lettered)
    if others and lettered / len(others) < 0.8:
        return f"{lettered} of {len(others)} words hold a letter"
    if lettered < 0.1 * len(page.words) and "=" not in page.text:
        return f"{lettered} of {len(page.words)} words hold a letter"
    return None


def bullets(page: Page) -> str | None:
    """Gopher: at most 90 % of the lines are bullets, at most 30 % end in an ellipsis; from four lines on."""
    if page.is_code or len(page.lines) < 4:
        return None
    starred = sum(line.startswith(("•", "‣", "*", "- ", "– ", "▪", "●")) for line in page.lines)
    if starred > 0.9 * len(page.lines):
        return f"{starred} of {len(page.lines)} lines are bullets"
    trailing = sum(line.endswith(("...", "…")) for line in page.lines)
    if trailing > 0.3 * len(page.lines):
        return f"{trailing} of {len(page.lines)} lines end in an ellipsis"
    return None


def stop_words(page: Page) -> str | None:
    """Gopher: English prose holds at least two of "the, be, to, of, and, that, have, with".

    Here the list is longer (the forms of "be" and the other commonest words) and one is enough below 50 words: eight
    words miss a short text too easily. Text in another language is not judged, but 15 words of Latin script without
    one stop word of any of nineteen languages are no prose.
    """
    if page.is_code or not page.is_latin or len(page.latin) < 15:
        return None
    found = len(STOP_WORDS["en"].intersection(page.latin))
    if found >= (1 if len(page.latin) < 50 else 2):
        return None
    if page.language is None:
        return f"no stop word of any known language in {len(page.latin)} words"
    return f"{found} English stop words in {len(page.latin)} words" if page.language == "en" else None


def repeated_lines(page: Page) -> str | None:
    """Gopher: at most 30 % of the lines, and of the paragraphs, repeat an earlier one.

    The limit of 20 % on their characters, and FineWeb's 1 %, hold for long pages only: a refrain is a large part of
    a short story. Below four lines there is nothing to count.
    """
    if page.is_code:
        return None
    paragraphs = [p.strip() for p in page.text.split("\n\n") if p.strip()]
    for name, parts in (("lines", page.lines), ("paragraphs", paragraphs)):
        repeated = [part for part, count in Counter(parts).items() for _ in range(count - 1)]
        if len(parts) >= 4 and len(repeated) > 0.3 * len(parts):
            return f"{len(repeated)} of {len(parts)} {name} are repeated"
        if len(page.words) >= 4 * LONG and sum(map(len, repeated)) > 0.2 * len(page.text):
            return f"repeated {name} are {sum(map(len, repeated)) / len(page.text):.0%} of the text"
    return None


_TOP_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def repeated_ngrams(page: Page) -> str | None:
    """Gopher: the commonest 2-, 3- and 4-gram hold at most 20, 18 and 16 % of the characters, repeated 5- to 10-grams
    at most 15 to 10 %.

    Those limits hold from 400 words on. Below, three questions of one form pass them easily, so that only a text of
    which half or more is one phrase, or 80 % repeated 10-grams, is dropped.
    """
    words, total = page.words, len(page.text)
    if page.is_code or len(words) < 12:
        return None
    full = len(words) >= 4 * LONG
    if not full and sum(map(len, set(words))) > 0.75 * sum(map(len, words)):
        return None  # no phrase can be half of a text that repeats less than a quarter of its words
    for n, limit in _TOP_NGRAMS.items():
        ngram, count = Counter(zip(*(words[i:] for i in range(n)), strict=False)).most_common(1)[0]
        share = count * len(" ".join(ngram)) / total
        if count > 1 and share > (limit if full else 0.5):
            return f"{' '.join(ngram)!r} is {share:.0%} of the text"
    for n, limit in (_REPEATED_NGRAMS if full else {10: 0.8}).items():
        share = _repeated_characters(words, n) / total
        if share > limit:
            return f"repeated {n}-grams are {share:.0%} of the text"
    return None


def _repeated_characters(words: list[str], n: int) -> int:
    """Characters in n-grams seen before, counted as datatrove does: after a repeat it goes on behind it."""
    seen: set[tuple[str, ...]] = set()
    repeated = index = 0
    while index <= len(words) - n:
        ngram = tuple(words[index : index + n])
        if ngram in seen:
            repeated += len("".join(ngram))
            index += n
        else:
            seen.add(ngram)
            index += 1
    return repeated


# By a literal that every match holds, so that most patterns need not be tried.
_NOTICES = {
    literal: re.compile(rf"(?<!\w)(?:{pattern})", re.IGNORECASE)
    for literal, pattern in {
        "lorem": r"lorem ipsum",
        "script": r"(?:enable|turn on|activate|requires?|needs?) java ?script"
        r"|java ?script (?:is|must be|has been|needs to be) (?:disabled|required|turned|enabled|not|switched)",
        "cookie": r"(?:use[sd]?|using|accept(?:ing)?|of|our|all|allow|manage|set|store) (?:\w+ )?cookies "
        r"(?:to|and|on|in|for|or|by)|(?:accept|allow|manage|reject) (?:all |our )?cookies"
        r"|(?:site|website|page|we) uses? (?:\w+ )?cookies"
        r"|cookies? (?:policy|settings|preferences|notice|consent|banner)",
        "privacy": r"privacy (?:policy|notice)",
        "terms": r"terms (?:of|and) (?:use|service|conditions)|terms ?[|>»]",
        "rights reserved": r"all rights reserved",
        "copyright": r"copyright (?:©|\(c\))",
        "©": r"©\s*\d{4}",
        "log": r"(?:log|logged)[ -]?in (?:to (?:continue|view|read|your|comment|see|access|post)|or|required)"
        r"|(?:please|must(?: be)?) (?:log|logged)[ -]?in",
        "sign": r"(?:sign|signed)[ -]?in (?:to (?:continue|view|read|your|comment|see|access|post)|or|required)"
        r"|(?:please|must(?: be)?) (?:sign|signed)[ -]?in|sign up for our",
        "account": r"create an? (?:free )?account",
        "remember me": r"remember me",
        "password": r"forgot(?:ten)? (?:your )?password",
        "subscribe": r"subscribe (?:now|to (?:our|the (?:news|channel|mailing)))",
        "newsletter": r"(?:our|weekly|daily) newsletter",
        "click here": r"click here",
        "share": r"share (?:this )?(?:on|via) (?:facebook|twitter|linkedin|email)",
        "follow us": r"follow us on",
        "skip to": r"skip to (?:main )?content",
        "back to top": r"back to top",
        "page": r"page (?:not found|is loading|you requested)|(?:next|previous) page\W*(?:$|[|>»])|page \d+ of \d+",
        "browser": r"your browser",
        "powered by": r"powered by \w+",
        "cart": r"add to cart|your cart is",
        "shipping": r"free shipping",
        "continue shopping": r"continue shopping",
        "load more": r"load more",
        "sponsored": r"sponsored (?:content|links?)",
        "read more": r"read more\W*$",
        "contact us": r"contact us\W*$",
        "advertisement": r"advertisement\W*$",
        "home": r"home ?[|>»]|[|>»] ?home",
        "about": r"about(?: us)? ?[|>»]",
    }.items()
}
_SENTENCE = re.compile(r"[^.!?\n|]+(?:[|][^.!?\n]*)*")


def boilerplate(page: Page) -> str | None:
    """C4: no "lorem ipsum", and no notices about JavaScript, cookies, policies or logging in.

    C4 drops each line that holds the word "javascript" or a policy phrase. Here the phrases are narrower, so that a
    page about JavaScript stays, and the document goes when they fill 30 % of its words; "lorem ipsum" may be mentioned
    in a text of 400 words. C4's rule that "{" marks a
    page of code is left out, since code is wanted; so are its rules on sentences (at least five) and on lines without
    a full stop, which FineWeb found to cost more than they bring.
    """
    lowered = page.text.lower()
    notices = [pattern for literal, pattern in _NOTICES.items() if literal in lowered]
    if page.is_code or not any(pattern.search(page.text) for pattern in notices):
        return None
    if len(page.words) < 4 * LONG and "lorem ipsum" in lowered:
        return "lorem ipsum"
    total = noticed = 0
    for sentence in _SENTENCE.findall(page.text):
        words = len(sentence.split())
        total += words
        noticed += words if any(pattern.search(sentence) for pattern in notices) else 0
    return f"notices are {noticed / total:.0%} of the words" if total and noticed >= 0.3 * total else None


def layout(page: Page) -> str | None:
    """FineWeb: at least 12 % of the lines end in punctuation, at most 67 % have 30 characters or fewer, at most
    three line breaks to ten words.

    From five lines on, and the last two only where fewer than half of the lines end in punctuation: the lines of a
    dialogue or a recipe are short but closed, those of a menu are not.
    """
    lines = page.lines
    if page.is_code or page.unspaced or len(lines) < 5:
        return None
    closed = sum(line.endswith(_TERMINAL) for line in lines)
    if closed < 0.12 * len(lines):
        return f"{closed} of {len(lines)} lines end in punctuation"
    short = sum(len(line) <= 30 for line in lines)
    if closed < 0.5 * len(lines) and short > 0.67 * len(lines):
        return f"{short} of {len(lines)} lines are short"
    breaks = page.text.count("\n")
    if closed < 0.5 * len(lines) and breaks > 0.3 * len(page.words):
        return f"{breaks} line breaks in {len(page.words)} words"
    return None


# The letters that follow each letter in at least 1 of 2,500 letter pairs of English, German, French, Spanish, Swahili
# or Python, accents taken off: 361 of 676 pairs. In those languages 0.6 to 1.5 % of the pairs are others, in Polish and
# Czech 10 %, in a page of transliterated place names up to 15 %, in random letters 47 %.
_FOLLOWERS = {
    "a": "abcdefghijklmnoprstuvwxyz", "b": "aeilorstuwy", "c": "acehiklortuy", "d": "adeghiorsu",
    "e": "abcdefghijklmnopqrstuvwxyz", "f": "aefilortu", "g": "aehilnorstuw", "h": "aeilmnorstuw",
    "i": "abcdefghijklmnopqrstuvwxyz", "j": "aeiou", "k": "aeilorstuw", "l": "abcdefgilmostuy",
    "m": "abcefikmoprstuwyz", "n": "acdefghijklnopqstuvyz", "o": "abcdfghijklmnoprstuvwyz", "p": "aefhiloprstuy",
    "q": "u", "r": "abcdefghiklmnorstuvwyz", "s": "acehiklmopqstuwy", "t": "aceghilmoprstuwyz",
    "u": "abcdefghijklmnoprstuvwxyz", "v": "aeioruy", "w": "aehinou", "x": "aipt", "y": "aeiopstu", "z": "aeiotuw",
}  # fmt: skip
_ACCENT = re.compile("[\u0300-\u036f]")
_OTHER, _COMMON, _RARE = 0, 1, 2


def _pair_kinds() -> NDArray[np.uint8]:
    """(128, 128): whether two ASCII characters are a common pair of letters, a rare one, or no letters."""
    kinds = np.full((128, 128), _OTHER, np.uint8)
    for first, seconds in _FOLLOWERS.items():
        for second in string.ascii_lowercase:
            kinds[ord(first), ord(second)] = _COMMON if second in seconds else _RARE
    return kinds


_PAIR_KINDS = _pair_kinds()


def gibberish(page: Page) -> str | None:
    """More than 20 % of the letter pairs are pairs that hardly occur; no published rule.

    It sees keyboard mash and random letters in a dozen words, accents taken off. Long tokens without spaces and symbols
    fall to `word_length` and `few_letters`; sounding nonsense falls to `stop_words`.
    """
    if not page.is_latin:
        return None
    text = page.text.lower()
    if not text.isascii():
        text = _ACCENT.sub("", unicodedata.normalize("NFD", text))
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    counts = np.bincount(_PAIR_KINDS[codes[:-1], codes[1:]], minlength=3)
    rare, pairs = int(counts[_RARE]), int(counts[_RARE] + counts[_COMMON])
    if pairs >= 20 and rare > (0.3 if page.is_code else 0.2) * pairs:
        return f"{rare / pairs:.0%} of the letter pairs are rare"
    return None


RULES: dict[str, Callable[[Page], str | None]] = {
    "gibberish": gibberish,
    "boilerplate": boilerplate,
    "word_length": word_length,
    "symbols": symbols,
    "few_letters": few_letters,
    "bullets": bullets,
    "stop_words": stop_words,
    "repeated_lines": repeated_lines,
    "repeated_ngrams": repeated_ngrams,
    "layout": layout,
}


def judge(text: str, *, min_words: int = 0, meta: dict[str, Any] | None = None, quality: bool = True) -> Finding | None:
    """The first rule that `text` breaks, or None; `meta["language"]`, where given, settles the language."""
    language = (meta or {}).get("language")
    page = Page(text, str(language)[:2].lower() if language else None)
    if why := too_short(page, min_words):
        return Finding("too_short", why)
    for name, rule in RULES.items() if quality else ():
        if why := rule(page):
            return Finding(name, why)
    return None
