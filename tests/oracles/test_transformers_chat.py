"""The chat template here and in transformers: the same tokens, the same mask, the same greedy answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.model.small import TEXT, scramble, tiny_tokenizer, write_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from chatwright.engine import Engine, Request, SamplingParams
from chatwright.engine.stream import TextStream
from chatwright.errors import CheckpointError, InputError
from chatwright.model.chat import JinjaTemplate, NativeTemplate
from chatwright.model.checkpoint import load_checkpoint, save_descendant
from chatwright.records import Message
from chatwright.train.scoring import from_decoder, load_scoring, save_scoring, score_sequences

CONVERSATIONS = [
    [("user", "What is the capital?")],
    [("user", "What is the capital?"), ("assistant", "The capital is Brook.")],
    [("user", " leading and trailing \n"), ("assistant", "  kept\n\n"), ("user", "¿Qué? 😀"), ("assistant", "")],
    [("system", "Be brief."), ("user", "{{ 1 + 1 }} {% if x %}"), ("assistant", "No."), ("user", "two\n\nlines")],
]


def messages_of(rows: list[tuple[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(role, content) for role, content in rows)  # type: ignore[arg-type]


def rows_of(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in rows]


@pytest.mark.parametrize("rows", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_own_template_renders_alike_in_transformers(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    write_model(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = load_checkpoint(tmp_path).template
    assert isinstance(ours, NativeTemplate)
    rendered = ours.render(messages_of(rows))
    expected = theirs.apply_chat_template(
        rows_of(rows), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert rendered.tokens == expected["input_ids"]
    assert rendered.mask == expected["assistant_masks"]
    prompt = theirs.apply_chat_template(rows_of(rows), tokenize=True, add_generation_prompt=True, return_dict=True)
    assert ours.render(messages_of(rows), add_generation_prompt=True).tokens == prompt["input_ids"]
    assert theirs.decode(rendered.tokens, skip_special_tokens=True) == "".join(content for _, content in rows)


@pytest.mark.parametrize(
    "changes",
    [{}, {"family": "qwen3", "qk_norm": True}, {"family": "mistral", "sliding_window": 6, "tie_embeddings": False}],
    ids=["llama", "qwen3", "mistral"],
)
def test_greedy_answer_is_that_of_transformers(changes: dict[str, Any], tmp_path: Path) -> None:
    write_model(tmp_path, seed=8, **changes)
    engine = Engine.load(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for rows in CONVERSATIONS[:2]:
        prompt = engine.encode(messages_of(rows))
        got = engine.generate([Request(prompt, SamplingParams(max_tokens=12, temperature=0.0))])[0]
        with torch.no_grad():
            expected = theirs.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
        continued = expected[0, len(prompt) :].tolist()
        assert list(got.tokens) == continued
        assert got.text == tokenizer.decode(continued, skip_special_tokens=True)


def test_reward_model_opens_as_a_sequence_classifier(tmp_path: Path) -> None:
    write_model(tmp_path / "sft", family="qwen3", qk_norm=True)
    model = from_decoder(tmp_path / "sft", seed=1)
    scramble(model, 9)
    save_scoring(tmp_path / "reward", tmp_path / "sft", dict(model.named_parameters()), mean=0.7, std=2.5)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "reward")
    ours = load_scoring(tmp_path / "reward")
    template = NativeTemplate(tiny_tokenizer())
    sequences = [template.render(messages_of(rows)).tokens for rows in CONVERSATIONS]
    batch = tokenizer.pad({"input_ids": sequences}, return_tensors="pt")
    with torch.no_grad():
        raw = theirs(**batch).logits[:, 0]
    got = score_sequences(ours, sequences, torch.float32)
    torch.testing.assert_close(got * 2.5 + 0.7, raw, atol=1e-4, rtol=0)


# Foreign tokenizers with their own templates.

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set loop_messages = messages[1:] %}{% else %}{% set system = '' %}{% set loop_messages = messages %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + (system if loop.first else '') }}"
    "{{ message['content'] + ' [/INST]' }}"
    "{% else %}{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
STYLES: dict[str, dict[str, Any]] = {
    "chatml": {"template": CHATML, "special": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
               "bos": None, "eos": "<|im_end|>"},
    "llama3": {"template": LLAMA3, "special": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                                               "<|end_header_id|>", "<|eot_id|>"],
               "bos": "<|begin_of_text|>", "eos": "<|eot_id|>"},
    "mistral": {"template": MISTRAL, "special": ["<s>", "</s>", "[INST]", "[/INST]"], "bos": "<s>", "eos": "</s>"},
}  # fmt: skip


def foreign_folder(folder: Path, style: str, *, mark: bool = True, sentencepiece: bool = False) -> Any:
    """A llama with a tokenizer and a template that are not ours, as transformers saves it; returns its tokenizer.

    `mark=False` takes the {% generation %} marks out, as in most released templates.
    """
    about = STYLES[style]
    backend = Tokenizer(models.BPE(unk_token=None, byte_fallback=sentencepiece))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = list(about["special"])
    if sentencepiece:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Sequence([
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
        ])  # fmt: skip
        alphabet = list(set("".join(TEXT)) - {" ", "\n"})
        special += [f"<0x{i:02X}>" for i in range(256)]
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=620, special_tokens=special, initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    backend.train_from_iterator(TEXT, trainer)
    if sentencepiece:  # the byte tokens are ordinary ones
        raw = json.loads(backend.to_str())
        raw["added_tokens"] = [t for t in raw["added_tokens"] if not t["content"].startswith("<0x")]
        backend = Tokenizer.from_str(json.dumps(raw))
    if about["bos"]:  # a post-processor that adds bos: the template has it already
        backend.post_processor = processors.TemplateProcessing(
            single=f"{about['bos']} $A", special_tokens=[(about["bos"], backend.token_to_id(about["bos"]))]
        )
    template = about["template"]
    if not mark:
        template = template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=about["eos"], pad_token=special[0], chat_template=template,
        additional_special_tokens=[AddedToken(t, special=True) for t in about["special"]],
        **({"bos_token": about["bos"]} if about["bos"] else {}),
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=backend.get_vocab_size(), hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=40, max_position_embeddings=128,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id, pad_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    scramble(model, 11)
    model.save_pretrained(folder)
    return tokenizer


FOREIGN_CONVERSATIONS = [
    [("user", "What is the capital?"), ("assistant", "The capital is Brook.")],
    [("system", "Be brief."), ("user", "What  is\n\nthat?"), ("assistant", "  A mill\n"), ("user", "señor?"),
     ("assistant", "\nYes 😀")],
    [("user", "the old mill"), ("assistant", "stands by the river"), ("user", "[oh]"), ("assistant", "1 2 3")],
]  # fmt: skip


@pytest.mark.parametrize("mark", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("style", STYLES)
def test_foreign_template_renders_as_in_transformers(style: str, mark: bool, tmp_path: Path) -> None:
    theirs = foreign_folder(tmp_path / "a", style, mark=mark)
    ours = load_checkpoint(tmp_path / "a").template
    assert isinstance(ours, JinjaTemplate)
    foreign_folder(tmp_path / "marked", style)
    marked = transformers.AutoTokenizer.from_pretrained(tmp_path / "marked")
    for rows in FOREIGN_CONVERSATIONS:
        rendered = ours.render(messages_of(rows))
        there = theirs.apply_chat_template(rows_of(rows), tokenize=True, return_dict=True)
        assert rendered.tokens == there["input_ids"]
        prompt = rows[:-1]
        expected = theirs.apply_chat_template(
            rows_of(prompt), tokenize=True, return_dict=True, add_generation_prompt=True
        )
        assert ours.render(messages_of(prompt), add_generation_prompt=True).tokens == expected["input_ids"]
        masked = marked.apply_chat_template(
            rows_of(rows), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        assert rendered.mask == masked["assistant_masks"], [
            (theirs.decode([t]), a, b)
            for t, a, b in zip(rendered.tokens, rendered.mask, masked["assistant_masks"], strict=True)
        ]


@pytest.mark.parametrize("style", STYLES)
def test_foreign_checkpoint_answers_as_in_transformers(style: str, tmp_path: Path) -> None:
    tokenizer = foreign_folder(tmp_path, style)
    engine = Engine.load(tmp_path)
    assert tokenizer.eos_token_id in engine.template.stop_ids
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    prompt = engine.encode([Message("user", "What is the capital?")])
    got = engine.generate([Request(prompt, SamplingParams(max_tokens=16, temperature=0.0))])[0]
    with torch.no_grad():
        asked = torch.tensor([prompt])
        whole = theirs.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=16, do_sample=False)
        expected = whole[0, len(prompt) :]
    assert list(got.tokens) == expected.tolist()
    assert got.text == tokenizer.decode(expected, skip_special_tokens=True)


@pytest.mark.parametrize("style", STYLES)
def test_texts_begin_as_the_foreign_tokenizer_begins_them(style: str, tmp_path: Path) -> None:
    tokenizer = foreign_folder(tmp_path, style)
    assert [*load_checkpoint(tmp_path).template.begin, *tokenizer.encode("mill", add_special_tokens=False)] == (
        tokenizer.encode("mill")
    )


def test_sentencepiece_text_streams_with_its_spaces(tmp_path: Path) -> None:
    """Decoders of that kind strip the first space of whatever they are given, so pieces cannot be decoded alone."""
    tokenizer = foreign_folder(tmp_path, "mistral", sentencepiece=True)
    checkpoint = load_checkpoint(tmp_path)
    text = "the old mill stands by the river 😀 and the miller sings"
    stream = TextStream(checkpoint.tokenizer)
    tokens = checkpoint.tokenizer.encode(text)
    pieces = [stream.push(t) for t in tokens] + [stream.finish()]
    assert "".join(pieces) == tokenizer.decode(tokens) == checkpoint.tokenizer.decode(tokens)
    assert sum(bool(p) for p in pieces) > 5


@pytest.mark.parametrize("style", STYLES)
def test_message_with_a_foreign_special_token_is_refused(style: str, tmp_path: Path) -> None:
    foreign_folder(tmp_path, style)
    template = load_checkpoint(tmp_path).template
    for special in STYLES[style]["special"]:
        with pytest.raises(InputError, match="special token"):
            template.render([Message("user", f"ignore {special} that")])


def test_conversation_the_template_refuses_is_an_input_error(tmp_path: Path) -> None:
    foreign_folder(tmp_path, "mistral")
    template = load_checkpoint(tmp_path).template
    with pytest.raises(InputError, match="roles must alternate"):
        template.render([Message("user", "one"), Message("user", "two")])


def test_descendant_of_a_half_precision_model_says_it_is_float32(tmp_path: Path) -> None:
    """What is trained here is float32; transformers must not round it because its parent was bfloat16."""
    foreign_folder(tmp_path / "parent", "chatml")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "parent").to(torch.bfloat16)
    model.save_pretrained(tmp_path / "parent")
    ours = load_checkpoint(tmp_path / "parent")
    scramble(ours.model, 12)
    save_descendant(tmp_path / "child", tmp_path / "parent", dict(ours.model.named_parameters()))
    child = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "child")
    assert child.dtype == torch.float32
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        torch.testing.assert_close(child(tokens).logits, ours.model(tokens), atol=1e-4, rtol=0)


def test_model_without_a_template_is_named(tmp_path: Path) -> None:
    foreign_folder(tmp_path, "chatml")
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="no chat template"):
        load_checkpoint(tmp_path)
