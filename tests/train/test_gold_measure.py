"""PPO under watch: it stops where gold falls, keeps the best weights, and a killed run ends with the same ones."""

from __future__ import annotations

import math
import os
import string
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.model.small import tiny_shape, tiny_tokenizer
from tests.train.test_learning import QUESTIONS, counting_judge, ppo_config
from tests.train.worlds import KillAt, Killed, weights

from chatwright.config import MonitorConfig, PpoConfig
from chatwright.engine import Completion, Engine, Request, SamplingParams, seeds
from chatwright.errors import ConfigError, InputError, WorkspaceError
from chatwright.model.checkpoint import save_checkpoint
from chatwright.model.decoder import Decoder, initialise
from chatwright.progress import Progress
from chatwright.records import Message, Prompt
from chatwright.train import gold_measure, ppo
from chatwright.train.distributed import World
from chatwright.train.gold_measure import STREAM, GoldCheck, by_unit
from chatwright.train.loop import Trainer
from chatwright.workspace import Artefact, load_artefact

LOUD = string.ascii_uppercase + string.digits
"""What the reward model counts: about a tenth of what an untrained model says. Gold wants some of it, not more."""

HELD_OUT = [Prompt((Message("user", f"Ask {i}"),)) for i in range(40)]
WATCHED = MonitorConfig(every=2, window=2, prompts=40)
ITERATIONS = 24
WATCHED_RANK = Path(__file__).with_name("watched.py")


def gold_of(text: str) -> float:
    return 1.0 - abs(sum(c in LOUD for c in text) / max(1, len(text)) - 0.4)


def grade(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
    assert len(prompts) == len(texts)
    return [gold_of(text) for text in texts]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newborn policy and a reward model that counts loud letters."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("world")
    model = initialise(Decoder(tiny_shape(family="qwen3", qk_norm=True, width=32, mlp_width=64)), 3)
    save_checkpoint(folder / "base", model, tiny_tokenizer())
    loud = [i for letter in LOUD for i in tiny_tokenizer().encode(letter)]
    counting_judge(folder / "judge", folder / "base", loud)
    return folder


def run(
    world: Path, out: Path, progress: Progress | None = None, check: GoldCheck | None = None,
    ranks: World | None = None, **changes: Any,
) -> Artefact:  # fmt: skip
    given = {"iterations": ITERATIONS, "monitor": WATCHED, "checkpoint_every": 5, "evaluate_every": 5}
    return ppo.run(
        ppo_config(**(given | changes)), world / "base", world / "judge", QUESTIONS, out, progress or Progress(),
        seed=4, parents={}, check=check, world=ranks,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stopped(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return run(world, tmp_path_factory.mktemp("stopped") / "out", check=GoldCheck(HELD_OUT, grade))


def test_it_stops_after_the_peak_and_says_so(stopped: Artefact) -> None:
    report = stopped.manifest.figures["monitor"]
    steps, golds = [row["step"] for row in report["curve"]], [row["gold"] for row in report["curve"]]
    best = golds.index(max(golds))
    assert report["stopped"]
    assert steps == list(range(0, steps[-1] + 1, 2))
    assert stopped.manifest.figures["iterations"] == steps[-1] < ITERATIONS
    assert 0 < best <= len(steps) - 1 - WATCHED.window
    assert report["best_iteration"] == steps[best]
    assert golds[best] > golds[0] + 0.05
    assert golds[-1] < golds[best] - 0.05
    assert report["curve"][-1]["proxy"] > report["curve"][best]["proxy"]
    assert report["said"].startswith(f"stopped at iteration {steps[-1]}: gold fell from {golds[best]:.3f}")
    assert report["said"].endswith(f"weights of iteration {steps[best]}")
    assert stopped.manifest.figures["reward"] == report["curve"][best]["proxy"]


def asked_again(made: Artefact) -> list[Completion]:
    """What a saved model says to the held-out prompts, one prompt at a time."""
    engine = Engine.load(made.path)
    return [
        engine.generate([Request(engine.encode(p.messages), SamplingParams(max_tokens=8, temperature=1.0, seed=s))])[0]
        for p, s in zip(HELD_OUT, seeds(4, STREAM, len(HELD_OUT)), strict=True)
    ]


def gold_in(said: Sequence[Completion]) -> float:
    return sum(gold_of(c.text.strip()) for c in said) / len(said)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_ranks_stop_together_and_keep_the_best(sharding: str, world: Path, tmp_path: Path) -> None:
    for name in ("base", "judge"):
        (tmp_path / name).symlink_to(world / name)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(WATCHED_RANK)]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path), sharding], capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    made = load_artefact(tmp_path / "out")
    report = made.manifest.figures["monitor"]
    assert report["stopped"]
    assert report["best_iteration"] < made.manifest.figures["iterations"] < ITERATIONS
    assert gold_in(asked_again(made)) == pytest.approx(report["gold_best"], abs=1e-9)


def test_the_model_that_is_kept_is_the_one_that_was_measured_best(stopped: Artefact) -> None:
    report, said = stopped.manifest.figures["monitor"], asked_again(stopped)
    assert gold_in(said) == pytest.approx(report["gold_best"], abs=1e-9)
    row = next(r for r in report["curve"] if r["step"] == report["best_iteration"])
    assert row["length"] == pytest.approx(sum(len(c.tokens) for c in said) / len(said))
    assert row["ended"] == pytest.approx(sum(c.finish_reason == "stop" for c in said) / len(said))
    spoken = [x for c in said for x in c.logprobs]
    assert row["entropy"] == pytest.approx(-sum(spoken) / len(spoken), abs=1e-4)
    assert 0 < row["entropy"] < math.log(tiny_tokenizer().vocab_size)


def test_watching_changes_nothing_about_the_training(stopped: Artefact, world: Path, tmp_path: Path) -> None:
    """The kept weights are, to the bit, those of a run that nobody watched, at the same iteration."""
    best = stopped.manifest.figures["monitor"]["best_iteration"]
    with pytest.raises(Killed):
        run(world, tmp_path / "out", KillAt("ppo", best + 1), checkpoint_every=1)
    state = load_file(tmp_path / "out" / "state" / f"step-{best:08d}" / "state.safetensors")
    kept = load_file(stopped.path / "model.safetensors")
    for name, tensor in kept.items():
        assert torch.equal(tensor, state[f"policy/model/{name}"]), name


def timeless(artefact: Artefact) -> dict[str, Any]:
    return artefact.manifest.figures["monitor"]


@pytest.mark.parametrize("steps", [(1,), (2, 3), (4, 9, 10), (11,)])
def test_killed_between_iterations_it_ends_with_the_same_bits(
    steps: tuple[int, ...], stopped: Artefact, world: Path, tmp_path: Path
) -> None:
    last = stopped.manifest.figures["iterations"]
    for step in steps:
        with pytest.raises(Killed):
            run(world, tmp_path / "out", KillAt("ppo", min(step, last)), GoldCheck(HELD_OUT, grade))
    again = run(world, tmp_path / "out", check=GoldCheck(HELD_OUT, grade))
    assert weights(again) == weights(stopped)
    assert again.id == stopped.id
    assert timeless(again) == timeless(stopped)
    assert not (again.path / "state").exists()


@pytest.mark.parametrize(
    ("moment", "call"),
    [("gold", 1), ("gold", 3), ("keep_best", 2), ("saved", 2), ("drop_others", 2), ("drop_others", 4),
     ("restore_best", 1)],
)  # fmt: skip
def test_killed_while_it_measures_keeps_or_restores_it_ends_with_the_same_bits(
    moment: str, call: int, stopped: Artefact, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def dying(function: Any, *, after: bool = False) -> Any:
        """Dies in the chosen call, before or after its work is done."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < call:
                return function(*args, **kwargs)
            if after:
                function(*args, **kwargs)
            raise Killed

        return wrapped

    gold = grade
    with monkeypatch.context() as patch:
        if moment == "gold":
            gold = dying(grade)
        elif moment == "saved":
            patch.setattr(ppo, "keep_best", dying(ppo.keep_best, after=True))
        else:
            patch.setattr(ppo, moment, dying(getattr(ppo, moment)))
        with pytest.raises(Killed):
            run(world, tmp_path / "out", check=GoldCheck(HELD_OUT, gold))
    again = run(world, tmp_path / "out", check=GoldCheck(HELD_OUT, grade))
    assert weights(again) == weights(stopped)
    assert timeless(again) == timeless(stopped)


def test_only_the_best_weights_are_kept_on_disk(world: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(world, tmp_path / "out", KillAt("ppo", 7), GoldCheck(HELD_OUT, grade))
    assert len(list((tmp_path / "out" / "state").glob("best-*"))) == 1


def test_a_gold_that_follows_the_proxy_lets_the_run_end(world: Path, tmp_path: Path) -> None:
    def share(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
        return [sum(c in LOUD for c in text) / max(1, len(text)) for text in texts]

    fits: list[tuple[Sequence[float], Sequence[float]]] = []

    def fit(distances: Sequence[float], gains: Sequence[float]) -> dict[str, float]:
        fits.append((distances, gains))
        return {"alpha": 1.5}

    check = GoldCheck(HELD_OUT, share, agreement=lambda engine: 0.25, fit=fit)
    made = run(world, tmp_path / "out", check=check, iterations=10)
    plain = run(world, tmp_path / "plain", iterations=10)
    report = made.manifest.figures["monitor"]
    assert not report["stopped"]
    assert "not stopped; weights of iteration 10" in report["said"]
    assert weights(made) == weights(plain)
    assert report["fit"] == {"alpha": 1.5}
    assert [row["agreement"] for row in report["curve"]] == [0.25] * 6
    distances, gains = fits[-1]
    assert gains[0] == 0.0
    assert distances[0] == pytest.approx(0.0, abs=1e-3)
    assert distances[-1] > 0.5


def test_prompts_that_ask_for_the_same_count_as_one() -> None:
    assert by_unit([1.0, 2.0, 6.0, 4.0], ["a", "b", "a", 3]) == (3.5, 2.0, 4.0)


# Bad input.


def refused(world: Path, out: Path, check: GoldCheck, error: type[Exception], words: str, **changes: Any) -> None:
    with pytest.raises(error, match=words) as caught:
        run(world, out, check=check, **changes)
    assert "\n" not in str(caught.value)
    assert not (out / "manifest.json").exists()


def test_too_few_prompts_or_prompts_that_are_practised_on_are_refused(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(world, out, GoldCheck(HELD_OUT[:29], grade), InputError, "needs 30 different held-out prompts.*not 29")
    same = [Prompt(p.messages, truth={"key": i % 7}) for i, p in enumerate(HELD_OUT)]
    refused(world, out, GoldCheck(same, grade), InputError, "not 7")
    refused(world, out, GoldCheck([*HELD_OUT[:30], *QUESTIONS[:2]], grade), InputError, "2 of the prompts held out")
    long = [Prompt((Message("user", "the old mill " * 40 + str(i)),)) for i in range(40)]
    refused(world, out, GoldCheck(long, grade), InputError, "room for an answer, not 0")
    assert not out.exists() or not any(out.iterdir())


def test_a_run_too_short_to_be_judged_is_refused(world: Path, tmp_path: Path) -> None:
    refused(world, tmp_path / "out", GoldCheck(HELD_OUT, grade), ConfigError, "ppo.monitor.every", iterations=2)


@pytest.mark.parametrize("bad", [[math.nan] * 40, [1.0] * 39])
def test_a_gold_that_is_no_number_is_not_taken_for_one(bad: list[float], world: Path, tmp_path: Path) -> None:
    refused(world, tmp_path / "out", GoldCheck(HELD_OUT, lambda p, t: bad), InputError, "finite number")


def test_a_state_without_gold_and_damaged_weights_are_named(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed):
        run(world, out, KillAt("ppo", 7))
    refused(world, out, GoldCheck(HELD_OUT, grade), WorkspaceError, "without a gold measure")
    state = tmp_path / "state"
    state.mkdir()
    gold_measure.best_weights(state, 4).write_bytes(b"half a file")
    with pytest.raises(WorkspaceError, match="damaged"):
        gold_measure.restore_best(state, 4, Trainer(Decoder(tiny_shape()), PpoConfig()))


def test_the_smallest_number_of_prompts_is_a_setting_within_bounds() -> None:
    with pytest.raises(ValueError, match="30"):
        PpoConfig(monitor=MonitorConfig(prompts=29))
