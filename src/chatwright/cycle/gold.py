"""The independent judge of a run: the small world's grader, or reward models that nothing is trained on."""

from __future__ import annotations

from collections.abc import Sequence

from chatwright import starter
from chatwright.config import EnsembleConfig
from chatwright.errors import InputError
from chatwright.evaluate import fit_curve
from chatwright.machine import compute_dtype, default_device
from chatwright.model.checkpoint import load_template
from chatwright.model.tokenizer import Tokenizer
from chatwright.records import Prompt
from chatwright.train.gold_measure import Gold, GoldCheck
from chatwright.train.judges import load_judges
from chatwright.workspace import Artefact


def starter_gold(prompts: Sequence[Prompt]) -> Gold:
    """The small world's grader; raises InputError where one of `prompts` does not say what is true."""
    blind = sum(not starter.gradable(p) for p in prompts)
    if blind:
        raise InputError(
            f"{blind} of {len(prompts)} prompts hold no truth that the small world's grader knows; give its own "
            "held-out prompts, or reward models as gold"
        )
    return lambda asked, said: [starter.grade(p, text).score for p, text in zip(asked, said, strict=True)]


def reward_gold(start: Artefact, judges: Sequence[Artefact], proxies: Sequence[Artefact]) -> Gold:
    """The mean of reward models that are none of the `proxies`."""
    used = {a.id for a in proxies}
    shared = next((a for a in judges if a.id in used), None)
    if shared is not None:
        raise InputError(f"{shared.id} cannot be its own judge; give a reward model as gold that is not optimised")
    device = default_device()
    together = load_judges([a.path for a in judges], EnsembleConfig(), start.path).to(device)
    template = load_template(start.path, Tokenizer.load(start.path / "tokenizer.json"))
    dtype = compute_dtype("auto", device)
    return lambda asked, said: together.grade(template, asked, said, dtype)


def gold_check(gold: Gold, heldout: Sequence[Prompt]) -> GoldCheck:
    """What PPO's monitor needs, with Gao's curve for reinforcement learning in its report."""

    def fit(distances: Sequence[float], gains: Sequence[float]) -> dict[str, object] | None:
        fitted = fit_curve(distances, gains, learned=True)
        return fitted.to_json() if fitted else None

    return GoldCheck(heldout, gold, fit=fit)
