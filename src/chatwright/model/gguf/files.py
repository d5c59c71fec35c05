"""Whole GGUF files: a model folder written as one, and one read into a model folder."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chatwright.errors import CheckpointError, InputError
from chatwright.files import sync_folder, write_json, write_text
from chatwright.model.checkpoint import load_checkpoint, save_tokenizer, save_weights
from chatwright.model.decoder import Decoder
from chatwright.model.gguf import shape as shapes
from chatwright.model.gguf.tensors import NUMBER_FORMATS, Q8_BLOCK, ROPE_FACTORS, decoded, encoded, gguf_name
from chatwright.model.gguf.vocabulary import Vocabulary, is_native, read_vocabulary, vocabulary_metadata
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import Tokenizer

_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    OSError,
    struct.error,
)


def need_gguf() -> None:
    """Raises InputError where the package that reads and writes the format is absent."""
    if importlib.util.find_spec("gguf") is None:
        raise InputError("GGUF needs the package gguf; install it with `pip install 'chatwright[gguf]'`")


def export_gguf(folder: Path, out: Path, *, number_format: str = "f16", name: str = "") -> list[str]:
    """Writes the model in `folder` as the file `out`; returns what differs from the model, in sentences.

    Matrices are written in `number_format`, vectors in float32. The file is whole or absent.
    Raises InputError for what the format or llama.cpp cannot express.
    """
    need_gguf()
    if number_format not in NUMBER_FORMATS:
        raise InputError(f"the number format {number_format!r} is not known; known are {', '.join(NUMBER_FORMATS)}")
    checkpoint = load_checkpoint(folder)
    shape = checkpoint.model.shape
    metadata = shapes.shape_metadata(shape) | vocabulary_metadata(folder, checkpoint.tokenizer, shape.vocab_size)
    metadata |= {"general.name": name or folder.name, shapes.OUR_CONFIG: json.dumps(shape.to_hf(), sort_keys=True)}
    state = dict(checkpoint.model.named_parameters())
    passing = out.with_name(f".{out.name}.tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(passing, shapes.architecture(shape), metadata, number_format, state, shape)
        passing.replace(out)
    except OSError as error:
        raise CheckpointError(f"{out} could not be written ({error}); is the disk full?") from None
    finally:
        passing.unlink(missing_ok=True)
    sync_folder(out.parent)
    return _differences(shape, number_format, state)


def _write(
    path: Path, arch: str, metadata: Mapping[str, Any], number_format: str, state: Mapping[str, Any], shape: Shape
) -> None:
    from gguf import GGUFWriter, LlamaFileType

    kinds = {"f32": LlamaFileType.ALL_F32, "f16": LlamaFileType.MOSTLY_F16, "bf16": LlamaFileType.MOSTLY_BF16,
             "q8_0": LlamaFileType.MOSTLY_Q8_0}  # fmt: skip
    writer = GGUFWriter(path, arch)
    try:
        writer.add_file_type(kinds[number_format])
        writer.add_quantization_version(2)
        for key, value in metadata.items():
            _add(writer, key, value)
        if shapes.needs_factors(shape):
            writer.add_tensor(ROPE_FACTORS, shapes.rope_factors(shape))
        for name, data, kind in encoded(state, shape, number_format):
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        for handle in writer.fout or []:
            handle.flush()
            os.fsync(handle.fileno())
    finally:
        writer.close()


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _differences(shape: Shape, number_format: str, state: Mapping[str, Any]) -> list[str]:
    found = []
    if shape.sliding_window and shape.sliding_window < shape.context:
        found.append(f"the context is cut from {shape.context} to {shape.sliding_window} tokens, the sliding window, "
                     "which llama.cpp does not compute for this architecture")  # fmt: skip
    odd = [name for name, t in state.items() if t.ndim > 1 and t.shape[-1] % Q8_BLOCK]
    if number_format == "q8_0" and odd:
        found.append(f"{len(odd)} matrices have rows that q8_0 cannot cut into blocks of {Q8_BLOCK}; they are f16")
    return found


def import_gguf(path: Path, out: Path) -> None:
    """Reads the file `path` into the model folder `out`, weights in float32.

    Raises CheckpointError that names the file for anything that is no whole model of a known architecture.
    """
    need_gguf()
    fields, tensors = _read(path)
    try:
        if int(fields.get("split.count") or 1) > 1:
            raise CheckpointError("it is one part of several; join them with llama.cpp's `llama-gguf-split --merge`")
        vocabulary = read_vocabulary(fields)
        if "token_embd.weight" not in tensors:
            raise CheckpointError("the file lacks token_embd.weight; is it a whole model?")
        factors = np.array(tensors[ROPE_FACTORS].data, np.float32) if ROPE_FACTORS in tensors else None
        rows = int(tensors["token_embd.weight"].shape[-1])
        shape = shapes.read_shape(fields, rows, tied="output.weight" not in tensors, factors=factors)
        state = decoded(tensors, shape)
        _check(state, shape)
        if vocabulary.template is None:
            raise CheckpointError("it has no chat template; take a file of the model's chat version")
    except (CheckpointError, InputError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} holds a value that cannot be read ({error})") from None
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out, state)
    _save_words(out, vocabulary, shape)
    sync_folder(out)


def _check(state: Mapping[str, torch.Tensor], shape: Shape) -> None:
    """Raises CheckpointError where a tensor is missing, foreign or of another size than the metadata say."""
    with torch.device("meta"):
        expected = {name: tuple(weight.shape) for name, weight in Decoder(shape).named_parameters()}
    if missing := sorted(expected.keys() - state.keys()):
        raise CheckpointError(f"it lacks {gguf_name(missing[0])}; its metadata do not describe these weights")
    if foreign := sorted(state.keys() - expected.keys()):
        raise CheckpointError(f"it holds {gguf_name(foreign[0])}, which this architecture does not have")
    for name, size in expected.items():
        if tuple(state[name].shape) != size:
            raise CheckpointError(f"{gguf_name(name)} has shape {tuple(state[name].shape)}, the metadata say {size}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata as plain values, and the tensors still encoded."""
    from gguf import GGUFReader

    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; check the path")
    try:
        reader = GGUFReader(path)
        fields = {key: value.contents() for key, value in reader.fields.items()}
        return fields, {tensor.name: tensor for tensor in reader.tensors}
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is not a GGUF file, or a damaged one ({error})") from None


def _save_words(out: Path, vocabulary: Vocabulary, shape: Shape) -> None:
    """Configuration, tokenizer and template."""
    ids = {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos, "pad_token_id": vocabulary.pad}
    named = {key: ident for key, ident in ids.items() if ident is not None}
    write_json(out / "config.json", shape.to_hf() | named)
    stops = sorted(vocabulary.stops)
    ends: dict[str, Any] = {"eos_token_id": stops if len(stops) > 1 else stops[0]} if stops else {}
    write_json(out / "generation_config.json", {**named, **ends, "do_sample": True, "temperature": 0.7})
    tokenizer = Tokenizer(vocabulary.backend)
    if is_native(vocabulary):
        save_tokenizer(out, tokenizer, shape.context)
        return
    tokenizer.save(out / "tokenizer.json")
    texts = {"bos_token": vocabulary.bos, "eos_token": vocabulary.eos, "pad_token": vocabulary.pad,
             "unk_token": vocabulary.unk}  # fmt: skip
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.context,
                              "clean_up_tokenization_spaces": False}  # fmt: skip
    config |= {key: vocabulary.backend.id_to_token(ident) for key, ident in texts.items() if ident is not None}
    if vocabulary.template is not None:
        write_text(out / "chat_template.jinja", vocabulary.template)
        config["chat_template"] = vocabulary.template
    write_json(out / "tokenizer_config.json", config)
