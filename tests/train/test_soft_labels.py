"""Soft labels: as records, in the loss, and in the reward model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit
from tests.model.small import tiny_tokenizer
from tests.train.worlds import SHARED, base, comparisons, demonstrations

from chatwright.config import RewardConfig
from chatwright.errors import InputError
from chatwright.model.chat import NativeTemplate
from chatwright.progress import Progress
from chatwright.records import Comparison, Demonstration, Message
from chatwright.train import reward
from chatwright.train.losses import ranking_loss
from chatwright.train.sft import prepare, source_of

TWO = {"prompt": "hi", "responses": ["a", "b"]}


def soft(p: float, number: int = 0) -> Comparison:
    return Comparison.from_json({"prompt": f"Say {number}", "responses": ["by the river", "no"], "preference": p})


@pytest.mark.parametrize(
    ("p", "ranking", "pairs"),
    [(0.8, ((0,), (1,)), [(0, 1, 0.8)]), (0.2, ((1,), (0,)), [(1, 0, 0.8)]), (0.5, ((0, 1),), [(0, 1, 0.5)]),
     (1, ((0,), (1,)), [(0, 1, 1.0)])],
)  # fmt: skip
def test_a_preference_is_a_ranking_and_a_labelled_pair(p: float, ranking: Any, pairs: Any) -> None:
    row = soft(p)
    assert row.ranking == ranking
    assert [pytest.approx(found) for found in row.labelled_pairs()] == pairs
    assert Comparison.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_rows_without_one_are_what_they_were() -> None:
    row = Comparison.from_json({**TWO, "preferred": 1})
    assert row.preference is None
    assert "preference" not in row.to_json()
    assert row.labelled_pairs() == [(1, 0, 1.0)]
    assert Comparison.from_json({**TWO, "preferred": 1, "preference": None}) == row
    assert Comparison.from_json({**TWO, "preference": 0.3}).id != Comparison.from_json({**TWO, "preference": 0.2}).id


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"preference": 1.2}, "probability from 0 to 1"), ({"preference": "0.5"}, "probability from 0 to 1"),
        ({"preference": True}, "probability from 0 to 1"), ({"preference": math.nan}, "probability from 0 to 1"),
        ({"preference": 0.9, "preferred": 1}, "contradict each other"),
        ({"preference": 0.5, "ranking": [0, 1]}, "contradict each other"),
        ({"preference": 0.9, "responses": ["a", "b", "c"]}, "of two responses, not of 3"),
    ],
)  # fmt: skip
def test_a_preference_that_cannot_be_is_one_sentence(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Comparison.from_json(TWO | more)
    assert sentence in str(caught.value)


def numbers(count: int, seed: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(count) * 2)


def test_soft_loss_is_the_cross_entropy_of_the_label() -> None:
    rewards, pairs = numbers(4, 1), torch.tensor([[0, 1], [3, 2], [1, 2]])
    labels, weights = torch.tensor([0.9, 0.5, 0.6]).double(), torch.tensor([1.0, 2.0, 0.5]).double()
    expected = 0.0
    for (i, j), p, w in zip(pairs.tolist(), labels.tolist(), weights.tolist(), strict=True):
        q = expit(float(rewards[i] - rewards[j]))
        expected -= w * (p * math.log(q) + (1 - p) * math.log(1 - q))
    assert float(ranking_loss(rewards, pairs, weights, labels_P=labels)) == pytest.approx(expected, rel=1e-12)


def test_labels_of_1_change_no_bit_of_the_loss_and_its_gradient() -> None:
    pairs = torch.tensor(list(combinations(range(5), 2)))
    weights = torch.rand(len(pairs), generator=torch.Generator().manual_seed(1))
    values = []
    for labels in (None, torch.ones(len(pairs))):
        rewards = (numbers(5, 3) * 30).float().requires_grad_()
        loss = ranking_loss(rewards, pairs, weights, 0.01, labels)
        loss.backward()
        assert rewards.grad is not None
        values.append((loss.detach(), rewards.grad))
    assert torch.equal(values[0][0], values[1][0])
    assert torch.equal(values[0][1], values[1][1])


def test_swapping_the_answers_and_the_label_gives_the_same_loss() -> None:
    rewards, pairs, weights = numbers(6, 5), torch.tensor([[0, 1], [2, 3], [4, 5]]), torch.ones(3).double()
    labels = torch.tensor([0.7, 0.2, 1.0]).double()
    one = ranking_loss(rewards, pairs, weights, 0.1, labels)
    other = ranking_loss(rewards, pairs.flip(-1), weights, 0.1, 1 - labels)
    assert float(one) == pytest.approx(float(other), rel=1e-12)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9])
def test_the_best_margin_is_the_log_odds_of_the_label(p: float) -> None:
    def loss(margin: float) -> float:
        rewards = torch.tensor([margin, 0.0], dtype=torch.float64)
        return float(ranking_loss(rewards, torch.tensor([[0, 1]]), torch.ones(1).double(), labels_P=torch.tensor([p])))

    found = minimize_scalar(loss, bounds=(-8, 8), method="bounded", options={"xatol": 1e-7})
    assert found.x == pytest.approx(math.log(p / (1 - p)), abs=1e-4)  # p is a float32 in the loss


def test_groups_carry_labels_and_an_even_one_is_learned_but_not_judged(tmp_path: Path) -> None:
    template = NativeTemplate(tiny_tokenizer())
    groups, left_out = reward.groups_of(template, [soft(0.8), soft(0.5), soft(0.1), *comparisons(1)], 64)
    assert [g.labels for g in groups] == [[0.8], [0.5], [0.9], [1.0, 1.0, 1.0]]
    assert [g.pairs[0] for g in groups] == [(0, 1), (0, 1), (1, 0), (0, 1)]
    assert left_out == 0
    batch = reward.batch_groups(groups, 64)
    assert batch.labels.tolist() == pytest.approx([0.8, 0.5, 0.9, 1, 1, 1])
    from chatwright.train.scoring import from_decoder

    assert len(reward.judge(from_decoder(base(tmp_path), 1), groups, 64, torch.float32)) == 5


def test_a_reward_model_learns_how_sure_it_may_be(tmp_path: Path) -> None:
    """Every row says 0.8: the margin settles at ln 4, where hard labels would drive it on."""
    rows = [soft(0.8, n) for n in range(24)]
    found = {}
    for name, given in (("soft", rows), ("hard", [replace(r, preference=None) for r in rows])):
        config = RewardConfig(
            **(SHARED | {"epochs": 30.0, "holdout_fraction": 0.2, "checkpoint_every": 500, "center": 0})
        )
        made = reward.run(config, base(tmp_path), given, tmp_path / name, Progress(), seed=2, parents={})
        from chatwright.train.scoring import load_scoring

        template = NativeTemplate(tiny_tokenizer())
        groups, _ = reward.groups_of(template, given, 64)
        margins = [p.margin for p in reward.judge(load_scoring(made.path), groups, 64, torch.float32)]
        found[name] = sum(margins) / len(margins)
    assert found["soft"] == pytest.approx(math.log(4), abs=0.4)
    assert found["hard"] > 3


def test_given_turns_are_read_and_not_learned() -> None:
    template = NativeTemplate(tiny_tokenizer())
    turns = (Message("user", "Q"), Message("assistant", "bad"), Message("user", "And?"), Message("assistant", "good"))
    rows = [Demonstration(turns, given=given) for given in (0, 2, 3)]
    made = prepare(template, rows, 64).examples
    assert all(list(e.tokens) == list(made[0].tokens) for e in made)
    learned = [[t for t, w in zip(e.tokens, e.weights, strict=True) if w] for e in made]
    end = tiny_tokenizer().id("<|end|>")
    bad, good = ([*tiny_tokenizer().encode(word), end] for word in ("bad", "good"))
    assert learned == [[*bad, *good], good, good]
    cut = prepare(template, [Demonstration((*turns[:3], Message("assistant", "long " * 60)), given=3)], 40)
    assert (cut.dropped, cut.examples) == (1, [])


def test_given_survives_json_and_must_leave_something_to_learn() -> None:
    row = replace(demonstrations(1)[0], given=1, id="x")
    assert Demonstration.from_json(json.loads(json.dumps(row.to_json()))) == row
    assert "given" not in demonstrations(1)[0].to_json()
    for given, sentence in ((2, "left to learn"), (-1, "number of messages"), (True, "number of messages")):
        with pytest.raises(InputError, match=sentence):
            Demonstration.from_json(row.to_json() | {"given": given})


def test_the_source_of_a_model_is_the_least_human_of_its_rows() -> None:
    rows = demonstrations(3)
    assert source_of(rows) == "human"
    assert source_of([*rows, replace(rows[0], source="model")]) == "model"
    assert source_of([replace(rows[0], source="model"), replace(rows[0], source="simulated")]) == "simulated"
