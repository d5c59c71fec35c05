"""GGUF: what is written opens in transformers with the same logits and comes back whole; bad files are one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tests.model.small import TEXT, random_tokens, tiny_tokenizer, write_model
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from chatwright.errors import CheckpointError, InputError
from chatwright.model.chat import JinjaTemplate, NativeTemplate
from chatwright.model.checkpoint import load_checkpoint, save_weights
from chatwright.model.gguf import NUMBER_FORMATS, export_gguf, import_gguf
from chatwright.model.gguf.tensors import interleave, separate
from chatwright.model.gguf.vocabulary import PATTERNS
from chatwright.model.tokenizer import SPLIT
from chatwright.records import Message

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, untied": {"tie_embeddings": False, "rope_theta": 500.0, "norm_eps": 1e-5},
    "llama, one key head": {"kv_heads": 1},
    "mistral": {"family": "mistral", "tie_embeddings": False},
    "qwen2": {"family": "qwen2", "qkv_bias": True, "width": 32},
    "qwen2, untied": {"family": "qwen2", "qkv_bias": True, "width": 32, "tie_embeddings": False},
    # transformers takes 128 for granted where it opens a qwen3 file.
    "qwen3": {"family": "qwen3", "qk_norm": True, "head_width": 128, "width": 32},
}
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    "llama3": {"rope_scaling": LLAMA3},
    "yarn": {"rope_scaling": YARN},
    "yarn, qwen3": {"rope_scaling": YARN, "family": "qwen3", "qk_norm": True},
    "yarn with its own attention factor": {"rope_scaling": {**YARN, "attention_factor": 1.7}},
    "yarn with its own bounds": {"rope_scaling": {**YARN, "beta_fast": 16.0, "beta_slow": 2.0, "mscale": 0.7,
                                                 "mscale_all_dim": 0.9}},
}  # fmt: skip
CONVERSATION = (
    Message("system", "Be brief."), Message("user", " ¿Qué? 😀\n\n 1234 it's  <|end|> "), Message("assistant", "No."),
    Message("user", "two\n\nlines\t"),
)  # fmt: skip


def logits(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        out = model(torch.tensor([tokens]))
    return out if isinstance(out, torch.Tensor) else out.logits


def in_transformers(file: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return model.eval()


def fields_of(file: Path) -> dict[str, Any]:
    return {key: field.contents() for key, field in gguf.GGUFReader(file).fields.items()}


def rewritten(file: Path, out: Path, change: Callable[[dict[str, Any]], None], **tensors: Any) -> Path:
    """A copy of `file` with changed metadata; `tensors` (dots as __) are added or, where None, left out."""
    reader = gguf.GGUFReader(file)
    keys = {key: (field.contents(), field.types) for key, field in reader.fields.items() if "GGUF." not in key}
    change(keys)
    writer = gguf.GGUFWriter(out, "ignored")
    writer.kv_data[0].clear()
    for key, (value, types) in keys.items():
        if types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, value)
        else:
            writer.add_key_value(key, value, types[0])
    changed = {name.replace("__", "."): value for name, value in tensors.items()}
    for tensor in reader.tensors:
        if tensor.name not in changed:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    for name, value in changed.items():
        if value is not None:
            writer.add_tensor(name, *value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def foreign(keys: dict[str, Any]) -> None:
    """Takes out what only our files have."""
    for key in ("chatwright.config", "tokenizer.huggingface.json"):
        del keys[key]


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_written_file_has_the_logits_of_transformers(name: str, number_format: str, tmp_path: Path) -> None:
    ours, tokens = write_model(tmp_path / "model", seed=3, **FAMILIES[name]), random_tokens(40, 1)
    export_gguf(tmp_path / "model", tmp_path / "model.gguf", number_format=number_format)
    theirs = logits(in_transformers(tmp_path / "model.gguf"), tokens)
    # Root mean square over spread; half an ulp on every weight is 2^-12 of it for f16, 2^-9 for bf16, about as much for
    # q8_0 (half of 1/127 of the largest in 32), and two layers multiply that a few times.
    within = {"f32": 1e-5, "f16": 3e-3, "bf16": 0.03, "q8_0": 0.06}[number_format]
    apart = logits(ours, tokens) - theirs
    assert apart.square().mean().sqrt() < within * theirs.std()
    assert theirs.std() > 0.5
    import_gguf(tmp_path / "model.gguf", tmp_path / "again")
    again = load_checkpoint(tmp_path / "again")
    torch.testing.assert_close(logits(again.model, tokens), theirs, atol=1e-4, rtol=0)
    assert again.model.shape == ours.shape


@pytest.mark.parametrize("name", SCALINGS)
def test_scaled_positions_come_back_and_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """What llama.cpp computes from the file's keys (its formulas, in float64), against transformers' frequencies."""
    ours = write_model(tmp_path / "model", seed=3, head_width=16, rope_theta=1000.0, **SCALINGS[name])
    file = tmp_path / "model.gguf"
    export_gguf(tmp_path / "model", file, number_format="f32")
    import_gguf(file, tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").model.shape == ours.shape
    fields = fields_of(file)
    rope = {key.split(".rope.")[1]: value for key, value in fields.items() if ".rope." in key}
    factors = {t.name: np.array(t.data, np.float64) for t in gguf.GGUFReader(file).tensors}.get("rope_freqs.weight")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "model")
    expected, attention = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, "cpu")
    mine, my_attention = llama_cpp_rope(rope, factors)
    np.testing.assert_allclose(mine, expected.numpy(), rtol=2e-6)
    assert my_attention == pytest.approx(attention, rel=1e-6)


def llama_cpp_rope(rope: dict[str, Any], factors: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Angular frequencies and the factor on sines, as ggml derives them from metadata."""
    width, base = rope["dimension_count"], rope["freq_base"]
    plain = base ** (-np.arange(0, width, 2) / width) / (1.0 if factors is None else factors)
    kind, scale, own = rope.get("scaling.type"), rope.get("scaling.factor", 1.0), rope.get("scaling.attn_factor", 1.0)
    if kind != "yarn":
        return plain / (scale if kind == "linear" else 1.0), own
    trained = rope["scaling.original_context_length"]
    low, high = (width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base)) for turns in (32.0, 1.0))
    low, high = max(0, math.floor(low)), min(width - 1, math.ceil(high))
    ramp = 1 - np.clip((np.arange(width // 2) - low) / max(0.001, high - low), 0, 1)
    return plain / scale * (1 - ramp) + plain * ramp, own * (1 + 0.1 * math.log(scale))


def test_a_scaling_that_llama_cpp_does_not_compute_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model", family="qwen3", qk_norm=True, rope_scaling=LLAMA3)
    with pytest.raises(InputError, match="llama3"):
        export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    assert not list(tmp_path.glob("*.gguf*"))


def test_heads_of_qwen2_that_llama_cpp_does_not_open_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model", family="qwen2", qkv_bias=True, head_width=16)
    with pytest.raises(InputError, match="4 of 16 in 24"):
        export_gguf(tmp_path / "model", tmp_path / "model.gguf")


def test_a_sliding_window_limits_the_context_and_is_told(tmp_path: Path) -> None:
    ours = write_model(tmp_path / "model", family="mistral", sliding_window=20)
    (told,) = export_gguf(tmp_path / "model", tmp_path / "model.gguf", number_format="f32")
    assert "from 64 to 20" in told
    assert fields_of(tmp_path / "model.gguf")["llama.context_length"] == 20
    tokens = random_tokens(20, 1)
    theirs = logits(in_transformers(tmp_path / "model.gguf"), tokens)
    torch.testing.assert_close(logits(ours, tokens), theirs, atol=1e-4, rtol=0)


def test_rows_that_blocks_do_not_fit_are_told(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    (told,) = export_gguf(tmp_path / "model", tmp_path / "model.gguf", number_format="q8_0")
    assert told.startswith("13 matrices")
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert (kinds["blk.0.ffn_up.weight"], kinds["blk.0.attn_output.weight"]) == ("F16", "Q8_0")
    assert kinds["blk.0.attn_norm.weight"] == "F32"


def test_values_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    state = dict(model.named_parameters())
    state["model.layers.0.mlp.up_proj.weight"].data[0, 0] = 1e6
    save_weights(tmp_path / "model", state)
    with pytest.raises(InputError, match="write it as bf16 or f32"):
        export_gguf(tmp_path / "model", tmp_path / "model.gguf", number_format="f16")
    export_gguf(tmp_path / "model", tmp_path / "model.gguf", number_format="bf16")


@given(heads=st.integers(1, 5), pairs=st.integers(1, 6), columns=st.integers(1, 3))
def test_rows_of_heads_are_reordered_and_put_back(heads: int, pairs: int, columns: int) -> None:
    weight = torch.arange(heads * pairs * 2 * columns, dtype=torch.float32).reshape(-1, columns)
    there = interleave(weight, heads)
    for head in range(heads):
        for pair in range(pairs):
            first = head * 2 * pairs
            assert torch.equal(there[first + 2 * pair], weight[first + pair])
            assert torch.equal(there[first + 2 * pair + 1], weight[first + pairs + pair])
    assert torch.equal(separate(there, heads), weight)


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "Q8_0", "BF16"])
def test_a_foreign_quantised_file_is_read_as_transformers_reads_it(kind: str, tmp_path: Path) -> None:
    write_model(tmp_path / "model", seed=5, width=32, tie_embeddings=False)
    export_gguf(tmp_path / "model", tmp_path / "whole.gguf", number_format="f32")
    wanted = gguf.GGMLQuantizationType[kind]
    weights = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "whole.gguf").tensors if "ffn_up" in t.name}
    packed = {name.replace(".", "__"): (gguf.quantize(np.array(data), wanted), None, wanted)
              for name, data in weights.items()}  # fmt: skip
    file = rewritten(tmp_path / "whole.gguf", tmp_path / "foreign.gguf", foreign, **packed)
    import_gguf(file, tmp_path / "again")
    tokens = random_tokens(30, 2)
    again = load_checkpoint(tmp_path / "again")
    torch.testing.assert_close(logits(again.model, tokens), logits(in_transformers(file), tokens), atol=1e-4, rtol=0)


def test_the_template_and_its_tokens_survive(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    import_gguf(tmp_path / "model.gguf", tmp_path / "again")
    before, again = load_checkpoint(tmp_path / "model"), load_checkpoint(tmp_path / "again")
    assert isinstance(again.template, NativeTemplate)
    rendered = before.template.render(CONVERSATION, add_generation_prompt=True)
    assert again.template.render(CONVERSATION, add_generation_prompt=True) == rendered
    assert again.template.stop_ids == before.template.stop_ids
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()
    # The template in the file needs no tag that older readers do not know, and renders to the same text.
    fields = fields_of(tmp_path / "model.gguf")
    assert "generation -%}" not in fields["tokenizer.chat_template"].replace("add_generation_prompt", "")
    rows = [m.to_json() for m in CONVERSATION]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    plain = theirs.apply_chat_template(rows, tokenize=False, chat_template=fields["tokenizer.chat_template"])
    assert plain == theirs.apply_chat_template(rows, tokenize=False)


def test_special_tokens_are_control_tokens_and_nothing_else_is(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    fields = fields_of(tmp_path / "model.gguf")
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    control = {token for token, kind in zip(tokens, types, strict=True) if kind == gguf.TokenType.CONTROL}
    assert control == {"<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<|pad|>"}
    assert set(types) == {gguf.TokenType.NORMAL, gguf.TokenType.CONTROL}
    assert tokens[fields["tokenizer.ggml.eos_token_id"]] == "<|end|>"
    assert tokens[fields["tokenizer.ggml.bos_token_id"]] == "<|bos|>"
    assert fields["tokenizer.ggml.add_bos_token"] is True


WRITTEN = st.text(st.sampled_from("aB é'stlmrvd \t\n\r0123ñ漢😀.,!?<|>ſ\u00a0\u0301"), max_size=40)


@given(text=st.one_of(WRITTEN, st.text(max_size=40)))
def test_our_pattern_cuts_as_the_one_it_is_named_after(text: str) -> None:
    ours, named = (pre_tokenizers.Split(Regex(p), behavior="isolated") for p in (SPLIT, PATTERNS["qwen2"]))
    assert ours.pre_tokenize_str(text) == named.pre_tokenize_str(text)


def foreign_tokenizer(kind: str) -> Backend:
    """Byte-level BPE as it is met elsewhere."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend = Backend(models.BPE(ignore_merges=kind in ("llama-bpe", "tekken")))
    backend.pre_tokenizer = {
        "gpt-2": words, "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words]),
    }.get(kind) or pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERNS[kind]), behavior="isolated"), byte_level]
    )  # fmt: skip
    backend.decoder = decoders.ByteLevel()
    special = [AddedToken(t, special=True, normalized=False) for t in ("<s>", "<|im_start|>", "<|im_end|>", "</s>")]
    backend.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=360, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    ))  # fmt: skip
    return backend


CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def write_foreign_words(folder: Path, backend: Backend) -> None:
    (folder / "chat_template.jinja").write_text(CHATML)
    (folder / "tokenizer.json").write_text(backend.to_str())
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ends = [backend.token_to_id("</s>"), backend.token_to_id("<|im_end|>")]
    for name in ("generation_config.json", "config.json"):
        known = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(known | {"eos_token_id": ends}))


@pytest.mark.parametrize("rebuilt", [False, True], ids=["whole", "rebuilt"])
@pytest.mark.parametrize("kind", ["gpt-2", "smollm", "llama-bpe", "tekken"])
def test_foreign_tokenizers_survive(kind: str, rebuilt: bool, tmp_path: Path) -> None:
    write_model(tmp_path / "model")  # 380 rows of embedding: more than this tokenizer has tokens
    backend = foreign_tokenizer(kind)
    write_foreign_words(tmp_path / "model", backend)
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    fields, file = fields_of(tmp_path / "model.gguf"), tmp_path / "model.gguf"
    assert fields["tokenizer.ggml.pre"] == kind
    assert fields["tokenizer.ggml.token_type"][-1] == gguf.TokenType.UNUSED
    if rebuilt:
        file = rewritten(file, tmp_path / "foreign.gguf", foreign)
    import_gguf(file, tmp_path / "again")
    before, again = load_checkpoint(tmp_path / "model"), load_checkpoint(tmp_path / "again")
    assert isinstance(again.template, JinjaTemplate)
    assert again.template.stop_ids == before.template.stop_ids == {backend.token_to_id("</s>"),
                                                                   backend.token_to_id("<|im_end|>")}  # fmt: skip
    assert again.template.begin == before.template.begin
    assert again.template.render(CONVERSATION) == before.template.render(CONVERSATION)
    for text in (*TEXT, "  It's 12345 <|im_end|> é\n\n\tX 😀", "STARTing mixedCase"):
        assert again.tokenizer.encode(text) == before.tokenizer.encode(text)
        assert again.tokenizer.decode(before.tokenizer.encode(text)) == text
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    talk = [m for m in CONVERSATION if "<|" not in m.content]
    rows = [m.to_json() for m in talk]
    expected = theirs.apply_chat_template(rows, tokenize=True, return_dict=True)["input_ids"]
    assert again.template.render(talk).tokens == expected
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token) == ("<s>", "</s>", "</s>")


def test_a_tokenizer_that_llama_cpp_would_split_differently_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    backend = foreign_tokenizer("gpt-2")
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\w+"), behavior="isolated"), pre_tokenizers.ByteLevel(False, use_regex=False),
    ])  # fmt: skip
    write_foreign_words(tmp_path / "model", backend)
    with pytest.raises(InputError, match="no name for how this tokenizer splits"):
        export_gguf(tmp_path / "model", tmp_path / "model.gguf")


def set_key(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(keys: dict[str, Any]) -> None:
        foreign(keys)
        keys[key] = (value, [gguf.GGUFValueType.get_type(value)])

    return change


def drop_key(key: str) -> Callable[[dict[str, Any]], None]:
    def change(keys: dict[str, Any]) -> None:
        foreign(keys)
        keys.pop(key)

    return change


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], dict[str, Any], str]] = {
    "architecture": (set_key("general.architecture", "falcon"), {}, "architecture 'falcon' is not known"),
    "experts": (set_key("llama.expert_count", 8), {}, "several experts"),
    "partial": (set_key("llama.rope.dimension_count", 4), {}, "part of each head"),
    "split": (set_key("split.count", 3), {}, "llama-gguf-split --merge"),
    "no width": (drop_key("llama.embedding_length"), {}, "lacks llama.embedding_length"),
    "no tokens": (drop_key("tokenizer.ggml.tokens"), {}, "holds no tokenizer"),
    "pieces": (set_key("tokenizer.ggml.model", "llama"), {}, "kind 'llama' cannot be read"),
    "pre": (set_key("tokenizer.ggml.pre", "viking"), {}, "'viking', which is not known"),
    "merges": (set_key("tokenizer.ggml.merges", ["th ere", "nothing"]), {}, "merges do not fit"),
    "rope": (set_key("llama.rope.scaling.type", "longrope"), {}, "'longrope' is not supported"),
    "text for a number": (set_key("llama.block_count", "many"), {}, "cannot be read"),
    "foreign tensor": (foreign, {"blk__0__ssm_a": (np.ones(4, np.float32),)}, "belongs to no architecture"),
    "no embedding": (foreign, {"token_embd__weight": None}, "lacks token_embd.weight"),
    "no norm": (foreign, {"output_norm__weight": None}, "lacks output_norm.weight"),
    "bias": (foreign, {"blk__0__attn_q__bias": (np.ones(32, np.float32),)}, "holds blk.0.attn_q.bias"),
    "narrow": (foreign, {"blk__1__ffn_up__weight": (np.ones((8, 24), np.float32),)}, "has shape (8, 24)"),
    "no template": (drop_key("tokenizer.chat_template"), {}, "has no chat template"),
    "odd frequencies": (foreign, {"rope_freqs__weight": (np.array([1, 5, 2, 9], np.float32),)}, "rope_freqs.weight"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_known_model_is_one_sentence(name: str, tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    change, tensors, sentence = BAD[name]

    def with_factor(keys: dict[str, Any]) -> None:
        keys["llama.rope.scaling.factor"] = (2.0, [gguf.GGUFValueType.FLOAT32])
        change(keys)

    file = rewritten(tmp_path / "model.gguf", tmp_path / "bad.gguf", with_factor, **tensors)
    with pytest.raises(CheckpointError, match=r"bad\.gguf") as raised:
        import_gguf(file, tmp_path / "again")
    assert sentence in str(raised.value)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("keep", [0, 3, 20, 400, 0.5, 0.98])
def test_a_damaged_file_is_one_sentence(keep: float, tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    data = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=r"cut\.gguf is not a GGUF file, or a damaged one"):
        import_gguf(tmp_path / "cut.gguf", tmp_path / "again")


def test_changed_bytes_give_a_model_or_one_sentence(tmp_path: Path) -> None:
    """Whatever a few wrong bytes in the metadata or the list of tensors do, they raise nothing else."""
    write_model(tmp_path / "model", layers=1)
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    data, rng = (tmp_path / "model.gguf").read_bytes(), np.random.default_rng(1)
    end = gguf.GGUFReader(tmp_path / "model.gguf").data_offset
    outcomes = set()
    for number in range(80):
        changed = bytearray(data)
        first = int(rng.integers(0, 1200) if number % 2 else rng.integers(end - 2500, end))
        for place in rng.integers(first, first + 8, 3).tolist():
            changed[place] = int(rng.integers(256))
        (tmp_path / "changed.gguf").write_bytes(changed)
        try:
            import_gguf(tmp_path / "changed.gguf", tmp_path / "out")
            outcomes.add("a model")
        except CheckpointError as error:
            assert str(error).startswith(str(tmp_path / "changed.gguf"))  # noqa: PT017 - either outcome is right
            outcomes.add("one sentence")
    assert outcomes == {"a model", "one sentence"}


def test_changed_keys_are_believed_over_our_own_copy(tmp_path: Path) -> None:
    """Somebody stretches the context of our file with another program; the import must not undo it."""
    write_model(tmp_path / "model")
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")

    def stretch(keys: dict[str, Any]) -> None:
        keys["llama.rope.scaling.type"] = ("linear", [gguf.GGUFValueType.STRING])
        keys["llama.rope.scaling.factor"] = (2.0, [gguf.GGUFValueType.FLOAT32])
        keys["llama.context_length"] = (128, [gguf.GGUFValueType.UINT32])

    file = rewritten(tmp_path / "model.gguf", tmp_path / "stretched.gguf", stretch)
    import_gguf(file, tmp_path / "again")
    shape = load_checkpoint(tmp_path / "again").model.shape
    assert (shape.context, shape.rope_scaling) == (128, {"rope_type": "linear", "factor": 2.0})


def test_a_published_llama_scaling_is_recognised(tmp_path: Path) -> None:
    """Its file has only factors; they are those of transformers' llama3 for an original context of 8,192."""
    write_model(tmp_path / "model", head_width=64, rope_theta=500_000.0, tie_embeddings=False)
    export_gguf(tmp_path / "model", tmp_path / "plain.gguf")
    config = transformers.LlamaConfig(hidden_size=64, num_attention_heads=1, head_dim=64, rope_parameters={
        **LLAMA3, "factor": 32.0, "original_max_position_embeddings": 8192, "rope_theta": 500_000.0,
    })  # fmt: skip
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    factors = (500_000.0 ** (-np.arange(0, 64, 2) / 64) / scaled.numpy()).astype(np.float32)
    file = rewritten(tmp_path / "plain.gguf", tmp_path / "scaled.gguf", foreign, rope_freqs__weight=(factors,))
    import_gguf(file, tmp_path / "again")
    found = load_checkpoint(tmp_path / "again").model.shape.rope_scaling
    assert found == {**LLAMA3, "factor": pytest.approx(32.0), "original_max_position_embeddings": 8192}


def test_a_kill_while_writing_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "model")

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chatwright.model.gguf.files.os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    assert not list(tmp_path.glob("*gguf*"))


def test_an_unknown_number_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known are f32, f16, bf16, q8_0"):
        export_gguf(tmp_path, tmp_path / "model.gguf", number_format="q9_9")
    assert tiny_tokenizer().vocab_size == 380
