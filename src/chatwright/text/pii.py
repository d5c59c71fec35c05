"""Finds and masks personal data and secrets: e-mail, phone, IP address, payment card, IBAN, US SSN, keys.

A mask is a typed placeholder in square brackets, `[EMAIL]`: readable, no HTML that a page would swallow, and without
the "<|" with which the special tokens of the chat template begin. Numbers are the hard part: a kind with a checksum is
masked when the checksum holds; a number without one only when its form is a phone's and nothing else's, or when the
words before it say so. Years, prices, versions, sums and dates stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = ("SECRET", "EMAIL", "IBAN", "CARD", "IP_ADDRESS", "SSN", "PHONE")
"""In order of strength: where two kinds claim the same characters, the earlier one has them."""


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` is personal data of `kind`."""

    start: int
    end: int
    kind: str


def mask(text: str) -> tuple[str, Counter[str]]:
    """`text` with every span replaced by its placeholder, and how many of each kind there were. Idempotent."""
    counts: Counter[str] = Counter()
    while spans := find(text):  # once more: what stood in the way of a look-behind may be masked now
        parts, at = [], 0
        for span in spans:
            parts += [text[at : span.start], f"[{span.kind}]"]
            at = span.end
        text = "".join([*parts, text[at:]])
        counts.update(span.kind for span in spans)
    return text, counts


def find(text: str) -> list[Span]:
    """The spans of personal data in order, none overlapping another."""
    taken: list[Span] = []
    digits = len(_DIGIT.findall(text))
    for kind in KINDS:
        if digits < _FEWEST_DIGITS.get(kind, 0):
            continue
        for start, end in _FINDERS[kind](text):
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Span(start, end, kind))
    return sorted(taken, key=lambda span: span.start)


_DIGIT = re.compile(r"\d")
_FEWEST_DIGITS = {"IBAN": 8, "CARD": 12, "IP_ADDRESS": 4, "SSN": 9, "PHONE": 7}
"""No span of the kind has fewer, so most texts need no search for it."""

Finder = Callable[[str], Iterator[tuple[int, int]]]

# Every quantifier is bounded or anchored by a look-behind, so that each pattern is linear in the text.
_EMAIL = re.compile(r"(?<![\w.%+'-])[\w%+'-](?:[\w.%+'-]{0,62}[\w%+'-])?@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@])")


def _emails(text: str) -> Iterator[tuple[int, int]]:
    """RFC 5321 addresses of the dotted form; quoted local parts and bare hosts are left alone."""
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


_SECRET = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{22,255}|glpat-[\w-]{20,64}"  # GitHub, GitLab
    r"|(?:sk|pk|rk)[-_](?:[a-z]{2,12}[-_]){0,3}[A-Za-z0-9_-]{16,200}"  # OpenAI, Anthropic, Stripe
    r"|xox[abeoprs]-[\w-]{10,250}|AIza[\w-]{35}|ya29\.[\w-]{20,250}"  # Slack, Google
    r"|hf_[A-Za-z0-9]{20,64}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,250}|dop_v1_[a-f0-9]{64}|SG\.[\w-]{20,24}\.[\w-]{40,50}"
    r"|eyJ[\w-]{8,2000}\.eyJ[\w-]{8,4000}\.[\w-]{8,1000}"  # JSON web token, RFC 7519
    r")(?![A-Za-z0-9_-])"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?s:.{0,8000}?)-----END [A-Z ]{0,30}PRIVATE KEY-----"
)
_LONG_RUN = re.compile(r"[\w-]{15}")
_ASSIGNED = re.compile(
    r"(?i:api[ _-]?key|secret(?:[ _-]?key)?|access[ _-]?key|token|passwo?r?d|passwd|passphrase)"
    r"[\"']?\s{0,3}(?:[:=]|is:?)\s{0,3}[\"'`]?(?P<value>[A-Za-z0-9_\-./+!@#$%^&*~]{8,200})"
)


def _secrets(text: str) -> Iterator[tuple[int, int]]:
    """Keys with a maker's prefix, private key blocks, and what stands behind "password:" and its kin.

    The latter only when it mixes letters and digits and is no call, path or placeholder; shorter than 8 characters it
    could be anything.
    """
    if _LONG_RUN.search(text) or "PRIVATE KEY" in text:
        yield from (match.span() for match in _SECRET.finditer(text) if re.search(r"[\dA-Z]", match[0][3:]))
    for match in _ASSIGNED.finditer(text):
        value = match["value"].rstrip(".!")
        end = match.start("value") + len(value)
        if len(value) >= 8 and re.search(r"\d", value) and re.search(r"[A-Za-z]", value) and text[end : end + 1] != "(":
            yield match.start("value"), end


# Length of an IBAN by country (ISO 13616 registry).
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
_IBAN = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """ISO 13616: country, length and the remainder 1 modulo 97 must hold."""
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2].upper(), 0)
        positions = [i for i in range(match.start(), match.end()) if text[i].isalnum()][:length]
        code = "".join(text[i] for i in positions).upper()
        if length and len(code) == length and not text[positions[-1] + 1 : positions[-1] + 2].isalnum():
            digits = "".join(str(int(character, 36)) for character in code[4:] + code[:4])
            if int(digits) % 97 == 1:
                yield match.start(), positions[-1] + 1


_CARD = re.compile(
    r"(?<![\w.,+$€£-])(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|[.,]\d)"
)
# Visa; Mastercard; American Express and Diners; JCB; Discover and UnionPay; Maestro.
_ISSUER = re.compile(r"4|5[0-8]|2[2-7]|3[0-9]|1800|2131|6[0-9]")


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: doubling every second digit from the right, the digit sum is a multiple of ten."""
    return sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(reversed(digits))) % 10 == 0


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if 12 <= len(digits) <= 19 and _ISSUER.match(digits) and luhn(digits) and not _is_sum(text, *match.span()):
            yield match.span()


_OPERATOR_BEFORE = re.compile(r"[=*×÷^<>+]\s{0,2}$|\d\s{0,2}[-/]\s{1,2}$")
_OPERATOR_AFTER = re.compile(r"\s{0,2}[=*×÷^+]|\s{1,2}[-/]\s{0,2}\d|\s?%")


def _is_sum(text: str, start: int, end: int) -> bool:
    """Whether the number is an operand: of long arithmetic one number in ten would pass for a card."""
    return bool(_OPERATOR_BEFORE.search(text[max(0, start - 4) : start]) or _OPERATOR_AFTER.match(text, end))


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])")
_VERSION_CUE = re.compile(
    r"(?:\b(?:version|release[sd]?|v|ver|build|updated?|upgraded?|section|chapter|clause)|§)[. ]{0,2}(?:to |from )?$",
    re.IGNORECASE,
)
_ADDRESS_CUE = re.compile(r"\b(?:ip|ipv4|address|host|server|dns|gateway|ping)(?: (?:is|of|at))?\W{0,3}$", re.I)
_NOBODYS = re.compile(r"127\.|0\.|255\.")


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """IPv4 (and IPv6 in full form). Loopback, "this network" and netmasks belong to nobody; a quad after "version" or
    "section", or with every part below 20 and no word such as "host" before it, is taken for a version or a heading."""
    for match in _IPV4.finditer(text):
        before = text[max(0, match.start() - 30) : match.start()]
        version = _VERSION_CUE.search(before)
        small = all(int(octet) < 20 for octet in match[0].split(".")) and not _ADDRESS_CUE.search(before)
        if not (version or small or _NOBODYS.match(match[0])):
            yield match.span()
    yield from (match.span() for match in _IPV6.finditer(text))


_SSN = re.compile(r"(?<![\w-])(?!000|666)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
_SSN_CUE = re.compile(r"(?:\bssn|social security)\D{0,30}$", re.IGNORECASE)


def _ssns(text: str) -> Iterator[tuple[int, int]]:
    """Dashed 3-2-4, but the groups that are never issued; with spaces only after "SSN" or "social security"."""
    for match in _SSN.finditer(text):
        if match[1] == "-" or _SSN_CUE.search(text[max(0, match.start() - 50) : match.start()]):
            yield match.span()


_EXTENSION = r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?"
_PHONE_FORMS = (
    r"(?:(?:\+|00)?1[-. ])?(?:\([2-9]\d\d\)[ -]?\d{3}[-. ]|[2-9]\d\d-\d{3}-|[2-9]\d\d\.\d{3}\.)\d{4}"
    + _EXTENSION,  # US
    r"(?:\+|00)1[-. ]\(?[2-9]\d\d\)?[-. ]\d{3}[-. ]?\d{4}" + _EXTENSION,
    r"\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}",  # international, ITU-T E.164: up to 15 digits
    r"0[1-9](?:[ .-]\d\d){4}",  # a leading zero, which no number but a phone's has: France
    r"(?!\d{3}-\d\d-)0\d{1,4}(?P<gap>[ -])\d{2,4}(?:(?P=gap)\d{2,4}){1,3}|0\d{3} \d{6,7}",
    r"\(0\d{1,4}\)[ -]?\d{3,4}[ -]?\d{3,4}",
    r"555-\d{4}",  # the exchange set apart for fiction
)
_BEFORE, _AFTER = r"(?<![\w.,/=$€£+-])(?<!\d )", r"(?![\w-]|[ .,]\d)"  # no part of a longer row of numbers
_PHONE = re.compile(rf"{_BEFORE}(?:{'|'.join(_PHONE_FORMS)}){_AFTER}")
_PHONE_CUES = (
    r"(?:tele)?phones?|tel|mobile|cell|fax|whats ?app|hotline|sms|desk|my number|(?:call|dial|contact)(?:ing|ed)?",
    r"(?:text|ring|reach) (?:me|us|him|her|them)|tel[ée]fono|m[oó]vil|ll[aá]m\w+|t[ée]l[ée]phone|appel\w*|portable",
    r"handy|telefon\w*",
)
_PHONE_CUE = re.compile(rf"(?<![\[\w])(?:{'|'.join(_PHONE_CUES)})\b[^\d\n!?]{{0,30}}$", re.IGNORECASE)
_NO_PHONE = re.compile(  # from year to year, a date, a round number
    r"\D*(?:1\d|20)\d\d\D+(?:1\d|20)\d\d\D*|\d{4}[-. ]\d\d[-. ]\d\d|\d\d?[-. ]\d\d?[-. ]\d{4}|.*000", re.DOTALL
)
_CUED = re.compile(rf"{_BEFORE}\+?\(?\d{{1,5}}\)?(?:[ .-]?\(?\d{{1,5}}\)?){{1,6}}{_EXTENSION}{_AFTER}")


def _phones(text: str) -> Iterator[tuple[int, int]]:
    """Numbers in a form only phones have (grouped US, "+" and country, leading zero), and any number of 7 to 15 digits
    behind a word such as "phone" or "call me"."""
    for match in _PHONE.finditer(text):
        fewest, most = (9 if match[0].startswith("0") else 7), (21 if "x" in match[0] else 15)
        if fewest <= _digits(match[0]) <= most and not _is_sum(text, *match.span()):
            yield match.span()
    for match in _CUED.finditer(text):
        before = text[max(0, match.start() - 60) : match.start()]
        if 7 <= _digits(match[0]) <= 15 and _PHONE_CUE.search(before) and not _NO_PHONE.fullmatch(match[0]):
            yield match.span()


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)


_FINDERS: dict[str, Finder] = {
    "SECRET": _secrets,
    "EMAIL": _emails,
    "IBAN": _ibans,
    "CARD": _cards,
    "IP_ADDRESS": _addresses,
    "SSN": _ssns,
    "PHONE": _phones,
}
