"""What is masked, what must stay, and how well on sentences made for testing."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.text import find_pii, mask_pii
from chatwright.text.pii import KINDS, luhn

MASKED = {
    "EMAIL": ["to ana.b+c@mail.example.org.", "<o'neil@example.co.uk>", "Mail: josé@correo.es", "x_y@a-b.io, please"],
    "PHONE": [
        "(415) 555-2671", "415-555-2671", "+1 415 555 2671", "+1-415-555-2671 x45", "415.555.2671", "+44 20 7946 0958",
        "+447700900123", "+34 612 345 678", "+49 (0)30 901820", "01 42 68 53 00", "020 7946 0958", "0341 8387176",
        "call me at 612 345 678", "Phone: 467 3395", "teléfono: 612 34 56 78", "my number is 5403926876", "555-0142",
        "tel. 60-56-85-91", "(602)272-9781", "001-518-640-0854",
    ],
    "IP_ADDRESS": ["203.0.113.7", "from 192.168.1.20.", "the DNS server 8.8.8.8 and 41.173.96.26", "10.24.3.99"],
    "CARD": [
        "4111111111111111", "4111 1111 1111 1111", "5555-5555-5555-4444", "3782 822463 10005", "card 30569309025904.",
    ],
    "IBAN": ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "fr14 2004 1010 0505 0001 3m02 606 and more"],
    "SSN": ["078-05-1120", "My SSN is 219 09 9999"],
    "SECRET": [
        "AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "sk-proj-abcDEF1234567890abcdefXYZ",
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "xoxb-123456789012-abcdefGHIJKL", "password: hunter2hunter2",
        "api_key = 'a8f5f167f44f4964e6c998dee827110c'", "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
    ],
}  # fmt: skip

LEFT = [
    "In 1999 and 2024, from 1939-1945 and 2000-2011, on 2024-03-15, 15/03/2024 and 03-15-2024.",
    "It costs $1,234.56 or 1.299,00 € or 12 000 000 dollars or 1 000 000.",
    "Version 1.2.3.4, release 10.15.7.2, section 4.1.2.3, Python 3.11.7 and 127.0.0.1 and 255.255.255.0.",
    "4111111111111111 + 1 = 4111111111111112 and 12345678901234567890 * 3",
    "4155552671 + 6125551234 = 10281103905; 415-555 = -140; 2 - 3 - 4 = -5",
    "1234567890123456 7 8 9",
    "08 02 22 97 38 15 00 40 00 75 04 05 07 78 52 12 50 77 91 08",
    "3.14159265358979 and 2.718281828459045 and 0.5772156649",
    "They called on 2024-01-02 and on 12-03-2024. The phone of 2020-2021.",
    "The call came in 1998. We can reach 1 000 000 people. Call 12 friends.",
    "def f(x): return x @ y  # decorator @app.route and user@ and @name",
    "token = tokenizer.encode(text); password = getpass(); secret: keep it",
    "ISBN 978-3-16-148410-0, 000-12-3456, 666-12-3456, 123-00-4567",
    "GB82 WEST 1234 5698 7654 33 has a wrong check digit, and so has 4111 1111 1111 1112.",
    "The score was 21-15, 21-18; the years 1914-1918; the verse 3:16; the ratio 16:9.",
    "Task sk-learn-based-approach-to-things and the word risk-management-is-for-everybody-here.",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in MASKED.items() for text in texts])
def test_masked_as_its_kind(kind: str, text: str) -> None:
    masked, counts = mask_pii(text)
    assert counts.keys() == {kind}, masked
    assert f"[{kind}]" in masked
    assert not any(character.isdigit() for character in masked), masked


@pytest.mark.parametrize("text", LEFT)
def test_left_alone(text: str) -> None:
    assert mask_pii(text) == (text, Counter())


def test_everything_else_of_the_text_stays() -> None:
    masked, counts = mask_pii("Ana (ana@b.org, 415-555-2671) met Ben on 2024-01-02 at 203.0.113.7.")
    assert masked == "Ana ([EMAIL], [PHONE]) met Ben on 2024-01-02 at [IP_ADDRESS]."
    assert counts == {"EMAIL": 1, "PHONE": 1, "IP_ADDRESS": 1}


pieces = st.one_of(st.text(max_size=12), st.sampled_from([t for texts in MASKED.values() for t in texts] + LEFT))


@given(st.lists(pieces, max_size=6).map(" ".join))
def test_twice_is_once_and_spans_do_not_overlap(text: str) -> None:
    spans = find_pii(text)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    masked, counts = mask_pii(text)
    assert sum(counts.values()) >= len(spans)
    assert mask_pii(masked) == (masked, Counter())


@given(st.integers(10**10, 10**18))
def test_luhn_finds_every_single_wrong_digit(number: int) -> None:
    body = str(number)
    valid = next(body + str(check) for check in range(10) if luhn(body + str(check)))
    for index, digit in enumerate(valid):
        wrong = valid[:index] + str((int(digit) + 1) % 10) + valid[index + 1 :]
        assert not luhn(wrong)


def test_placeholder_is_no_special_token_and_no_markup() -> None:
    masked, _ = mask_pii("ana@b.org")
    assert not set(masked) & set("<>|")


def test_long_input_takes_linear_time() -> None:
    """A pattern that backtracks would not come back from these within the life of the test run."""
    for hostile in (
        "1" * 50_000,
        "1 " * 25_000,
        "a@" * 25_000,
        "a." * 25_000,
        "+1" * 25_000,
        "eyJ" * 20_000,
        "-" * 50_000,
    ):
        find_pii(hostile)


PRESIDIO = {
    "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CARD", "IBAN_CODE": "IBAN", "US_SSN": "SSN", "IP_ADDRESS": "IP_ADDRESS",
    "EMAIL_ADDRESS": "EMAIL",
}  # fmt: skip
FLOORS = {"EMAIL": 1.0, "IBAN": 1.0, "SSN": 1.0, "IP_ADDRESS": 1.0, "CARD": 0.95, "PHONE": 0.85}


def test_recall_and_precision_on_presidio_sentences(presidio: list[dict[str, Any]]) -> None:
    truth, hit, found, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for row in presidio:
        spans = find_pii(row["text"])
        gold = [(s["start"], s["end"], PRESIDIO[s["label"]]) for s in row["spans"] if s["label"] in PRESIDIO]
        for start, end, kind in gold:
            truth[kind] += 1
            hit[kind] += any(span.start <= start and end <= span.end for span in spans)
        for span in spans:
            found[span.kind] += 1
            right[span.kind] += any(span.start < end and start < span.end for start, end, _ in gold)
    for kind in KINDS:
        recall = hit[kind] / truth[kind] if truth[kind] else None
        precision = right[kind] / found[kind] if found[kind] else None
        print(f"{kind:<11} recall {recall} of {truth[kind]}, precision {precision} of {found[kind]}")
        assert recall is None or recall >= FLOORS[kind]
        assert precision is None or precision >= 0.95
