"""The rubric's marks as a second task of the reward model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.model.small import tiny_tokenizer
from tests.train.worlds import SHARED, base, comparisons

from chatwright.config import RewardConfig
from chatwright.model.chat import NativeTemplate
from chatwright.progress import Progress
from chatwright.records import Comparison
from chatwright.train import reward
from chatwright.train.scoring import from_decoder, load_scoring


def marked(count: int = 12) -> list[Comparison]:
    """Marks that say more than the order; the last comparison has none, the first lacks one mark."""
    rows = [
        replace(c, scores=tuple({"clear": 1.0 + (i + k) % 5, "true": 5.0 - k} for k in range(3)))
        for i, c in enumerate(comparisons(count))
    ]
    rows[0] = replace(rows[0], scores=({"clear": 2.0}, *rows[0].scores[1:]))
    return [*rows[:-1], replace(rows[-1], scores=())]


def groups(rows: list[Comparison]) -> list[reward.Group]:
    return reward.groups_of(NativeTemplate(tiny_tokenizer()), rows, 64)[0]


def test_marks_are_standardised_over_all_answers_and_absent_ones_are_not_numbers() -> None:
    made = groups(marked())
    rubric = reward.Rubric.of(made)
    assert rubric is not None
    assert rubric.names == ("clear", "true")
    rows = torch.tensor([row for g in made for row in rubric.standardised(g)])
    known = rows.isfinite()
    assert known.logical_not().sum(0).tolist() == [3, 4]
    for column in range(2):
        values = rows[known[:, column], column]
        assert float(values.mean()) == pytest.approx(0, abs=1e-6)
        assert float(values.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert reward.Rubric.of(groups(comparisons())) is None


def test_the_loss_adds_the_mean_squared_error_of_the_marks_an_answer_has(tmp_path: Path) -> None:
    made = groups(marked(4))
    rubric = reward.Rubric.of(made)
    assert rubric is not None
    model = from_decoder(base(tmp_path), 1, rubric=2)
    batch = reward.batch_groups(made, 64, rubric)
    plain, _ = reward.reward_loss(0.01, torch.float32)(model, batch)
    both, figures = reward.reward_loss(0.01, torch.float32, 2.5)(model, batch)
    assert model.rubric is not None
    expected = 0.0
    for group in made:
        for answer, wanted in zip(group.answers, rubric.standardised(group), strict=True):
            with torch.no_grad():
                told = model.rubric(model.model(torch.tensor([answer]))[0, -1]).tolist()
            errors = [(t - w) ** 2 for t, w in zip(told, wanted, strict=True) if not math.isnan(w)]
            expected += sum(errors) / len(errors) / len(group.answers) if errors else 0.0
    assert figures["rubric_error"] == pytest.approx(expected, rel=1e-4)
    assert float(both.detach()) == pytest.approx(float(plain.detach()) + 2.5 * expected, rel=1e-4)
    both.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_head_of_the_rubric_stays_behind(tmp_path: Path) -> None:
    config = RewardConfig(**(SHARED | {"epochs": 2.0, "holdout_fraction": 0.2}))
    made = reward.run(config, base(tmp_path), marked(), tmp_path / "out", Progress(), seed=5, parents={})
    model = load_scoring(made.path)
    assert model.rubric is None
    assert not any("rubric" in name for name in model.state_dict())


def test_marks_teach_what_a_noisy_order_hides(tmp_path: Path) -> None:
    """Orders drawn by lot, marks that tell the truth: only with the rubric does the trunk learn what is good."""
    import random

    rng = random.Random(0)
    rows = []
    for i in range(40):
        answers = (f"by the river {i}", f"by the mill {i}")
        order = ((0,), (1,)) if rng.random() < 0.5 else ((1,), (0,))
        rows.append(replace(comparisons(1)[0], responses=answers, ranking=order, scores=({"true": 5.0}, {"true": 1.0}),
                            id=str(i)))  # fmt: skip
    made = groups(rows)
    rubric = reward.Rubric.of(made)
    errors = {}
    for coef in (0.0, 5.0):
        model = from_decoder(base(tmp_path), 1, rubric=1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        loss = reward.reward_loss(0.0, torch.float32, coef)
        for _ in range(30):
            optimizer.zero_grad()
            value, figures = loss(model, reward.batch_groups(made, 64, rubric))
            value.backward()
            optimizer.step()
        errors[coef] = figures["rubric_error"]
    assert errors[5.0] < 0.2 * errors[0.0]
