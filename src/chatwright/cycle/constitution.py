"""Constitutional AI on a run: revisions, the model that learns them, and AI feedback on what that model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chatwright.config import ConstitutionConfig
from chatwright.cycle.run import Run, read_all
from chatwright.engine import Engine
from chatwright.records import Demonstration, Prompt
from chatwright.train import sft
from chatwright.train.constitutional import ai_feedback, critique
from chatwright.train.constitutional.critic import Critic, EngineCritic
from chatwright.train.constitutional.principles import Constitution
from chatwright.workspace import Artefact


def revisions(
    run: Run,
    start: Artefact,
    prompts: Sequence[Prompt],
    constitution: Constitution,
    data: dict[str, str],
    critic: Critic | None = None,
) -> Artefact:
    """The answers of `start` to `prompts`, revised; `data` names where the prompts come from."""
    config = run.settings.constitution
    parents = {"sft": start.id, "constitution": constitution.id, **data, **_outside(critic)}
    return run.artefact(
        "revisions", config.model_dump(include=critique.SETTINGS), parents,
        lambda out: critique.run(config, constitution, start.path, prompts, out, run.progress, seed=run.settings.seed,
                                 parents=parents, critic=critic),
    )  # fmt: skip


def constitution_tuned(
    run: Run, start: Artefact, revised: Artefact, helpful: Sequence[Demonstration], data: dict[str, str]
) -> Artefact:
    """SFT of `start` on revisions, mixed with `helpful` demonstrations; `data` names where these come from.

    One row in forty is held out, as in every fine-tuning.
    """
    config = run.settings.constitution
    made = read_all([revised.path / critique.REVISIONS], Demonstration.from_json, whole=True)
    rows = mixture(config, made, helpful, run.settings.seed)
    held = max(1, len(rows) // 40) if len(rows) > 1 else 0
    parents = {"base": start.id, "revisions": revised.id, **data}
    keyed = {**config.sft.model_dump(), "helpful_weight": config.helpful_weight}

    def make(out: Path) -> None:
        sft.run(config.sft, start.path, rows[held:], out, run.progress, seed=run.settings.seed, parents=parents,
                heldout=rows[:held], world=run.world, sample=run.sampler(start.path), name="constitution")  # fmt: skip

    return run.artefact("sft", keyed, parents, make, together=True)


def mixture(
    config: ConstitutionConfig, revised: Sequence[Demonstration], helpful: Sequence[Demonstration], seed: int
) -> list[Demonstration]:
    """Revisions and helpful demonstrations in a seeded order, the latter with their weight times helpful_weight."""
    rows = [*revised, *(replace(d, weight=d.weight * config.helpful_weight) for d in helpful)]
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(rows))
    return [rows[i] for i in order]


def feedback(
    run: Run,
    model: Artefact,
    judge: Artefact,
    prompts: Sequence[Prompt],
    constitution: Constitution,
    data: dict[str, str],
    critic: Critic | None = None,
) -> Artefact:
    """Pairs of answers of `model`, compared by `judge` or else by `critic`: rows for `chatwright reward`."""
    config = run.settings.constitution
    outside = _outside(critic) or {"critic": judge.id}
    parents = {"sft": model.id, "constitution": constitution.id, **data, **outside}

    def make(out: Path) -> None:
        chosen = critic or EngineCritic(Engine.load(judge.path))
        ai_feedback.run(config, constitution, model.path, prompts, out, run.progress, seed=run.settings.seed,
                        parents=parents, critic=chosen)  # fmt: skip

    return run.artefact("comparisons", config.model_dump(include=ai_feedback.SETTINGS), parents, make)


def _outside(critic: Critic | None) -> dict[str, str]:
    """An endpoint is a parent too; the model's own criticism already has its parent."""
    return {"critic": critic.id} if critic else {}
