"""Which models the gateway serves: read from `serving.json`, which a build writes, or named by folder.

`serving.json`: {"models": [{"id", "name", "path", "role", "default": bool}], "starters": [str]}. A path is
absolute or relative to the file; a row with "url" (and "key_env", "model")
instead is an upstream elsewhere; "adapters" of a row ([{"name", "path", "role"}], LoRA folders of the peft library) are
served by its engine as models of their own; "early" hides a row from people in no group that sees it. The names
(base, sft, ppo, dpo, assistant) are aliases in the API.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chatwright.errors import CheckpointError, InputError
from chatwright.workspace import find_artefact

SERVING_FILE = "serving.json"
MAX_HEADER = 100_000_000
"""Bytes of a safetensors header; the format's own bound."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model version that the gateway offers. `role` says what it is in a word or two for people.

    It lies in a folder (`path`), or is served elsewhere: then `url` is the base of an OpenAI-compatible API (with its
    /v1), `key_env` names the environment variable that holds its key, and `upstream_model` is what it is called there
    (without one, the first that is listed there).
    """

    id: str
    name: str
    path: Path | None
    role: str = ""
    default: bool = False
    source: str = ""
    parameters: int = 0
    url: str = ""
    key_env: str = ""
    upstream_model: str = ""
    adapters: tuple[tuple[str, Path], ...] = ()
    """Names and folders of the LoRA adapters that its engine loads; each is served as a model of that name too."""
    adapter_of: str = ""
    """The id of the model whose engine answers, where this is one of its adapters."""
    early: bool = False
    """Not out yet: only for operators, and for people in a group that sees models early."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served now, and the prompts that the chat page offers to begin with."""

    models: tuple[ServedModel, ...] = ()
    starters: tuple[str, ...] = ()

    def seen(self, *, early: bool) -> Serving:
        """What somebody is offered, who sees models early or does not."""
        return self if early else replace(self, models=tuple(model for model in self.models if not model.early))

    def find(self, wanted: str) -> ServedModel | None:
        """By id or by name; "assistant" and "default" stand for the default where no model has that name."""
        for model in self.models:
            if wanted in (model.id, model.name):
                return model
        return self.default if wanted in ("assistant", "default") else None

    @property
    def default(self) -> ServedModel | None:
        return next((model for model in self.models if model.default), self.models[-1] if self.models else None)


def read_serving(file: Path) -> Serving:
    """What `file` says; empty where it does not exist yet; raises InputError where it cannot be read."""
    try:
        raw = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Serving()
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); build again, or remove it") from None
    try:
        models = tuple(model for row in raw["models"] for model in _rows(file.parent, row))
        starters = tuple(text for text in raw.get("starters") or () if isinstance(text, str))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not a serving file ({error!r}); build again, or remove it") from None
    taken = [name for model in models for name in {model.id, model.name}]
    if twice := next((model.name for model in models if model.adapter_of and taken.count(model.name) > 1), None):
        raise InputError(f"{file} gives the name {twice!r} to an adapter and to something else; rename one")
    return Serving(models, starters)


def _rows(folder: Path, row: dict[str, Any]) -> list[ServedModel]:
    """The model of a row, and one for each of its adapters."""
    model = _row(folder, row)
    adapters = [
        ServedModel(str(one["name"]), str(one["name"]), folder / one["path"], str(one.get("role", "")),
                    source=model.source, parameters=model.parameters, adapter_of=model.id)
        for one in row.get("adapters") or ()
    ]  # fmt: skip
    model = replace(model, adapters=tuple((one.name, one.path) for one in adapters if one.path))
    return [replace(one, early=bool(row.get("early"))) for one in (model, *adapters)]


def _row(folder: Path, row: dict[str, Any]) -> ServedModel:
    if row.get("url"):
        return served_url(
            str(row["url"]), ident=str(row["id"]), name=str(row["name"]), role=str(row.get("role", "")),
            default=bool(row.get("default")), key_env=str(row.get("key_env", "")),
            upstream_model=str(row.get("model", "")),
        )  # fmt: skip
    path = folder / row["path"]
    return ServedModel(
        str(row["id"]), str(row["name"]), path, str(row.get("role", "")), bool(row.get("default")),
        str(row.get("source") or source_of(path)), int(row.get("parameters") or count_parameters(path)),
    )  # fmt: skip


def served_url(
    url: str, *, ident: str = "", name: str = "", role: str = "", default: bool = False, key_env: str = "",
    upstream_model: str = "",
) -> ServedModel:  # fmt: skip
    """A model behind a URL; `#name` at its end names one of several. Raises InputError where it is no address."""
    base, _, fragment = url.partition("#")
    if not re.fullmatch(r"https?://[^/@?\s]+(/[^@?\s]*)?", base):
        raise InputError(
            f"{url!r} is no address of an API; write http://host:port/v1, and name the variable with the key in key_env"
        )
    base = base.rstrip("/")
    base = base if re.search(r"/v\d+$", base) else f"{base}/v1"
    upstream_model = upstream_model or fragment
    found = upstream_model or urlsplit(base).netloc
    return ServedModel(ident or found, name or found, None, role, default, "", 0, base, key_env, upstream_model)


def from_folders(paths: Sequence[Path | str], key_env: str = "") -> Serving:
    """The models in these checkpoint folders, or behind these URLs; the first is the default.

    `key_env` names the variable with the key of the URLs. Raises CheckpointError for a folder that is no model.
    """
    models: list[ServedModel] = []
    for path in paths:
        if isinstance(path, str) and path.startswith(("http://", "https://")):
            models.append(served_url(path, default=not models, key_env=key_env))
        else:
            _add_folder(models, Path(path))
    return Serving(tuple(models))


def _add_folder(models: list[ServedModel], path: Path) -> None:
    if not (path / "config.json").is_file():
        raise CheckpointError(f"{path} holds no config.json: it is not a model folder; name one that is")
    artefact = find_artefact(path)
    ident, name = (artefact.id, artefact.manifest.name) if artefact else (path.resolve().name,) * 2
    if any(model.id == ident for model in models):
        return
    if any(model.name == name for model in models):
        name = ident
    models.append(ServedModel(ident, name, path.resolve(), "", not models, source_of(path), count_parameters(path)))


def source_of(path: Path) -> str:
    """Who stands behind the model's training data ("human", "simulated", ...), where its manifest tells."""
    try:
        artefact = find_artefact(path)
    except InputError:
        return ""
    return artefact.manifest.source if artefact else ""


def count_parameters(path: Path) -> int:
    """Parameters stored in the checkpoint, from the safetensors headers alone; 0 where there are none to read."""
    total = 0
    for file in path.glob("*.safetensors"):
        try:
            with file.open("rb") as handle:
                (length,) = struct.unpack("<Q", handle.read(8))
                header = json.loads(handle.read(min(length, MAX_HEADER)))
            total += sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
        except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
            return 0
    return total
