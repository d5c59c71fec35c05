"""The DPO family in float64 against the papers' equations, written out one pair at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.train.worlds import SHARED, Steps, base, comparisons, run_dpo

from chatwright.config import DpoConfig
from chatwright.errors import InputError
from chatwright.model.checkpoint import load_checkpoint
from chatwright.model.packing import Example
from chatwright.train.distributed import World
from chatwright.train.dpo import baseline, batch_groups, cached_reference, pair_loss, preference_set
from chatwright.train.loop import Trainer
from chatwright.train.preference_losses import WITHOUT_REFERENCE, PreferenceLoss, Side, preference_loss

KINDS: tuple[PreferenceLoss, ...] = get_args(PreferenceLoss)
PAIRS = 6


def sides(seed: int = 0) -> tuple[Side, Side]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(2):
        lengths = rng.integers(1, 12, PAIRS).astype(float)
        policy, reference = (-rng.uniform(0.05, 3.0, PAIRS) * lengths for _ in range(2))
        made.append(Side(*(torch.tensor(x, dtype=torch.float64) for x in (policy, reference, lengths))))
    return made[0], made[1]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(kind: str, w: tuple[float, ...], b: tuple[float, ...], beta: float, e: float, gamma: float) -> float:
    """`w` and `b`: (policy, reference, length) of the better and the worse answer."""
    if kind == "kto":
        gained, lost = w[0] - w[1], b[0] - b[1]
        return ((1 - sigmoid(beta * (gained - 0.7))) + (1 - sigmoid(beta * (0.7 - lost)))) / 2
    if kind in ("dpo", "robust"):
        m = beta * math.log((math.exp(w[0]) / math.exp(w[1])) / (math.exp(b[0]) / math.exp(b[1])))
        right, wrong = -math.log(sigmoid(m)), -math.log(sigmoid(-m))
        return (1 - e) * right + e * wrong if kind == "dpo" else ((1 - e) * right - e * wrong) / (1 - 2 * e)
    if kind == "ipo":
        return ((w[0] - w[1]) / w[2] - (b[0] - b[1]) / b[2] - 0.5 / beta) ** 2
    if kind == "norm":
        m = beta / w[2] * (w[0] - w[1]) - beta / b[2] * (b[0] - b[1])
        return -(1 - e) * math.log(sigmoid(m)) - e * math.log(sigmoid(-m))
    if kind == "simpo":
        m = beta / w[2] * w[0] - beta / b[2] * b[0] - gamma
        return -(1 - e) * math.log(sigmoid(m)) - e * math.log(sigmoid(-m))
    p, q = math.exp(w[0] / w[2]), math.exp(b[0] / b[2])
    return -w[0] / w[2] - beta * math.log(sigmoid(math.log((p / (1 - p)) / (q / (1 - q)))))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("beta", [0.1, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_its_papers_equation(kind: PreferenceLoss, beta: float, smoothing: float) -> None:
    better, worse = sides()
    loss, margin = preference_loss(kind, better, worse, beta=beta, label_smoothing=smoothing, margin=0.4,
                                   baseline=0.7)  # fmt: skip
    for i in range(PAIRS):
        w, b = (tuple(float(x[i]) for x in side) for side in (better, worse))
        assert float(loss[i]) == pytest.approx(by_hand(kind, w, b, beta, smoothing, 0.4), rel=1e-10)
    assert margin.shape == loss.shape
    assert not margin.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: PreferenceLoss) -> None:
    better, worse = sides(3)

    def total(policy: torch.Tensor) -> torch.Tensor:
        changed = Side(policy[0], better.reference, better.lengths), Side(policy[1], worse.reference, worse.lengths)
        return preference_loss(kind, *changed, beta=0.7, label_smoothing=0.1, margin=0.3)[0].sum()

    policy = torch.stack([better.logprobs, worse.logprobs]).requires_grad_(True)
    assert torch.autograd.gradcheck(total, (policy,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_better_answer_made_likelier_lowers_the_loss_until_it_is_enough(kind: PreferenceLoss) -> None:
    better, worse = sides(5)
    policy = better.logprobs.clone().requires_grad_(True)
    loss, margin = preference_loss(kind, Side(policy, *better[1:]), worse, beta=0.1)
    loss.sum().backward()
    assert policy.grad is not None
    if kind == "ipo":  # which has a margin of 1/2 in beta's units to reach, and comes back from above
        assert torch.equal(policy.grad < 0, margin < 0.5)
    else:
        assert (policy.grad < 0).all()


def test_at_the_reference_the_loss_is_ln_2() -> None:
    better, worse = (Side(s.logprobs, s.logprobs, s.lengths) for s in sides())
    for kind in ("dpo", "robust", "norm"):
        loss, margin = preference_loss(kind, better, worse, beta=0.3)
        assert loss.tolist() == pytest.approx([math.log(2)] * PAIRS, abs=1e-15)
        assert margin.tolist() == [0.0] * PAIRS


def test_reference_free_losses_do_not_look_at_it() -> None:
    better, worse = sides()
    for kind in WITHOUT_REFERENCE:
        other = [Side(s.logprobs, s.reference * 3 + 1, s.lengths) for s in (better, worse)]
        assert torch.equal(
            preference_loss(kind, better, worse, beta=2.0)[0], preference_loss(kind, *other, beta=2.0)[0]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_far_apart_answers_do_not_overflow(kind: PreferenceLoss) -> None:
    for sign in (1.0, -1.0):
        certain = Side(torch.zeros(1), torch.full((1,), -900.0), torch.ones(1))
        lost = Side(torch.full((1,), -900.0), torch.zeros(1), torch.ones(1))
        pair = (certain, lost) if sign > 0 else (lost, certain)
        policy = pair[0].logprobs.clone().requires_grad_(True)
        loss, _ = preference_loss(kind, Side(policy, *pair[0][1:]), pair[1], beta=5.0)
        loss.sum().backward()
        assert policy.grad is not None
        assert torch.isfinite(loss).all()
        assert torch.isfinite(policy.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_every_loss_learns_to_order_its_pairs(kind: PreferenceLoss, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"margin": 0.5} if kind == "simpo" else {}
    steps = Steps()
    run_dpo(tmp_path, steps, loss=kind, epochs=8.0, **changes)
    first, last = steps.losses[1], steps.losses[max(steps.losses)]
    assert last < first
    if kind in ("dpo", "robust", "norm"):
        assert first == pytest.approx(math.log(2), abs=1e-5)


def test_kto_measures_how_far_the_policy_moved_on_answers_to_other_prompts(tmp_path: Path) -> None:
    """z is 0 at the reference, and afterwards the mean of log pi / ref over the step's strangers, one by one."""
    start = base(tmp_path)
    checkpoint = load_checkpoint(start)
    data = preference_set(checkpoint.template, comparisons(), 64, strangers=True)
    assert len(data.strangers) == len(data.groups)
    config = DpoConfig(**(SHARED | {"loss": "kto"}))
    trainer = Trainer(checkpoint.model, config)
    reference = cached_reference(start, data.strangers, 48, 96, torch.float32, World(), None)
    assert baseline(trainer, data.strangers, reference, 48, torch.float32) == pytest.approx(0.0, abs=1e-4)
    with torch.no_grad():
        checkpoint.model.head.mul_(0.5)  # towards the uniform distribution: strange answers gain
    each = []
    for example, before in zip(data.strangers, reference, strict=True):
        with torch.no_grad():
            logprobs = checkpoint.model(torch.tensor([example.tokens])).double().log_softmax(-1)[0]
        of_tokens = [float(logprobs[t - 1, example.tokens[t]]) for t in range(1, len(example.tokens))
                     if example.weights[t]]  # fmt: skip
        each.append(sum(of_tokens) - float(before))
    expected = max(0.0, sum(each) / len(each))
    assert baseline(trainer, data.strangers, reference, 48, torch.float32) == pytest.approx(expected, rel=1e-4)


def test_kto_with_one_prompt_is_refused(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(base(tmp_path))
    with pytest.raises(InputError, match="two different prompts"):
        preference_set(checkpoint.template, comparisons(1), 64, strangers=True)


def test_the_reference_is_read_from_the_cache_and_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    start, cache = base(tmp_path), tmp_path / "cache"
    checkpoint = load_checkpoint(start)
    data = preference_set(checkpoint.template, comparisons(), 64)

    def made(examples: list[Example]) -> torch.Tensor:
        return cached_reference(start, examples, 48, 96, torch.float32, World(), cache)

    first = made(data.answers)
    (file,) = cache.iterdir()
    save_file({"logprobs": first + 1}, file)
    assert torch.equal(made(data.answers), first + 1)  # it is the file that is read
    file.write_bytes(file.read_bytes()[:40])
    assert torch.equal(made(data.answers), first)
    assert len(made(data.answers[:-1])) == len(first) - 1
    assert len(list(cache.iterdir())) == 2


def test_a_run_from_the_cache_gives_the_same_bits(tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        base(tmp_path / name)
        made = run_dpo(tmp_path / name, Steps(), cache=tmp_path / "cache")
        weights.append((made.path / "model.safetensors").read_bytes())
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert weights[0] == weights[1]


def test_a_soft_label_is_the_expected_loss_over_both_orders(tmp_path: Path) -> None:
    """DPO on a label of 0.8 is cDPO with a smoothing of 0.2."""
    checkpoint = load_checkpoint(base(tmp_path))
    hard = [replace(c, responses=c.responses[:2], ranking=((0,), (1,))) for c in comparisons(4)]
    soft = [replace(c, preference=0.8) for c in hard]
    losses = []
    for rows, smoothing in ((soft, 0.0), (hard, 0.2)):
        data = preference_set(checkpoint.template, rows, 64)
        reference = torch.linspace(-9.0, -5.0, len(data.answers))
        config = DpoConfig(**(SHARED | {"beta": 0.5, "label_smoothing": smoothing}))
        batch = batch_groups(data, data.groups, reference, 48)
        assert float(batch.weights.sum()) == pytest.approx(4.0)
        losses.append(float(pair_loss(config, torch.float32)(checkpoint.model, batch)[0]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
