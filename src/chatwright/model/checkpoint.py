"""Model folders in Hugging Face layout: save, load, import, export. Never pickle.

    config.json  model.safetensors (or shards with an index)  tokenizer.json  tokenizer_config.json
    generation_config.json

transformers and vLLM open what is written here; llama, mistral, qwen2 and qwen3 folders from elsewhere open here.
Writing goes to a temporary name first, so that a weights file is whole or absent.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chatwright.errors import CheckpointError
from chatwright.files import sync_folder, write_json, write_text
from chatwright.model.chat import JINJA, ChatTemplate, JinjaTemplate, NativeTemplate
from chatwright.model.decoder import Decoder
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import BOS, END, PAD, SPECIAL_TOKENS, Tokenizer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WEIGHT_PATTERN = "*.safetensors"
SHARD_BYTES = 4 << 30


@dataclass(slots=True)
class Checkpoint:
    """A loaded model folder: weights, tokenizer and the template that belongs to them."""

    model: Decoder
    tokenizer: Tokenizer
    template: ChatTemplate
    path: Path


def save_checkpoint(
    out: Path,
    model: Decoder,
    tokenizer: Tokenizer,
    *,
    state: Mapping[str, Tensor] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model with Chatwright's own template into `out`; `state` stands in for sharded weights."""
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out, state or model.state_dict(), shard_bytes=shard_bytes)
    end, bos, pad = tokenizer.id(END), tokenizer.id(BOS), tokenizer.id(PAD)
    special = {"bos_token_id": bos, "eos_token_id": end, "pad_token_id": pad}
    write_json(out / "config.json", {**model.shape.to_hf(), **special})
    write_json(out / "generation_config.json", {**special, "do_sample": True, "temperature": 0.7})
    save_tokenizer(out, tokenizer, model.shape.context)


def save_tokenizer(out: Path, tokenizer: Tokenizer, context: int) -> None:
    """`tokenizer.json` and the `tokenizer_config.json` that carries the chat template as Jinja."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out / "tokenizer.json")
    write_text(out / "chat_template.jinja", JINJA)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": JINJA,
    }
    write_json(out / "tokenizer_config.json", config)


def save_weights(out: Path, state: Mapping[str, Tensor], *, shard_bytes: int = SHARD_BYTES) -> None:
    """One safetensors file, or several with an index when `state` is larger than `shard_bytes`."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in state.items():
        bytes_ = tensor.numel() * tensor.element_size()
        if shards[-1] and size + bytes_ > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.detach().cpu().contiguous()
        size += bytes_
    if len(shards) == 1:
        _save_file(shards[0], out / WEIGHTS)
        return
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _save_file(shard, out / name)
        where |= dict.fromkeys(shard, name)
    total = sum(t.numel() * t.element_size() for t in state.values())
    write_json(out / INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def _save_file(tensors: dict[str, Tensor], path: Path) -> None:
    passing = path.with_name(f".{path.name}.tmp")
    try:
        save_file(tensors, passing, metadata={"format": "pt"})
        with passing.open("rb") as handle:
            os.fsync(handle.fileno())
        passing.replace(path)
    except (OSError, SafetensorError) as error:
        passing.unlink(missing_ok=True)
        raise CheckpointError(f"{path} could not be written ({error}); is the disk full?") from None
    sync_folder(path.parent)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder; raises CheckpointError that names a missing or damaged file."""
    if (folder / INDEX).exists():
        try:
            names = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
        except (KeyError, TypeError, AttributeError):
            raise CheckpointError(f"{folder / INDEX} has no weight_map; copy it again") from None
    elif (folder / WEIGHTS).exists():
        names = [WEIGHTS]
    elif any(folder.glob("*.bin")):
        raise CheckpointError(f"{folder} holds pickled weights (.bin), which are not opened; save it as safetensors")
    else:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; is it a model folder?")
    state: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).exists():
            raise CheckpointError(f"{folder} lacks the shard {name}; copy it there or save the checkpoint again")
        try:
            with safe_open(folder / name, framework="pt") as tensors:
                state |= {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder / name} is damaged ({error}); copy it again") from None
    return state


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; raises CheckpointError that names the file."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} holds no {path.name}; is it a model folder?") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object; copy it again")
    return value


def load_shape(folder: Path) -> Shape:
    """What the folder's `config.json` describes; raises CheckpointError that names the folder."""
    config = read_json(folder / "config.json")
    try:
        return Shape.from_hf(config)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def load_decoder(folder: Path, *, device: str = "cpu") -> Decoder:
    """The decoder of a folder, in float32, in evaluation mode."""
    shape = load_shape(folder)
    # Old conversions store the rotary frequencies, which follow from config.json.
    state = {k: t.float() for k, t in load_weights(folder).items() if not k.endswith("rotary_emb.inv_freq")}
    if shape.tie_embeddings:
        state.pop("lm_head.weight", None)
    with torch.device("meta"):
        model = Decoder(shape)
    expected = dict(model.named_parameters())
    missing, foreign = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or foreign:
        what = f"lacks {missing[0]}" if missing else f"holds {foreign[0]}, which this architecture does not have"
        raise CheckpointError(f"the checkpoint {folder} {what}; its config.json does not describe these weights")
    for name, parameter in expected.items():
        if parameter.shape != state[name].shape:
            raise CheckpointError(
                f"{name} in {folder} has shape {tuple(state[name].shape)}, config.json says {tuple(parameter.shape)}"
            )
    model = Decoder(shape)
    model.load_state_dict(state)
    return model.to(device).eval()


def load_template(folder: Path, tokenizer: Tokenizer) -> ChatTemplate:
    """Chatwright's template where the folder carries it, else the folder's own Jinja."""
    config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    source = config.get("chat_template")
    if (folder / "chat_template.jinja").exists():
        source = (folder / "chat_template.jinja").read_text("utf-8")
    if isinstance(source, list):
        source = next((t["template"] for t in source if t.get("name") == "default"), None)
    if source == JINJA and all(tokenizer.backend.token_to_id(t) is not None for t in SPECIAL_TOKENS):
        return NativeTemplate(tokenizer)
    if source is None:
        raise CheckpointError(f"{folder} has no chat template; add chat_template.jinja, or fine-tune it here first")
    tokens = {key: _content(config[key]) for key in ("bos_token", "eos_token", "unk_token", "pad_token")
              if config.get(key)}  # fmt: skip
    return JinjaTemplate(tokenizer, source, tokens, stop_ids(folder, tokenizer, tokens))


def stop_ids(folder: Path, tokenizer: Tokenizer, tokens: Mapping[str, str]) -> frozenset[int]:
    """Every id that ends an answer: from generation_config.json, config.json and the tokenizer's eos token."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        if (folder / name).exists():
            value = read_json(folder / name).get("eos_token_id")
            found |= set(value) if isinstance(value, list) else {value} if value is not None else set()
    if "eos_token" in tokens and (ident := tokenizer.backend.token_to_id(tokens["eos_token"])) is not None:
        found.add(ident)
    return frozenset(found)


def _content(token: Any) -> str:
    return token["content"] if isinstance(token, Mapping) else str(token)


def load_checkpoint(folder: Path | str, *, device: str = "cpu") -> Checkpoint:
    """Weights, tokenizer and template of a model folder."""
    folder = Path(folder)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    return Checkpoint(load_decoder(folder, device=device), tokenizer, load_template(folder, tokenizer), folder)


MODEL_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", INDEX,
)  # fmt: skip


def save_descendant(out: Path, parent: Path, state: Mapping[str, Tensor]) -> None:
    """New weights of the same shape beside the parent's configuration, tokenizer and template."""
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out, state)
    for name in MODEL_FILES:
        if name != INDEX and (parent / name).exists():
            shutil.copyfile(parent / name, out / name)
    # The parent may have been half precision; what is written here is not.
    config = {key: value for key, value in read_json(parent / "config.json").items() if key != "dtype"}
    write_json(out / "config.json", config | {"torch_dtype": "float32"})
    sync_folder(out)


def check_checkpoint(folder: Path, *, named: Path | None = None) -> None:
    """Raises CheckpointError where the folder does not load, or loads into nonsense; `named` is who is to blame."""
    checkpoint = load_checkpoint(folder)
    probe = torch.zeros(1, 1, dtype=torch.long)
    if not torch.isfinite(checkpoint.model(probe)).all():
        raise CheckpointError(f"{named or folder} gives logits that are not finite; its weights are damaged")


def copy_checkpoint(source: Path, out: Path) -> None:
    """Copies the files of a model folder that Chatwright and transformers read, after checking that it loads."""
    check_checkpoint(source)
    out.mkdir(parents=True, exist_ok=True)
    for path in checkpoint_files(source):
        shutil.copyfile(path, out / path.name)
    sync_folder(out)


def checkpoint_files(folder: Path) -> list[Path]:
    """The files of a model folder that belong to the model."""
    return [p for p in (*(folder / name for name in MODEL_FILES), *sorted(folder.glob(WEIGHT_PATTERN))) if p.exists()]
