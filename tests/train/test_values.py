"""Values from a head on the policy's trunk, and answers that were cut and go on in a value."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_rehearsal import caught, ppo_run
from tests.train.worlds import KillAt, Killed, run_ppo, weights

from chatwright.errors import ConfigError
from chatwright.model.checkpoint import load_decoder
from chatwright.model.packing import Packed, hidden_states
from chatwright.progress import Progress
from chatwright.train.values import SharedValue, head_of


def test_the_gradient_on_a_shared_trunk_is_that_of_both_losses_together(tmp_path: Path) -> None:
    """mean over actions of the clipped policy loss + value_coef x the clipped value loss, in float64."""
    run = ppo_run(tmp_path, value="shared", value_coef=0.7, value_clip=0.05, ptx_coef=0.0)
    with torch.no_grad():
        head_of(run.policy).weight.normal_(generator=torch.Generator().manual_seed(2))
    before = {name: p.detach().clone() for name, p in run.policy.named_parameters()}
    batches, weight, got = caught(run)
    model = run.policy.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(before[name])
    model.zero_grad()

    def hidden(packed: Packed) -> torch.Tensor:
        return hidden_states(model.model, packed, torch.float64)[packed.weights != 0]

    states = torch.cat([hidden(b.packed) for b in batches])
    said = torch.cat([b.packed.targets[b.packed.weights != 0] for b in batches])
    logprobs = (states @ model.head.T).log_softmax(-1).gather(-1, said[:, None])[:, 0]
    old, gains, values, returns = (
        torch.cat([getattr(b, key) for b in batches]).double()
        for key in ("old_logprobs", "advantages", "old_values", "returns")
    )
    ratio = (logprobs - old).exp()
    policy = torch.minimum(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
    told = states @ head_of(run.policy).weight[0]
    torch.testing.assert_close(told, values, atol=1e-4, rtol=1e-4)  # nothing has moved yet
    near = values + (told - values).clamp(-0.05, 0.05)
    value = 0.5 * torch.maximum((told - returns) ** 2, (near - returns) ** 2).mean()
    assert weight == len(said)
    (-policy + 0.7 * value).backward()
    assert got.keys() == before.keys()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(got[name].double(), parameter.grad, atol=2e-5, rtol=2e-4)


def test_a_shared_head_begins_at_zero_learns_and_is_not_saved(tmp_path: Path) -> None:
    made = run_ppo(tmp_path, Progress(), value="shared")
    saved = load_file(made.path / "model.safetensors")
    assert not any("value" in name for name in saved)
    assert {name for name, _ in load_decoder(made.path).named_parameters()} <= saved.keys()
    curve = made.manifest.figures["curve"]
    assert all(math.isfinite(row["value_loss"]) and row["value_loss"] > 0 for row in curve)
    run = ppo_run(tmp_path / "again", value="shared")
    rollouts, _ = run.iterate(0)
    assert float(rollouts.values.abs().max()) == 0.0
    assert float(run.iterate(1)[0].values.abs().max()) > 0.0


@pytest.mark.parametrize("killed_at", [1, 4])
def test_a_killed_run_with_a_shared_trunk_ends_with_the_same_bits(killed_at: int, tmp_path: Path) -> None:
    changes = {"value": "shared", "cut": "bootstrap"}
    whole = run_ppo(tmp_path / "whole", Progress(), **changes)
    with pytest.raises(Killed):
        run_ppo(tmp_path / "killed", KillAt("ppo", killed_at), **changes)
    assert weights(run_ppo(tmp_path / "killed", Progress(), **changes)) == weights(whole)


def test_a_cut_answer_goes_on_in_the_value_after_its_last_token(tmp_path: Path) -> None:
    run = ppo_run(tmp_path, cut="bootstrap", gae_lambda=0.9, kl_coef=0.3, rollouts=12, max_tokens=3)
    with torch.no_grad():
        run.value_model.score.weight.normal_(generator=torch.Generator().manual_seed(1))
        for parameter in run.policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.05)
    got, _ = run.iterate(0)
    reasons = [c.finish_reason for c in got.completions]
    assert "length" in reasons
    model = ppo_run(tmp_path / "fresh").value_model  # as it was before the update
    with torch.no_grad():
        model.score.weight.normal_(generator=torch.Generator().manual_seed(1))
    for n, (example, completion) in enumerate(zip(got.examples, got.completions, strict=True)):
        length = len(completion.tokens)
        with torch.no_grad():
            hidden = model.model(torch.tensor([list(example.tokens)]))[0]
            values = (((model.score(hidden)[:, 0] - model.mean) / model.std).double())[-length - 1 :]
        cut = completion.finish_reason == "length"
        rewards = -0.3 * (got.logprobs[n, :length] - got.reference[n, :length]).double()
        if not cut:
            rewards[-1] += float(got.scores[n])
        after = [*values[:-1].tolist(), float(values[-1]) if cut else 0.0]
        deltas = [float(rewards[t]) + after[t + 1] - after[t] for t in range(length)]
        for t in range(length):
            advantage = sum(0.9 ** (u - t) * deltas[u] for u in range(t, length))
            assert float(got.returns[n, t]) == pytest.approx(advantage + after[t], abs=1e-3)


def test_a_policy_without_a_head_is_told_so(tmp_path: Path) -> None:
    run = ppo_run(tmp_path)
    with pytest.raises(ConfigError, match=r"ppo\.value=separate"):
        head_of(run.policy)
    SharedValue(run.policy)
    assert float(head_of(run.policy).weight.detach().abs().sum()) == 0.0
