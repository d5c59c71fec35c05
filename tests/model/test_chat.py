"""The chat template and the tokenizer under arbitrary text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.small import tiny_tokenizer

from chatwright.errors import InputError
from chatwright.model.chat import NativeTemplate, fit_to_context
from chatwright.model.tokenizer import SPECIAL_TOKENS, Tokenizer
from chatwright.records import ROLES, Message

TEMPLATE = NativeTemplate(tiny_tokenizer())
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
spiked = st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "end", " ", "\n"]) | text, max_size=6).map("".join)
messages = st.lists(st.builds(Message, st.sampled_from(ROLES), spiked), max_size=6)  # type: ignore[arg-type]


@given(spiked)
@settings(max_examples=200, deadline=None)
def test_any_text_survives_the_tokenizer_and_yields_no_special_token(content: str) -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode(content)
    assert tokenizer.decode(ids) == content
    assert not tokenizer.special_ids & set(ids)
    assert tokenizer.encode_batch([content, "x"])[0] == ids


@given(messages)
@settings(max_examples=150, deadline=None)
def test_rendering_is_prefix_preserving(conversation: list[Message]) -> None:
    whole = TEMPLATE.render(conversation)
    for count in range(len(conversation) + 1):
        part = TEMPLATE.render(conversation[:count])
        assert whole.tokens[: len(part.tokens)] == part.tokens
        assert whole.mask[: len(part.mask)] == part.mask
        if count < len(conversation) and conversation[count].role == "assistant":
            asked = TEMPLATE.render(conversation[:count], add_generation_prompt=True)
            assert whole.tokens[: len(asked.tokens)] == asked.tokens


@given(messages)
@settings(max_examples=150, deadline=None)
def test_special_tokens_come_from_the_template_alone_and_the_mask_covers_assistants(
    conversation: list[Message],
) -> None:
    rendered = TEMPLATE.render(conversation)
    special = [t for t in rendered.tokens if t in TEMPLATE.tokenizer.special_ids]
    assert len(special) == 1 + 2 * len(conversation)
    assert len(rendered.mask) == len(rendered.tokens)
    # Read back by the special tokens alone: header, content, end.
    at = 1
    for message in conversation:
        end = rendered.tokens.index(TEMPLATE.tokenizer.id("<|end|>"), at)
        assert rendered.tokens[at] == TEMPLATE.tokenizer.id(f"<|{message.role}|>")
        assert TEMPLATE.tokenizer.decode(rendered.tokens[at + 1 : end]) == message.content
        spoken = int(message.role == "assistant")
        assert rendered.mask[at : end + 1] == [0] + [spoken] * (end - at)
        at = end + 1
    assert at == len(rendered.tokens)


def conversation_of(turns: int, *, system: bool = False) -> list[Message]:
    made = [Message("system", "Be brief.")] if system else []
    for turn in range(turns):
        made.append(Message("assistant" if turn % 2 else "user", f"turn {turn}"))
    return made


@pytest.mark.parametrize("system", [False, True])
def test_oldest_turns_are_cut_until_the_prompt_fits(system: bool) -> None:
    conversation = conversation_of(9, system=system)
    length = len(TEMPLATE.render(conversation, add_generation_prompt=True).tokens)
    assert fit_to_context(TEMPLATE, conversation, length) == (tuple(conversation), 0)
    for limit in range(30, length):
        kept, cut = fit_to_context(TEMPLATE, conversation, limit)
        assert len(TEMPLATE.render(kept, add_generation_prompt=True).tokens) <= limit
        assert cut == len(conversation) - len(kept)
        assert kept[-1] == conversation[-1]
        assert (kept[0].role == "system") is system
        assert kept[int(system)].role == "user"
        if cut:  # one exchange more would not have fitted
            more = (*conversation[: int(system)], *conversation[int(system) + cut - 2 :])
            assert len(TEMPLATE.render(more, add_generation_prompt=True).tokens) > limit


def test_message_longer_than_the_context_is_one_sentence() -> None:
    with pytest.raises(InputError, match="longer than the 10 tokens") as caught:
        fit_to_context(TEMPLATE, [Message("user", "word " * 40)], 10)
    assert "\n" not in str(caught.value)


def test_tokenizer_of_too_little_text_is_refused() -> None:
    with pytest.raises(InputError, match="too little text"):
        Tokenizer.train(["a"], 400)


def test_equal_text_trains_equal_tokenizers() -> None:
    from tests.model.small import TEXT

    assert Tokenizer.train(TEXT, 350).backend.to_str() == Tokenizer.train(TEXT, 350).backend.to_str()
