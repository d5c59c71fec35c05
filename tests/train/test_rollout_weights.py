"""Rollouts are drawn with the weights of the moment, also where the runner holds a packed copy of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_grpo import Prized, config, newborn, prompts  # noqa: F401
from tests.train.test_learning import QUESTIONS, counting_judge, ppo_config

from chatwright.config import LoraConfig
from chatwright.engine import core
from chatwright.engine.torch_runner import TorchRunner
from chatwright.model.decoder import Decoder
from chatwright.progress import Progress
from chatwright.train import grpo, ppo


class CopyingRunner(TorchRunner):
    """Computes with what the weights were when it was last told of them."""

    def __init__(self, model: Decoder, slots: int, context: int, *_: object) -> None:
        super().__init__(copy.deepcopy(model), slots, context)

    def load(self, model: Decoder) -> None:
        super().load(copy.deepcopy(model))


@pytest.fixture(autouse=True)
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "choose_runner", CopyingRunner)
    torch.set_num_threads(1)


@pytest.mark.parametrize("rank", [0, 2])
def test_group_rollouts_follow_the_policy(rank: int, newborn: Path, tmp_path: Path) -> None:  # noqa: F811
    made = grpo.run(config(iterations=4, lora=LoraConfig(rank=rank)), newborn, Prized(), prompts(4), tmp_path / "out",
                    Progress(), seed=4, parents={})  # fmt: skip
    assert_followed(made.manifest.figures["curve"])


def test_ppo_rollouts_follow_the_policy(newborn: Path, tmp_path: Path) -> None:  # noqa: F811
    counting_judge(tmp_path / "judge", newborn)
    made = ppo.run(ppo_config(iterations=4), newborn, tmp_path / "judge", QUESTIONS, tmp_path / "out", Progress(),
                   seed=4, parents={})  # fmt: skip
    assert_followed(made.manifest.figures["curve"])


def assert_followed(curve: list[dict[str, Any]]) -> None:
    """The first forward pass of each update agrees with the sampler; and the policy did move."""
    assert len(curve) == 4
    assert all(row["mismatch"] < 1e-5 for row in curve)
    assert abs(curve[-1]["kl"]) > 1e-3
