"""One optimiser step: what it averages over, what it clips, what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import random_decoder, random_examples
from tests.train.worlds import OPTIM, SHARED

from chatwright.config import StepConfig
from chatwright.errors import ChatwrightError
from chatwright.model.measure import language_loss
from chatwright.model.packing import pack_rows
from chatwright.progress import Progress
from chatwright.train.loop import Plan, Trainer, run_plan

CONFIG = StepConfig(**(SHARED | {"optim": OPTIM.model_copy(update={"clip": 1e9})}))


def gradients(micro_batches: list[list[Any]], scale: float = 1.0) -> tuple[dict[str, torch.Tensor], Any]:
    """The gradients of one step, caught before the optimisers see them."""
    trainer = Trainer(random_decoder(1), CONFIG)
    caught: dict[str, torch.Tensor] = {}

    def catch(progress: float) -> None:
        caught.update({name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None})

    trainer._apply = catch  # type: ignore[method-assign]
    batches = [pack_rows([row]) for row in micro_batches]
    weight = float(sum(b.weights.sum() for b in batches)) * scale
    loss = language_loss(torch.float32)

    def scaled(model: Any, batch: Any) -> Any:
        total, figures = loss(model, batch)
        return total * scale, figures

    report = trainer.step(batches, scaled, weight, 0.5)
    return caught, report


def test_one_micro_batch_equals_four() -> None:
    examples = random_examples([7, 12, 5, 16], seed=1)
    whole, one = gradients([examples])
    parts, four = gradients([[e] for e in examples])
    assert whole.keys() == parts.keys() == dict(random_decoder(1).named_parameters()).keys()
    for name, grad in whole.items():
        torch.testing.assert_close(parts[name], grad, atol=1e-6, rtol=1e-6)
    assert four.loss == pytest.approx(one.loss, abs=1e-6)
    assert four.weight == one.weight


def test_gradient_is_that_of_the_mean_over_weights() -> None:
    """Against plain autograd over unpacked logits."""
    examples = random_examples([7, 12], seed=3)
    caught, report = gradients([examples])
    model = random_decoder(1)
    total, weight = torch.zeros(()), 0.0
    for example in examples:
        logprobs = model(torch.tensor([example.tokens]))[0].log_softmax(-1)
        for at in range(1, len(example.tokens)):
            total = total - example.weights[at] * logprobs[at - 1, example.tokens[at]]
            weight += float(example.weights[at])
    (total / weight).backward()
    assert report.loss == pytest.approx(float(total.detach()) / weight, abs=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(caught[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_small_weights_are_normalised_like_large_ones() -> None:
    """A step whose pairs weigh less than one in all must not learn less for it."""
    examples = random_examples([7, 12], seed=3)
    whole, first = gradients([examples])
    small, second = gradients([examples], scale=0.01)
    assert second.weight < 1.0 < first.weight
    for name, grad in whole.items():
        torch.testing.assert_close(small[name], grad, atol=1e-6, rtol=1e-4)
    assert second.loss == pytest.approx(first.loss, rel=1e-4)


def test_only_the_adam_group_is_clipped_and_the_norm_is_of_all() -> None:
    config = StepConfig(**(SHARED | {"optim": OPTIM.model_copy(update={"clip": 0.01})}))
    trainer = Trainer(random_decoder(1), config)
    batch = pack_rows([random_examples([9, 14], 0)])
    caught: dict[str, torch.Tensor] = {}
    trainer._apply = lambda progress: caught.update(  # type: ignore[method-assign]
        {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    )
    report = trainer.step([batch], language_loss(torch.float32), float(batch.weights.sum()), 0.5)
    unclipped, _ = gradients([random_examples([9, 14], 0)])
    muon = {name for name in caught if ".layers." in name and caught[name].ndim == 2}
    assert muon
    assert muon != set(caught)
    for name in muon:
        torch.testing.assert_close(caught[name], unclipped[name])
    rest = torch.cat([g.flatten() for name, g in caught.items() if name not in muon])
    assert float(rest.norm()) == pytest.approx(0.01, rel=1e-3)
    assert report.grad_norm == pytest.approx(math.sqrt(sum(float(g.norm()) ** 2 for g in unclipped.values())), rel=1e-4)


def broken_loss(model: Any, batch: Any) -> Any:
    total, figures = language_loss(torch.float32)(model, batch)
    return total * float("inf"), figures


def test_step_without_a_finite_gradient_changes_nothing_and_is_counted() -> None:
    trainer = Trainer(random_decoder(1), CONFIG)
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    batch = pack_rows([random_examples([9], 0)])
    report = trainer.step([batch], broken_loss, 1.0, 0.5)
    assert report.skipped
    assert (trainer.skipped, trainer.step_number) == (1, 1)
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())
    report = trainer.step([batch], language_loss(torch.float32), 1.0, 0.5)
    assert not report.skipped
    assert not all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())


def test_five_bad_steps_in_a_row_are_one_sentence(tmp_path: Path) -> None:
    trainer = Trainer(random_decoder(1), CONFIG)
    batch = pack_rows([random_examples([9], 0)])
    plan = Plan(20, lambda step: ([batch], 1.0), broken_loss)
    with pytest.raises(ChatwrightError, match="not finite in 5 steps"), Progress().stage("x", 20) as stage:
        run_plan(trainer, plan, tmp_path / "state", stage)
    assert trainer.skipped == 5


def test_checkpoint_is_safe_before_an_evaluation_that_fails(tmp_path: Path) -> None:
    trainer = Trainer(random_decoder(1), CONFIG)
    batch = pack_rows([random_examples([9], 0)])
    calls = []

    def evaluate() -> dict[str, float]:
        calls.append(trainer.step_number)
        if trainer.step_number:
            raise RuntimeError("no grader")
        return {"x": 1.0}

    plan = Plan(6, lambda step: ([batch], 1.0), language_loss(torch.float32), evaluate)
    with pytest.raises(RuntimeError, match="no grader"), Progress().stage("x", 6) as stage:
        run_plan(trainer, plan, tmp_path / "state", stage)
    assert calls == [0, 3]
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["step-00000003"]


def test_run_for_minutes_ends_when_they_have_passed(tmp_path: Path) -> None:
    trainer = Trainer(random_decoder(1), CONFIG)
    batch = pack_rows([random_examples([9], 0)])
    plan = Plan(0, lambda step: ([batch], 1.0), language_loss(torch.float32), minutes=0.001)
    with Progress().stage("x", 100) as stage:
        curve = run_plan(trainer, plan, tmp_path / "state", stage)
    assert trainer.seconds >= 0.06
    assert curve[-1]["step"] == trainer.step_number > 0
