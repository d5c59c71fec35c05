"""Two ranks over gloo train as one does: the same losses, the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.worlds import STAGES, Steps, base

from chatwright.errors import ConfigError
from chatwright.progress import Progress
from chatwright.train.distributed import World

SCRIPT = Path(__file__).parent / "ranks.py"
UNEVEN = {"batch_tokens": 48 * 5, "micro_tokens": 48}
"""Five rows a step, one a pass: the first rank makes three passes, the second two."""


@dataclass(frozen=True)
class Job:
    stage: str
    sharding: str
    kill_at: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "-".join([self.stage, self.sharding, *(["killed"] if self.kill_at else []), *self.changes])


TRAINED = [
    Job("pretrain", "ddp", changes=UNEVEN), Job("pretrain", "fsdp", changes=UNEVEN), Job("sft", "ddp"),
    Job("sft", "fsdp"), Job("reward", "ddp"), Job("ppo", "ddp"), Job("grpo", "ddp"),
    Job("ppo", "ddp", changes={"value": "shared"}),
    Job("grpo", "ddp", changes={"kl_coef": 0.0}), Job("dpo", "ddp"), Job("dpo", "fsdp"),
    Job("reward", "fsdp"), Job("ppo", "fsdp"), Job("grpo", "fsdp"),
]  # fmt: skip
KILLED = [Job("pretrain", "ddp", kill_at=5), Job("pretrain", "fsdp", kill_at=5)]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / "model.safetensors")


@dataclass
class Alone:
    """Stages on one rank, each made when it is first asked for."""

    root: Path

    def folder(self, stage: str, changes: dict[str, Any]) -> Path:
        folder = self.root / "-".join([stage, *changes])
        if not (folder / "losses.json").exists():
            folder.mkdir()
            steps = Steps()
            STAGES[stage](folder, steps, **changes)
            (folder / "losses.json").write_text(json.dumps(steps.losses))
        return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    torch.set_num_threads(1)
    return Alone(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, alone: Alone) -> Path:
    """All jobs under one torchrun with two ranks."""
    root = tmp_path_factory.mktemp("together")
    jobs = [*TRAINED, *KILLED]
    for job in jobs:  # what the ranks would race for is written before
        base(root / job.name)
        if job.stage in ("ppo", "grpo"):
            (root / job.name / "judge").symlink_to(alone.folder(job.stage, job.changes) / "judge")
    (root / "jobs.json").write_text(json.dumps([asdict(job) | {"name": job.name} for job in jobs]))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(root)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=900, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rank 1 of 2 is done" in done.stdout
    return root


@pytest.mark.parametrize("job", TRAINED, ids=lambda job: job.name)
def test_two_ranks_train_as_one(job: Job, alone: Alone, together: Path) -> None:
    folder = alone.folder(job.stage, job.changes)
    expected, got = (json.loads((f / "losses.json").read_text()) for f in (folder, together / job.name))
    assert expected.keys() == got.keys()
    assert len(expected) > 2
    # Sampled tokens are the same; the steps between, taken in another order of additions, drift a little further.
    tolerance = 1e-4 if job.stage in ("ppo", "grpo") else 1e-5
    for step, loss in expected.items():
        assert got[step] == pytest.approx(loss, abs=tolerance), step
    ours, theirs = weights_of(folder), weights_of(together / job.name)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("job", KILLED, ids=lambda job: job.name)
def test_checkpoint_of_two_ranks_is_continued_by_one(job: Job, alone: Alone, together: Path) -> None:
    folder = together / job.name
    assert [p.name for p in (folder / "out" / "state").iterdir()] == ["step-00000004"]
    STAGES[job.stage](folder, Progress())
    for name, tensor in weights_of(alone.folder(job.stage, {})).items():
        torch.testing.assert_close(weights_of(folder)[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("ranks", "rollouts", "minibatches"), [(4, 6, 2), (2, 10, 4)])  # 10 in 3, 3, 3 and 1
def test_minibatch_smaller_than_the_ranks_is_refused(
    ranks: int, rollouts: int, minibatches: int, alone: Alone, tmp_path: Path
) -> None:
    base(tmp_path)
    (tmp_path / "judge").symlink_to(alone.folder("ppo", {}) / "judge")
    with pytest.raises(ConfigError, match=r"ppo\.minibatches"):
        STAGES["ppo"](tmp_path, Progress(), World(0, ranks, "cpu"), rollouts=rollouts, minibatches=minibatches)
