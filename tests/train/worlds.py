"""Small inputs of every training stage, and runs that are killed on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.model.small import TEXT, tiny_tokenizer, write_model

from chatwright.config import (
    DpoConfig,
    GrpoConfig,
    ModelConfig,
    OptimConfig,
    PpoConfig,
    PretrainConfig,
    RewardConfig,
    SftConfig,
)
from chatwright.progress import Progress, Stage
from chatwright.records import Comparison, Demonstration, Message, Prompt
from chatwright.train import dpo, grpo, ppo, pretrain, reward, sft
from chatwright.train.distributed import World
from chatwright.workspace import Artefact

OPTIM = OptimConfig(muon_lr=0.01, adam_lr=0.002, warmup=0.2, decay=0.5)
SHARED: dict[str, Any] = {
    "optim": OPTIM, "batch_tokens": 192, "micro_tokens": 96, "sequence": 48, "precision": "fp32",
    "checkpoint_every": 2, "evaluate_every": 3,
}  # fmt: skip
PPO: dict[str, Any] = {key: value for key, value in SHARED.items() if key != "batch_tokens"}
MODEL = ModelConfig(layers=2, width=24, heads=4, kv_heads=2, mlp_width=40, context=64)


@dataclass(frozen=True)
class Texts:
    """A corpus in memory."""

    texts: tuple[str, ...]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(self.doc(i)) for i in range(len(self.texts))])

    def doc(self, number: int, /) -> np.ndarray:
        tokenizer = tiny_tokenizer()
        return np.array([tokenizer.bos, *tokenizer.encode(self.texts[number])])

    def bytes(self, number: int, /) -> int:
        return len(self.texts[number].encode())


CORPUS, HOLDOUT = Texts(tuple(TEXT[:36])), Texts(tuple(TEXT[36:]))


def demonstrations(count: int = 12) -> list[Demonstration]:
    return [
        Demonstration((Message("user", f"What is {i}?"), Message("assistant", f"The capital is {i * i}.")))
        for i in range(count)
    ]


def comparisons(count: int = 12) -> list[Comparison]:
    return [
        Comparison((Message("user", f"Say {i}"),), (f"yes {i}", "no", "the river"), ((i % 3,), ((i + 1) % 3,),
                   ((i + 2) % 3,)), id=str(i))
        for i in range(count)
    ]  # fmt: skip


def prompts(count: int = 9) -> list[Prompt]:
    return [Prompt((Message("user", f"Say {i}"),), id=str(i)) for i in range(count)]


def pretrain_config(**changes: Any) -> PretrainConfig:
    return PretrainConfig(**(SHARED | {"tokens": 192 * 7} | changes))


def run_pretrain(folder: Path, progress: Progress, world: World | None = None, **changes: Any) -> Artefact:
    return pretrain.run(
        pretrain_config(**changes), MODEL, CORPUS, HOLDOUT, tiny_tokenizer(), folder / "out", progress, seed=5,
        parents={"tokens": "t"}, world=world,
    )  # fmt: skip


def base(folder: Path) -> Path:
    if not (folder / "base" / "tokenizer_config.json").exists():
        write_model(folder / "base", seed=2, family="qwen3", qk_norm=True)
    return folder / "base"


def run_sft(folder: Path, progress: Progress, world: World | None = None, **changes: Any) -> Artefact:
    config = SftConfig(**(SHARED | {"epochs": 5.0} | changes))
    return sft.run(config, base(folder), demonstrations(), folder / "out", progress, seed=5, parents={},
                   heldout=demonstrations(3), world=world)  # fmt: skip


def run_reward(folder: Path, progress: Progress, world: World | None = None, **changes: Any) -> Artefact:
    config = RewardConfig(**(SHARED | {"epochs": 5.0, "holdout_fraction": 0.2} | changes))
    return reward.run(config, base(folder), comparisons(), folder / "out", progress, seed=5, parents={}, world=world)


def run_dpo(
    folder: Path, progress: Progress, world: World | None = None, cache: Path | None = None, **changes: Any
) -> Artefact:
    config = DpoConfig(**(SHARED | {"epochs": 1.5} | changes))
    return dpo.run(config, base(folder), comparisons(), folder / "out", progress, seed=5, parents={}, world=world,
                   cache=cache)  # fmt: skip


def judge(folder: Path) -> Path:
    """A reward model that has hardly learned anything."""
    if not (folder / "judge" / "manifest.json").exists():
        judged = RewardConfig(**(SHARED | {"epochs": 1.0}))
        reward.run(judged, base(folder), comparisons(), folder / "judge", Progress(), seed=1, parents={})
    return folder / "judge"


def run_ppo(folder: Path, progress: Progress, world: World | None = None, **changes: Any) -> Artefact:
    config = PpoConfig(
        **(
            PPO
            | {
                "iterations": 5,
                "rollouts": 6,
                "minibatches": 2,
                "epochs": 2,
                "max_tokens": 8,
                "kl_target": 0.5,
                "kl_horizon": 40,
            }
            | changes
        )
    )
    return ppo.run(config, base(folder), judge(folder), prompts(), folder / "out", progress, seed=5, parents={},
                   rehearse=demonstrations(), world=world)  # fmt: skip


def run_grpo(folder: Path, progress: Progress, world: World | None = None, **changes: Any) -> Artefact:
    given = {"iterations": 5, "prompts": 2, "answers": 3, "minibatches": 2, "epochs": 2, "max_tokens": 8}
    config = GrpoConfig(**(PPO | given | changes))
    return grpo.run(config, base(folder), judge(folder), prompts(), folder / "out", progress, seed=5, parents={},
                    world=world)  # fmt: skip


STAGES: dict[str, Callable[..., Artefact]] = {
    "pretrain": run_pretrain, "sft": run_sft, "reward": run_reward, "ppo": run_ppo,
    "grpo": run_grpo, "dpo": run_dpo,
}  # fmt: skip


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the software catches it."""


class KillAt(Progress):
    """Silent progress that ends the run when stage `name` reports step `step`."""

    def __init__(self, name: str, step: int) -> None:
        super().__init__()
        self.name, self.step = name, step

    def emit(self, stage: str, event: str, **fields: Any) -> None:
        pass

    def _move_bar(self, bar: Any, done: int, figures: dict[str, float]) -> None:
        if figures and done == self.step:
            raise Killed


class Steps(Progress):
    """Silent progress that keeps the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[int, float] = {}

    def _move_bar(self, bar: Any, done: int, figures: dict[str, float]) -> None:
        if "loss" in figures:
            self.losses[done] = figures["loss"]


def weights(artefact: Artefact) -> dict[str, str]:
    """The hash of every file that holds weights."""
    return {name: digest for name, digest in artefact.manifest.files.items() if name.endswith(".safetensors")}


__all__ = ["STAGES", "KillAt", "Killed", "Stage", "Steps", "weights"]
