"""The reward models of a run as one: each on its own scale first, then combined, with how far they are apart.

One proxy alone can be fooled where it knows nothing; members that were trained apart are less often fooled together
(Coste et al. 2023, "Reward model ensembles help mitigate overoptimization").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from chatwright.config import EnsembleConfig
from chatwright.errors import InputError
from chatwright.model.chat import ChatTemplate
from chatwright.model.checkpoint import load_shape
from chatwright.model.tokenizer import Tokenizer
from chatwright.records import Prompt
from chatwright.train.answers import answer_example
from chatwright.train.scoring import ScoringModel, load_scoring, score_sequences


def combine(
    scores_MN: Tensor, how: Literal["mean", "min", "uncertainty"], variance_coef: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(reward N, disagreement N) from the normalised scores of M reward models for N answers.

    mean; min, the worst case; or uncertainty: mean - variance_coef x variance over the members (Coste et al.
    2023). Variance and disagreement, its root, are those of the members themselves (divided by M). Of one member all
    three are its score, and the disagreement is 0.
    """
    variance = scores_MN.var(0, correction=0)
    if how == "min":
        reward = scores_MN.min(0).values
    else:
        reward = scores_MN.mean(0)
        if how == "uncertainty":
            reward = reward - variance_coef * variance
    return reward, variance.sqrt()


@dataclass(slots=True)
class Judges:
    """One or more reward models and how their scores become a reward."""

    models: list[ScoringModel]
    config: EnsembleConfig

    def to(self, device: str) -> Judges:
        return Judges([m.to(device) for m in self.models], self.config)

    def score(
        self, sequences: Sequence[Sequence[int]], dtype: torch.dtype, micro_tokens: int = 8192
    ) -> tuple[Tensor, Tensor]:
        """(reward N, disagreement N), in units of normalised reward."""
        scores = torch.stack([score_sequences(m, sequences, dtype, micro_tokens) for m in self.models])
        return combine(scores, self.config.combine, self.config.variance_coef)

    def grade(
        self, template: ChatTemplate, prompts: Sequence[Prompt], texts: Sequence[str], dtype: torch.dtype
    ) -> list[float]:
        """Rewards of answers given as text, as a reward model reads them: with an end, whether or not they had one."""
        answers = [answer_example(template, p.messages, t).tokens for p, t in zip(prompts, texts, strict=True)]
        return self.score([list(tokens) for tokens in answers], dtype)[0].tolist()


def load_judges(folders: Path | Sequence[Path], config: EnsembleConfig, policy: Path) -> Judges:
    """The reward models in `folders`, all of which must read tokens as the model in `policy` writes them."""
    paths = [folders] if isinstance(folders, Path) else list(folders)
    if not paths:
        raise InputError("there is no reward model; name at least one")
    doubled = next((p for i, p in enumerate(paths) if p in paths[:i]), None)
    if doubled is not None:
        raise InputError(f"the reward model {doubled} is named twice; an ensemble needs different ones")
    models = [load_scoring(path) for path in paths]
    size, words = load_shape(policy).vocab_size, _words(policy)
    for path, model in zip(paths, models, strict=True):
        if model.shape.vocab_size != size or _words(path) != words:
            raise InputError(f"the reward model {path} has another vocabulary than {policy}; train it from {policy}")
    return Judges(models, config)


def _words(folder: Path) -> dict[str, int]:
    return Tokenizer.load(folder / "tokenizer.json").backend.get_vocab()
