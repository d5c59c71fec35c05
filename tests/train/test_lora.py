"""Low-rank adapters: they begin as nothing, leave the base alone, merge exactly, and resume to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import random_decoder, random_tokens
from tests.train.worlds import PPO, STAGES, KillAt, Killed, base, demonstrations, prompts, weights

from chatwright.config import LoraConfig, PpoConfig
from chatwright.model.checkpoint import load_decoder
from chatwright.model.lora import LoraLinear, adapt, merged, unadapted
from chatwright.progress import Progress
from chatwright.train import ppo
from chatwright.train.distributed import World
from chatwright.workspace import Artefact

RANK = {"lora": LoraConfig(rank=3, alpha=6.0)}
TOKENS = torch.tensor([random_tokens(12, 3)])


def adapted(seed: int = 1, **changes: Any) -> tuple[Any, LoraConfig]:
    config = LoraConfig(rank=3, alpha=6.0, **changes)
    model = adapt(random_decoder(seed), config, seed)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, LoraLinear):
                layer.lora_b.normal_(0.0, 0.1, generator=generator)
    return model, config


def test_a_new_adapter_changes_nothing() -> None:
    plain = random_decoder(1)
    assert torch.equal(adapt(random_decoder(1), LoraConfig(rank=4), 1)(TOKENS), plain(TOKENS))


@pytest.mark.parametrize(("targets", "matrices"), [("attention", 4), ("all", 7)])
def test_only_the_chosen_matrices_learn(targets: str, matrices: int) -> None:
    model, _ = adapted(targets=targets)
    learned = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(learned) == 2 * matrices * model.shape.layers
    assert all(".lora_" in name for name in learned)


def test_merged_weights_are_w_plus_scaled_b_a_and_answer_alike() -> None:
    model, config = adapted()
    state = dict(model.named_parameters())
    plain = random_decoder(1)
    before = {name: p.detach().clone() for name, p in plain.named_parameters()}
    after = merged(state, config)
    assert after.keys() == before.keys()
    name = "model.layers.0.self_attn.q_proj"
    expected = before[f"{name}.weight"].double() + 2.0 * (
        state[f"{name}.lora_b"].double() @ state[f"{name}.lora_a"].double()
    )
    assert torch.allclose(after[f"{name}.weight"].double(), expected, atol=1e-7)
    plain.load_state_dict(after)
    with torch.no_grad():
        assert float((plain(TOKENS) - model(TOKENS)).abs().max()) < 1e-5


def test_unadapted_is_the_base_and_comes_back_after_an_error() -> None:
    model, _ = adapted()
    plain = random_decoder(1)
    with torch.no_grad():
        changed = model(TOKENS)
        with unadapted(model):
            assert torch.equal(model(TOKENS), plain(TOKENS))
        with pytest.raises(ValueError, match="in the middle"), unadapted(model):
            raise ValueError("in the middle")
        assert torch.equal(model(TOKENS), changed)
        assert not torch.equal(changed, plain(TOKENS))


@pytest.mark.parametrize("stage", ["sft", "dpo", "ppo", "grpo"])
def test_a_stage_with_an_adapter_resumes_to_the_same_bits(stage: str, tmp_path: Path) -> None:
    whole = STAGES[stage](tmp_path / "whole", Progress(), **RANK)
    with pytest.raises(Killed):
        STAGES[stage](tmp_path / "killed", KillAt(stage, 3), **RANK)
    again = STAGES[stage](tmp_path / "killed", Progress(), **RANK)
    assert weights(again) == weights(whole)
    assert_only_low_rank_updates(whole, base(tmp_path / "whole"))


def assert_only_low_rank_updates(made: Artefact, start: Path) -> None:
    """What was trained, minus what it was trained from, has rank 3 in the matrices of the blocks and 0 elsewhere."""
    before, after = load_decoder(start).state_dict(), load_decoder(made.path).state_dict()
    moved = 0
    for name, weight in before.items():
        change = (after[name] - weight).double()
        if ".layers." in name and weight.ndim == 2:
            values = torch.linalg.svdvals(change)
            assert float(values[3:].max()) < 1e-5
            moved += bool(values[0] > 1e-4)
        else:
            assert not change.any(), name
    assert moved


def test_ppo_with_an_adapter_keeps_no_second_policy(tmp_path: Path) -> None:
    """The reference is the policy without its adapter: no divergence before the first step, some after it."""
    STAGES["ppo"](tmp_path, Progress(), **RANK)
    config = PpoConfig(**(PPO | {"rollouts": 6, "minibatches": 1, "max_tokens": 8} | RANK))
    run = ppo.PpoRun(config, base(tmp_path), tmp_path / "judge", prompts(), 5, World(), demonstrations())
    assert run.reference is run.policy
    first, _ = run.iterate(0)
    assert float((first.logprobs - first.reference).abs().max()) < 1e-5
    for iteration in range(1, 4):
        last, _ = run.iterate(iteration)
    assert float((last.logprobs - last.reference).abs().max()) > 1e-4
