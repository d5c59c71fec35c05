"""PPO-ptx: demonstrations rehearsed beside the answers, their gradients added before the step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import tiny_tokenizer
from tests.train.worlds import PPO, SHARED, base, comparisons, demonstrations, prompts

from chatwright.config import OptimConfig, PpoConfig, RewardConfig
from chatwright.errors import ConfigError, InputError
from chatwright.model.chat import NativeTemplate
from chatwright.progress import Progress
from chatwright.records import Demonstration
from chatwright.train import ppo, reward
from chatwright.train.distributed import World
from chatwright.train.sft import prepare

COEF = 3.0


def ppo_run(folder: Path, rehearse: list[Demonstration] | None = None, **changes: Any) -> ppo.PpoRun:
    judged = RewardConfig(**(SHARED | {"epochs": 1.0}))
    reward.run(judged, base(folder), comparisons(), folder / "judge", Progress(), seed=1, parents={})
    given = {"rollouts": 6, "minibatches": 1, "max_tokens": 8, "ptx_coef": COEF, "ptx_tokens": 96, "micro_tokens": 64}
    optim = OptimConfig(muon_lr=0.01, adam_lr=0.002, clip=1e9)  # the gradient as it is
    config = PpoConfig(**(PPO | {"optim": optim} | given | changes))
    known = [] if not config.ptx_coef else demonstrations() if rehearse is None else rehearse
    return ppo.PpoRun(config, base(folder), folder / "judge", prompts(), 5, World(), known)


def caught(run: ppo.PpoRun) -> tuple[list[Any], float, dict[str, torch.Tensor]]:
    """The micro-batches of the first step, its weight, and the gradient it was about to apply."""
    steps: list[tuple[list[Any], float]] = []
    gradients: dict[str, torch.Tensor] = {}
    trainer, original = run.policy_trainer, run.policy_trainer.step

    def step(batches: list[Any], loss: Any, weight: float, progress: float) -> Any:
        steps.append((batches, weight))
        return original(batches, loss, weight, progress)

    def keep(*_: Any) -> None:
        for name, parameter in run.policy.named_parameters():
            if parameter.grad is not None:
                gradients.setdefault(name, parameter.grad.clone())

    trainer.step = step  # type: ignore[method-assign]
    for optimizer in trainer.optimizers:
        optimizer.register_step_pre_hook(keep)
    run.iterate(0)
    return *steps[0], gradients


def test_the_gradient_is_that_of_both_means_together(tmp_path: Path) -> None:
    """mean over actions of the policy loss + coefficient x mean over demonstrated tokens of -log p, in float64."""
    run = ppo_run(tmp_path)
    before = {name: p.detach().clone() for name, p in run.policy.named_parameters()}
    batches, weight, got = caught(run)
    rehearsed = [b for b in batches if isinstance(b, ppo.Rehearsal)]
    answers = [b for b in batches if not isinstance(b, ppo.Rehearsal)]
    assert len(rehearsed) > 1
    assert len(answers) > 1
    model = run.policy.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(before[name])
    model.zero_grad()

    def logprobs(packed: Any) -> torch.Tensor:
        from chatwright.model.packing import hidden_states

        logits = hidden_states(model.model, packed, torch.float64) @ model.head.T
        chosen = packed.weights != 0
        return logits[chosen].log_softmax(-1).gather(-1, packed.targets[chosen][:, None])[:, 0]

    told = torch.cat([logprobs(b.packed) for b in rehearsed])
    actions = torch.cat([logprobs(b.packed) for b in answers])
    old, gains = (torch.cat([getattr(b, key) for b in answers]).double() for key in ("old_logprobs", "advantages"))
    ratio = (actions - old).exp()
    policy = torch.minimum(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
    assert weight == len(actions)
    (-policy - COEF * told.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(got[name].double(), parameter.grad, atol=2e-5, rtol=2e-4)


def test_every_demonstration_comes_up_once_per_pass(tmp_path: Path) -> None:
    run = ppo_run(tmp_path, ptx_tokens=48)
    template = NativeTemplate(tiny_tokenizer())
    wanted = sorted(tuple(e.tokens) for e in prepare(template, demonstrations(), 48).examples)
    assert run.rehearsals is not None
    seen: list[tuple[int, ...]] = []
    step = 0
    while len(seen) < len(wanted):
        for packed in run.rehearsals(step)[0]:
            spans = zip(packed.rows.tolist(), packed.starts.tolist(), packed.lengths.tolist(), strict=True)
            seen.extend(tuple(packed.tokens[row, at : at + length].tolist()) for row, at, length in spans)
        step += 1
    assert sorted(seen) == wanted


def test_without_demonstrations_or_with_weightless_ones_it_is_plain_ppo(tmp_path: Path) -> None:
    weightless = [replace(d, weight=0.0) for d in demonstrations()]
    gradients = []
    for known in ([], weightless):
        batches, _, gradient = caught(ppo_run(tmp_path, known))
        assert not any(isinstance(b, ppo.Rehearsal) for b in batches)
        gradients.append(gradient)
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_demonstrations_that_weigh_nothing_by_a_setting_are_refused(tmp_path: Path) -> None:
    ppo_run(tmp_path)
    config = PpoConfig(**(PPO | {"ptx_coef": 0.0}))
    with pytest.raises(ConfigError, match="ptx_coef"):
        ppo.PpoRun(config, base(tmp_path), tmp_path / "judge", prompts(), 5, World(), demonstrations())


def test_rehearsing_keeps_what_ppo_forgets(tmp_path: Path) -> None:
    """With rates that tear the policy away, demonstrations stay likelier when they are rehearsed."""
    from chatwright.model.measure import language_loss
    from chatwright.model.packing import passes

    wild = OptimConfig(muon_lr=0.02, adam_lr=0.01, warmup=0.0, decay=0.0)
    template = NativeTemplate(tiny_tokenizer())
    known = prepare(template, demonstrations(), 48).examples
    losses = {}
    for coef in (0.0, 1.0):
        run = ppo_run(tmp_path, ptx_coef=coef, optim=wild, iterations=8, kl_coef=0.0)
        for iteration in range(8):
            run.iterate(iteration)
        loss = language_loss(torch.float32)
        with torch.no_grad():
            losses[coef] = sum(float(loss(run.policy, packed)[0]) for _, packed in passes(known, 48, 4096))
    assert losses[1.0] < 0.7 * losses[0.0]


def test_demonstrations_that_cannot_be_rehearsed_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 12 demonstrations.*raise ppo.sequence"):
        ppo_run(tmp_path, sequence=9)
