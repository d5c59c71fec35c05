"""One spelling per text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.text import normalise
from chatwright.text.normalise import Form

awkward = st.text(
    alphabet=st.one_of(
        st.characters(), st.sampled_from("\r\n\t \x85\u2028\u200b\u200d\ufeff\u202e\xa0\u0301e\u1100\u1161\u11a8\ud800")
    )
)


@given(awkward, st.sampled_from(["NFC", "NFKC"]))
def test_twice_is_once(text: str, form: Form) -> None:
    once = normalise(text, form)
    assert normalise(once, form) == once


@given(awkward)
def test_result_is_composed_encodable_and_visible(text: str) -> None:
    result = normalise(text)
    assert unicodedata.is_normalized("NFC", result)
    result.encode("utf-8")
    assert not {c for c in result if unicodedata.category(c) == "Cc"} - {"\n", "\t"}
    assert not {c for c in result if unicodedata.category(c) == "Zs"} - {" "}


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("cafe\u0301", "café"),
        ("zero\u200bwidth \u202eevil\u202c", "zerowidth evil"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("10\xa0000\u2009km", "10 000 km"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\n\n  def f():\n\treturn 1  \n\n\n\nend\n", "  def f():\n\treturn 1\n\nend"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("bell\x07 and\x00 nul", "bell and nul"),
    ],
)
def test_examples(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


def test_compatibility_form_only_on_request() -> None:
    assert normalise("ﬁne ①") == "ﬁne ①"
    assert normalise("ﬁne ①", "NFKC") == "fine 1"
