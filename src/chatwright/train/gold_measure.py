"""The monitor at work: asks the policy held-out prompts, keeps the history and the best weights on disk.

What is decided stands in `gold_monitor.py`. The weights of the best measurement lie in the state folder under the
number of their iteration; they are written before the state that names them and removed only after one that no longer
does, so a run killed at any instant finds the ones it needs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatwright.config import MonitorConfig, PpoConfig
from chatwright.engine import Engine, seeds
from chatwright.errors import ConfigError, InputError, WorkspaceError
from chatwright.files import sync_folder
from chatwright.model.decoder import Decoder
from chatwright.progress import Stage
from chatwright.records import Prompt
from chatwright.train.gold_monitor import Measurement, Verdict, judge
from chatwright.train.judges import Judges
from chatwright.train.loop import Trainer
from chatwright.train.rollouts import answer_and_score

Gold = Callable[[Sequence[Prompt], Sequence[str]], Sequence[float]]
"""How good each answer to its prompt is, by a judge that the run does not train on; any scale, higher is better."""

STREAM = 1 << 40
"""Of the seeds of measurements: far from those of rollouts, and the same every time, so that prompts are paired."""

FEWEST = 30
"""Units under which the t test on their mean is not to be relied on."""


@dataclass(frozen=True, slots=True)
class GoldCheck:
    """Held-out prompts and the independent measures of what is answered to them.

    `agreement` tells the share of users who are wrong and are told that they are right (sycophancy). `fit` makes
    figures of a curve through (distances, gold gains), for the report.
    """

    prompts: Sequence[Prompt]
    gold: Gold
    agreement: Callable[[Engine], float] | None = None
    fit: Callable[[Sequence[float], Sequence[float]], Mapping[str, Any] | None] | None = None


class GoldMonitor:
    """Measures one PPO run and says when it has gone too far."""

    def __init__(self, check: GoldCheck, config: PpoConfig, engine: Engine, practised: Sequence[Prompt]) -> None:
        self.check, self.config = check, config
        self.history: list[Measurement] = []
        rendered = [engine.template.render(p.messages, add_generation_prompt=True).tokens for p in check.prompts]
        fitting = [i for i, tokens in enumerate(rendered) if len(tokens) <= engine.context - config.max_tokens]
        chosen = fitting[: self.settings.prompts]
        self.prompts = [check.prompts[i] for i in chosen]
        self.tokens = [tuple(rendered[i]) for i in chosen]
        known = {p.messages for p in practised}
        seen = sum(p.messages in known for p in self.prompts)
        if seen:
            raise InputError(f"{seen} of the prompts held out for the gold measure are practised on too; give others")
        self.units = [str(p.truth.get("key", f"prompt {i}")) for i, p in enumerate(self.prompts)]
        if len(set(self.units)) < FEWEST:
            raise InputError(
                f"the gold measure needs {FEWEST} different held-out prompts that leave room for an answer, not "
                f"{len(set(self.units))}"
            )
        if self.planned <= self.settings.window:
            raise ConfigError(
                f"{config.iterations} iterations measured every {self.settings.every} leave nothing to set against the "
                "best; lower ppo.monitor.every or ppo.monitor.window"
            )

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Takes the history of a saved state; {} where the run is new."""
        self.history = [Measurement.from_json(row) for row in saved.get("gold", [])]
        if saved and not self.history:
            raise WorkspaceError("the saved state was made without a gold measure; remove it, or leave the measure out")

    @property
    def settings(self) -> MonitorConfig:
        return self.config.monitor

    @property
    def planned(self) -> int:
        """Measurements of a whole run: at the start, every so many iterations, and at the end."""
        return 1 + math.ceil(self.config.iterations / self.settings.every)

    @property
    def verdict(self) -> Verdict:
        """On the history, which must hold the start at least."""
        return judge(self.history, self.settings, self.planned)

    def due(self, step: int) -> bool:
        """Whether to measure after `step` iterations; never twice."""
        measured = bool(self.history) and self.history[-1].step >= step
        return not measured and (step % self.settings.every == 0 or step == self.config.iterations)

    def measure(
        self, step: int, engine: Engine, reference: Decoder, judges: Judges, seed: int, dtype: torch.dtype
    ) -> Measurement:
        """Adds a measurement of the policy in `engine` to the history; raises InputError where gold is no number."""
        drawn = seeds(seed, STREAM, len(self.tokens))
        said = answer_and_score(engine, reference, judges, self.tokens, self.config, drawn, dtype)
        gold = list(self.check.gold(self.prompts, [c.text.strip() for c in said.completions]))
        agreement = self.check.agreement(engine) if self.check.agreement else None
        if len(gold) != len(self.prompts) or not all(math.isfinite(g) for g in (*gold, agreement or 0.0)):
            raise InputError("the gold measure must give a finite number for every answer; mend it or leave it out")
        tokens = float(said.mask.sum())
        made = Measurement(
            step=step,
            gold=by_unit(gold, self.units),
            proxy=by_unit(said.scores.tolist(), self.units),
            kl=said.kl_per_answer,
            entropy=said.entropy,
            length=tokens / len(self.tokens),
            ended=float(said.ended.float().mean()),
            disagreement=float(said.disagreement.mean()),
            agreement=agreement,
        )
        self.history.append(made)
        return made

    def tell(self, stage: Stage, known: Mapping[str, str]) -> Verdict:
        """The verdict on what was just measured; alarms that were not `known` before are said aloud."""
        verdict, now = self.verdict, self.history[-1].summary()
        stage.metrics(**{key: now[key] for key in ("gold", "gold_error", "proxy", "kl", "entropy", "disagreement")})
        for kind, sentence in verdict.alarms.items():
            if kind not in known:
                stage.warn(f"iteration {now['step']}: {sentence}")
        return verdict

    def report(self) -> dict[str, Any]:
        """Figures for the manifest; `said` is the outcome in words."""
        rows = [m.summary() for m in self.history]
        verdict, last = self.verdict, self.history[-1].step
        best = next(row for row in rows if row["step"] == verdict.best)
        stopped = verdict.action == "stop"
        if stopped:
            said = f"stopped at iteration {last}: {verdict.reason}; weights of iteration {verdict.best}"
        else:
            ground = f"; alarm: {verdict.reason}" if verdict.alarms else ""
            said = f"not stopped; weights of iteration {last}; gold was best at iteration {verdict.best}{ground}"
        gains = [row["gold"] - rows[0]["gold"] for row in rows]
        distances = [math.sqrt(max(row["kl"], 0.0)) for row in rows]
        fitted = self.check.fit(distances, gains) if self.check.fit else None
        return {
            "said": said, "stopped": stopped, "best_iteration": verdict.best, "gold_best": best["gold"],
            "gold_start": rows[0]["gold"], "gold_last": rows[-1]["gold"], "gold_error": best["gold_error"],
            "fit": fitted, "curve": rows,
        }  # fmt: skip


def by_unit(values: Sequence[float], units: Sequence[Hashable]) -> tuple[float, ...]:
    """The mean of each unit's values, in the order in which the units first appear."""
    gathered: dict[Hashable, list[float]] = {}
    for value, unit in zip(values, units, strict=True):
        gathered.setdefault(unit, []).append(value)
    return tuple(fmean(one) for one in gathered.values())


def best_weights(state: Path, step: int) -> Path:
    return state / f"best-{step:08d}.safetensors"


def keep_best(state: Path, step: int, weights: Mapping[str, Tensor]) -> None:
    """Writes the weights that are the best by gold so far, whole or not at all."""
    state.mkdir(parents=True, exist_ok=True)
    path = best_weights(state, step)
    passing = path.with_name(f".{path.name}.tmp")
    try:
        save_file({name: t.contiguous() for name, t in weights.items()}, passing)
        with passing.open("rb") as handle:
            os.fsync(handle.fileno())
        passing.replace(path)
    except (OSError, SafetensorError) as error:
        passing.unlink(missing_ok=True)
        raise WorkspaceError(f"the best weights {path} could not be written ({error}); is the disk full?") from None
    sync_folder(state)


def drop_others(state: Path, step: int) -> None:
    """Removes what was the best before; called once a state that no longer needs it is on disk."""
    for path in state.glob("best-*.safetensors"):
        if path != best_weights(state, step):
            path.unlink(missing_ok=True)


def restore_best(state: Path, step: int, trainer: Trainer) -> None:
    """Puts the kept weights into the model of `trainer`."""
    path = best_weights(state, step)
    try:
        trainer.place(load_file(path))
    except (SafetensorError, OSError, KeyError) as error:
        raise WorkspaceError(
            f"the kept weights {path} are damaged ({error}); remove the state folder to start this stage again"
        ) from None
