"""One typed settings tree. Order of strength: preset < TOML file < environment < `--set key=value`.

Presets are complete worlds and stand in `presets.py`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chatwright.config import (
    BestOfNConfig,
    ConstitutionConfig,
    DpoConfig,
    EvaluateConfig,
    GrpoConfig,
    MachineConfig,
    ModelConfig,
    OnlineConfig,
    PpoConfig,
    PretrainConfig,
    RewardConfig,
    Section,
    ServeConfig,
    SftConfig,
    StarterConfig,
    TextConfig,
    TokenizerConfig,
)
from chatwright.errors import ConfigError
from chatwright.presets import PRESETS

ENVIRONMENT_PREFIX = "CHATWRIGHT_"


class Settings(Section):
    preset: str = "starter"
    seed: int = 1
    starter: StarterConfig = StarterConfig()
    text: TextConfig = TextConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    sft: SftConfig = SftConfig()
    reward: RewardConfig = RewardConfig()
    ppo: PpoConfig = PpoConfig()
    grpo: GrpoConfig = GrpoConfig()
    best_of_n: BestOfNConfig = BestOfNConfig()
    dpo: DpoConfig = DpoConfig()
    online: OnlineConfig = OnlineConfig()
    constitution: ConstitutionConfig = ConstitutionConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    serve: ServeConfig = ServeConfig()
    machine: MachineConfig = MachineConfig()


def load_settings(
    preset: str = "starter",
    *,
    toml: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """The settings of a run. `overrides` are `section.key=value` strings, values in TOML or bare words.

    Environment variables read `CHATWRIGHT_SECTION__KEY=value`. Raises ConfigError naming the setting.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}; choose one of {', '.join(PRESETS)}")
    # From the defaults up, so that one changed setting of a nested section leaves its neighbours as they were.
    tree: dict[str, Any] = Settings().model_dump() | {"preset": preset}
    _merge(tree, PRESETS[preset])
    if toml is not None:
        try:
            _merge(tree, tomllib.loads(toml.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"the settings file {toml} cannot be read ({error})") from None
    environment = os.environ if environment is None else environment
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            _put(tree, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), _value(value))
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override!r} has no '='; write section.key=value")
        _put(tree, path.strip().split("."), _value(value.strip()))
    if tree["preset"] != preset:
        raise ConfigError(f"a setting names the preset {tree['preset']!r}, but {preset!r} is in force; choose it with "
                          "--preset instead")  # fmt: skip
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # of a validator here, which says it in a sentence
            raise ConfigError(first["msg"].removeprefix("Value error, ")) from None
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"the setting {where} cannot be {first.get('input')!r}: {first['msg'].lower()}") from None


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.setdefault(key, {}), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"the setting {'.'.join(path)} does not exist")
    tree[path[-1]] = value


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text
