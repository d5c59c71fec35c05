"""Text as it becomes visible: joined, it is the decoding of the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.small import random_decoder, tiny_tokenizer

from chatwright.engine import Engine, Request, SamplingParams
from chatwright.engine.stream import TextStream
from chatwright.model.chat import NativeTemplate

TOKENIZER = tiny_tokenizer()
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
mixed = st.lists(st.sampled_from(["😀", "é", "the ", "STOP", "ST", "OP", "\n\n", "\ufffd", "日本"]) | text, max_size=8)


def streamed(tokens: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream = TextStream(TOKENIZER, stop)
    pieces = []
    for token in tokens:
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    return [*pieces, stream.finish()], stream.stopped


@given(mixed.map("".join))
@settings(max_examples=150, deadline=None)
def test_pieces_join_to_the_text_and_hold_whole_characters(content: str) -> None:
    pieces, _ = streamed(TOKENIZER.encode(content))
    assert "".join(pieces) == content
    if "\ufffd" not in content:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_tokens_at_all_join_to_the_decoding_of_the_whole(tokens: list[int]) -> None:
    assert "".join(streamed(tokens)[0]) == TOKENIZER.decode(tokens)


ONE_BYTE = [TOKENIZER.backend.token_to_id(t) for t in "ðŁĺĢÃ©ÿþ"]


@given(st.lists(st.sampled_from(ONE_BYTE), max_size=40))
@settings(max_examples=300, deadline=None)
def test_broken_bytes_join_to_the_decoding_of_the_whole(tokens: list[int]) -> None:
    assert "".join(streamed(tokens)[0]) == TOKENIZER.decode(tokens)


def test_broken_bytes_do_not_hold_text_back_for_ever() -> None:
    stream = TextStream(TOKENIZER)
    lone = TOKENIZER.backend.token_to_id("ÿ")
    shown = [stream.push(lone) for _ in range(40)]
    assert len("".join(shown)) > 25


@given(mixed.map("".join), st.lists(st.sampled_from(["STOP", "P!", "\n\n", "the", "é", "TT"]), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_text_ends_before_the_first_stop_string(content: str, stop: list[str]) -> None:
    pieces, stopped = streamed(TOKENIZER.encode(content), tuple(stop))
    found = [at for s in stop if (at := content.find(s)) >= 0]
    # Several stop strings can end with the same token; the earliest beginning wins among those complete by then.
    if not found:
        assert "".join(pieces) == content
        assert not stopped
    else:
        assert stopped
        shown = "".join(pieces)
        assert content.startswith(shown)
        assert len(shown) in [at for s in stop for at in range(len(content)) if content.startswith(s, at)]


def test_stop_string_over_several_tokens_is_never_shown() -> None:
    stop = "river and"
    tokens = TOKENIZER.encode("by the river and of")
    pieces, stopped = streamed(tokens, (stop,))
    assert stopped
    assert "".join(pieces) == "by the "
    assert len(TOKENIZER.encode(stop)) > 1


def test_what_looked_like_a_stop_string_is_released() -> None:
    pieces, stopped = streamed(TOKENIZER.encode("the river"), ("river and", "rivers"))
    assert not stopped
    assert "".join(pieces) == "the river"


def test_engine_stops_at_a_stop_string() -> None:
    model = random_decoder(3)
    engine = Engine(model, TOKENIZER, NativeTemplate(TOKENIZER))
    prompt = tuple(TOKENIZER.encode("the old mill"))

    def ask(*stop: str) -> object:
        return engine.generate([Request(prompt, SamplingParams(max_tokens=30, temperature=1.0, seed=4, stop=stop))])[0]

    whole = ask()
    middle = whole.text[len(whole.text) // 2 :][:3]
    cut = ask(middle)
    assert cut.finish_reason == "stop"
    assert cut.text == whole.text[: whole.text.index(middle)]
    assert cut.tokens == whole.tokens[: len(cut.tokens)]
    assert len(cut.tokens) < len(whole.tokens)
