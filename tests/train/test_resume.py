"""A run that is killed goes on to the same bits, wherever it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import random_decoder, random_examples
from tests.train.worlds import OPTIM, SHARED, STAGES, KillAt, Killed, run_pretrain, run_sft, weights

from chatwright.config import StepConfig
from chatwright.model.measure import language_loss
from chatwright.model.packing import pack_rows
from chatwright.progress import Progress
from chatwright.train.loop import Trainer, load_state, save_state
from chatwright.workspace import Artefact


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artefact]:
    """Every stage, uninterrupted."""
    torch.set_num_threads(1)
    return {name: run(tmp_path_factory.mktemp(name), Progress()) for name, run in STAGES.items()}


def killed_and_resumed(stage: str, folder: Path, *steps: int) -> Artefact:
    for step in steps:
        with pytest.raises(Killed):
            STAGES[stage](folder, KillAt(stage, step))
        assert not (folder / "out" / "manifest.json").exists()
    return STAGES[stage](folder, Progress())


@pytest.mark.parametrize(("stage", "steps"), [
    ("pretrain", (1, 3, 5)), ("pretrain", (6,)), ("sft", (2, 5)), ("reward", (3, 4)), ("dpo", (1, 3)), ("ppo", (1, 4)),
    ("grpo", (1, 4)), ("grpo", (3,)),
])  # fmt: skip
def test_killed_run_ends_with_the_same_bits(
    stage: str, steps: tuple[int, ...], whole: dict[str, Artefact], tmp_path: Path
) -> None:
    resumed = killed_and_resumed(stage, tmp_path, *steps)
    assert weights(resumed) == weights(whole[stage])
    assert resumed.id == whole[stage].id
    assert not (tmp_path / "out" / "state").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_curve_of_a_killed_run_is_that_of_an_uninterrupted_one(
    stage: str, whole: dict[str, Artefact], tmp_path: Path
) -> None:
    resumed = killed_and_resumed(stage, tmp_path, 3)

    def timeless(artefact: Artefact) -> list[dict[str, float]]:
        times = ("seconds", "collect_seconds", "tokens_per_second")
        return [{k: v for k, v in row.items() if k not in times} for row in artefact.manifest.figures["curve"]]

    assert timeless(resumed) == timeless(whole[stage])
    assert len(timeless(resumed)) >= 3


@pytest.mark.parametrize("moment", ["tensors", "facts", "rename", "removal"])
def test_kill_while_a_checkpoint_is_written_leaves_a_loadable_one(
    moment: str, whole: dict[str, Artefact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatwright.train import loop

    calls = 0

    def second(function: Any) -> Any:
        """Dies halfway through the second call."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < 2:
                return function(*args, **kwargs)
            if moment == "tensors":
                Path(args[1]).write_bytes(b"half a file")
            raise Killed

        return wrapped

    with monkeypatch.context() as patch:
        if moment == "tensors":
            patch.setattr(loop, "save_file", second(loop.save_file))
        elif moment == "facts":
            patch.setattr(loop, "write_json", second(loop.write_json))
        elif moment == "rename":
            patch.setattr(Path, "rename", second(Path.rename))
        else:
            patch.setattr(loop, "sync_folder", second(loop.sync_folder))
        with pytest.raises(Killed):
            run_sft(tmp_path, Progress())
    assert weights(run_sft(tmp_path, Progress())) == weights(whole["sft"])


def test_only_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run_pretrain(tmp_path, KillAt("pretrain", 6))
    assert [p.name for p in (tmp_path / "out" / "state").iterdir()] == ["step-00000004"]


def make_trainer(seed: int = 1) -> Trainer:
    return Trainer(random_decoder(seed), StepConfig(**(SHARED | {"optim": OPTIM})))


def take_steps(trainer: Trainer, count: int) -> None:
    for _ in range(count):
        batch = pack_rows([random_examples([9, 14], trainer.step_number)])
        trainer.step([batch], language_loss(torch.float32), float(batch.weights.sum()), 0.4)


def test_saved_trainer_equals_the_one_it_came_from(tmp_path: Path) -> None:
    first, again = make_trainer(), make_trainer(2)
    take_steps(first, 3)
    save_state(tmp_path, 3, {"model": first}, curve=[{"step": 3}])
    facts = load_state(tmp_path, {"model": again})
    assert facts is not None
    assert facts["curve"] == [{"step": 3}]
    assert (again.step_number, again.skipped) == (3, 0)
    take_steps(first, 2)
    take_steps(again, 2)
    for (name, ours), theirs in zip(first.model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_skipped_steps_in_a_row_are_counted_across_a_resume(tmp_path: Path) -> None:
    trainer, again = make_trainer(), make_trainer()
    bad = pack_rows([random_examples([9], 0)])

    def broken(model: Any, batch: Any) -> Any:
        total, figures = language_loss(torch.float32)(model, batch)
        return total * float("nan"), figures

    for _ in range(4):
        trainer.step([bad], broken, 1.0, 0.5)
    save_state(tmp_path, 4, {"model": trainer})
    load_state(tmp_path, {"model": again})
    assert again.skipped == 4
    with pytest.raises(Exception, match="not finite in 5 steps in a row"):
        again.step([bad], broken, 1.0, 0.5)


def test_nothing_saved_is_nothing_loaded(tmp_path: Path) -> None:
    assert load_state(tmp_path, {"model": make_trainer()}) is None
