"""One spelling per text: line endings, spaces, invisible characters and Unicode composition.

Everything that looks the same to a reader should be the same to the tokenizer, and nothing a reader cannot see
should reach it. The function is idempotent and never lengthens plain text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Form = Literal["NFC", "NFKC"]

# CR LF, CR, vertical tab, form feed, NEL, line and paragraph separator.
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")

# Control characters but tab and newline, soft hyphen, zero-width space, word joiner and byte order mark, bidirectional
# controls (they can show text in another order than it is stored, CVE-2021-42574), invisible operators, tag characters
# (used to smuggle instructions past readers), lone surrogates (not encodable) and noncharacters. Zero-width joiner and
# non-joiner stay: Persian, Indic scripts and emoji need them. Flags of regions written with tags lose their region.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def normalise(text: str, form: Form = "NFC") -> str:
    """`text` with "\\n" line ends, plain spaces, no invisible characters, in Unicode `form` (UAX 15).

    Spaces at line ends go, runs of blank lines become one, blank lines at both ends go; indentation stays.
    """
    text = _LINE_BREAK.sub("\n", text)
    text = _INVISIBLE.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize(form, text)
        text = _SPACE.sub(" ", text)
    text = _TRAILING.sub("", text)
    text = _BLANK_LINES.sub("\n\n", text)
    return text.strip("\n")
