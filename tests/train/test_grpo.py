"""Learning from groups of answers: what a step is, and that it learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import tiny_shape, tiny_tokenizer
from tests.train.worlds import PPO, base, judge, prompts

from chatwright.config import GrpoConfig, OptimConfig
from chatwright.engine import Engine, Request, SamplingParams
from chatwright.errors import ConfigError, InputError
from chatwright.model.checkpoint import load_checkpoint, save_checkpoint
from chatwright.model.decoder import Decoder, initialise
from chatwright.progress import Progress
from chatwright.records import Message, Prompt
from chatwright.train import grpo
from chatwright.train.distributed import World
from chatwright.train.loop import Trainer
from chatwright.train.verifiers import ExactAnswer, Verifier

METHODS: list[Any] = ["rloo", "grpo", "dr_grpo"]
FAST = OptimConfig(muon_lr=0.02, adam_lr=0.01, warmup=0.1, decay=0.5)
RAW = OptimConfig(muon_lr=0.01, adam_lr=0.002, clip=1e9)
"""The gradient as it is."""


class Prized:
    """Rewards the share of answers' letters that are prized: checkable without any model."""

    name, needs = "prized", "nothing"

    def __init__(self, letters: str = "aeiou") -> None:
        self.letters = letters

    def usable(self, prompt: Prompt) -> bool:
        return True

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        return [sum(c in self.letters for c in r) / max(1, len(r)) for r in responses]


class Constant(Prized):
    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        return [1.0] * len(responses)


def config(**changes: Any) -> GrpoConfig:
    given: dict[str, Any] = PPO | {
        "iterations": 30, "prompts": 4, "answers": 12, "max_tokens": 8, "epochs": 1, "minibatches": 2, "kl_coef": 0.0,
        "micro_tokens": 2048, "missing_end_penalty": 0.0, "checkpoint_every": 1000, "optim": FAST,
    }  # fmt: skip
    return GrpoConfig(**(given | changes))


@pytest.fixture(scope="module")
def newborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as it is before pretraining."""
    folder = tmp_path_factory.mktemp("models") / "base"
    model = initialise(Decoder(tiny_shape(family="qwen3", qk_norm=True, width=32, mlp_width=64)), 3)
    save_checkpoint(folder, model, tiny_tokenizer())
    return folder


def group_run(folder: Path, reward: Path | Verifier | None = None, **changes: Any) -> grpo.GrpoRun:
    """A run whose policy has already moved a little away from its reference."""
    made = grpo.GrpoRun(config(**changes), base(folder), reward or Prized(), prompts(), 5, World())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return made


@pytest.mark.parametrize("method", METHODS)
def test_a_reward_that_is_known_is_reached(method: Any, newborn: Path, tmp_path: Path) -> None:
    """The share of vowels among the letters, by each method."""
    made = grpo.run(config(method=method), newborn, Prized(), prompts(4), tmp_path / "out", Progress(), seed=4,
                    parents={})  # fmt: skip
    engine = Engine.load(made.path)
    asked = [engine.encode(p.messages) for p in prompts(4)] * 8
    said = engine.generate([
        Request(p, SamplingParams(max_tokens=8, temperature=1.0, seed=i)) for i, p in enumerate(asked)
    ])  # fmt: skip
    share = sum(Prized()(prompts(1), [c.text])[0] for c in said) / len(said)
    curve = made.manifest.figures["curve"]
    assert curve[0]["reward"] < 0.3
    assert share > 0.75


def test_a_reward_model_is_as_good_a_source(newborn: Path, tmp_path: Path) -> None:
    """The reward model of another model scores the answers; what it scores is what the rollouts hold."""
    from chatwright.train.scoring import load_scoring, score_sequences

    run = group_run(tmp_path, judge(tmp_path), missing_end_penalty=1.5)
    rollouts = run._collect(0)
    end = run.engine.tokenizer.id("<|end|>")
    whole = [[*e.tokens] if c.finish_reason == "stop" else [*e.tokens, end]
             for e, c in zip(rollouts.examples, rollouts.completions, strict=True)]  # fmt: skip
    expected = score_sequences(load_scoring(judge(tmp_path)), whole, torch.float32)
    missing = torch.tensor([c.finish_reason != "stop" for c in rollouts.completions])
    assert missing.any()
    torch.testing.assert_close(rollouts.scores, expected - 1.5 * missing, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("method", "kl_in"), [("grpo", "loss"), ("rloo", "reward"), ("dr_grpo", "loss")])
def test_the_first_gradient_is_that_of_the_definition(method: Any, kl_in: Any, tmp_path: Path) -> None:
    """Everything anew in float64, one answer at a time, from plain forward passes."""
    coef, temperature = 0.3, 0.8
    run = group_run(tmp_path, method=method, kl_in=kl_in, kl_coef=coef, temperature=temperature, minibatches=1,
                    prompts=3, answers=4, optim=RAW, micro_tokens=48)  # fmt: skip
    before = {name: p.detach().clone() for name, p in run.policy.named_parameters()}
    caught: list[grpo.GroupRollouts] = []
    got = gradients_of(run, caught)
    (rollouts,) = caught
    policy, reference = run.policy.double(), run.reference.double()
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            parameter.copy_(before[name])
    policy.zero_grad()

    def logprobs(model: Decoder, n: int) -> torch.Tensor:
        tokens = list(rollouts.examples[n].tokens)
        given = len(tokens) - len(rollouts.completions[n].tokens)
        rows = (model(torch.tensor([tokens]))[0] / temperature).log_softmax(-1)
        return rows[torch.arange(given - 1, len(tokens) - 1), torch.tensor(tokens[given:])]

    ours = [logprobs(policy, n) for n in range(12)]
    with torch.no_grad():
        theirs = [logprobs(reference, n) for n in range(12)]
    total = torch.zeros((), dtype=torch.float64)
    for first in range(0, 12, 4):
        texts = [rollouts.completions[n].text.strip() for n in range(first, first + 4)]
        rewards = Prized()(prompts(4), texts)
        if kl_in == "reward":
            rewards = [r - coef * float((ours[n] - theirs[n]).sum().detach()) for n, r in enumerate(rewards, first)]
        values = torch.tensor(rewards, dtype=torch.float64)
        for k, n in enumerate(range(first, first + 4)):
            others = torch.cat([values[:k], values[k + 1 :]])
            advantage = values[k] - (others.mean() if method == "rloo" else values.mean())
            advantage = advantage / (values.std() + 1e-4) if method == "grpo" else advantage
            each = -advantage * (ours[n] - ours[n].detach()).exp()
            if kl_in == "loss":
                each = each + coef * ((theirs[n] - ours[n]).exp() - (theirs[n] - ours[n]) - 1)
            total = total + (each.mean() if method == "grpo" else each.sum() / 8) / 12
    total.backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(got[name].double(), parameter.grad, atol=2e-5, rtol=2e-3, msg=name)


def gradients_of(run: grpo.GrpoRun, caught: list[grpo.GroupRollouts]) -> dict[str, torch.Tensor]:
    """The gradients that the first step of an iteration was about to apply."""
    found: dict[str, torch.Tensor] = {}

    def keep(*_: Any) -> None:
        for name, parameter in run.policy.named_parameters():
            if parameter.grad is not None:
                found.setdefault(name, parameter.grad.clone())

    for optimizer in run.trainer.optimizers:
        optimizer.register_step_pre_hook(keep)
    caught.append(run.iterate(0)[0])
    return found


def test_first_step_of_an_iteration_has_ratio_1(tmp_path: Path) -> None:
    run = group_run(tmp_path, kl_coef=0.1, minibatches=3)
    reports = []
    original = run.trainer.step

    def step(*arguments: Any) -> Any:
        reports.append(original(*arguments))
        return reports[-1]

    run.trainer.step = step  # type: ignore[method-assign]
    _, figures = run.iterate(0)
    assert len(reports) == figures["steps"] == 3
    assert reports[0].figures["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert reports[0].figures["clip_fraction"] == 0.0
    assert figures["approx_kl"] > 1e-7


def test_answers_that_teach_nothing_are_left_out_and_change_no_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three groups agree: their four answers are not read, the gradient is as if they had been."""

    class Some(Prized):
        def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
            return [float(i == 5) for i in range(len(responses))]

    gradients, read = [], []
    for everything in (False, True):
        run = group_run(tmp_path, Some(), prompts=3, answers=4, minibatches=1, optim=RAW)
        if everything:
            taught = grpo.pieces  # all twelve, whatever they teach
            monkeypatch.setattr(grpo, "pieces", lambda r, chosen, micro, inner=taught: inner(r, list(range(12)), micro))
        original = run.trainer.step

        def step(batches: Any, *more: Any, inner: Any = original) -> Any:
            read.append(sum(len(b.packed.rows) for b in batches))
            return inner(batches, *more)

        run.trainer.step = step  # type: ignore[method-assign]
        caught: list[grpo.GroupRollouts] = []
        gradients.append(gradients_of(run, caught))
        assert caught[0].advantages.view(3, 4)[[0, 2]].abs().sum() == 0
    assert read == [4, 12]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-7, rtol=1e-4)


def test_no_step_is_taken_where_nothing_can_be_learned(tmp_path: Path) -> None:
    """Muon would take a whole step in an old direction."""
    run = group_run(tmp_path, Constant())
    before = [p.detach().clone() for p in run.policy.parameters()]
    _, figures = run.iterate(0)
    assert figures["no_variance"] == 1.0
    assert (figures["steps"], run.trainer.step_number) == (0, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, run.policy.parameters(), strict=True))
    priced = group_run(tmp_path, Constant(), kl_coef=0.5)
    assert priced.iterate(0)[1]["steps"] == 2


@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_a_high_price_of_kl_keeps_the_policy_where_it_was(kl_in: Any, newborn: Path, tmp_path: Path) -> None:
    kl = {}
    for price in (0.0, 5.0):
        made = grpo.run(config(iterations=14, kl_coef=price, kl_in=kl_in, method="rloo"), newborn, Prized(), prompts(4),
                        tmp_path / f"out{price}", Progress(), seed=4, parents={})  # fmt: skip
        kl[price] = made.manifest.figures["kl"]
    assert kl[0.0] > 1.0
    assert abs(kl[5.0]) < 0.3 * kl[0.0]


def test_figures_are_what_they_say(tmp_path: Path) -> None:
    run = group_run(tmp_path, prompts=6, answers=40, temperature=0.9)
    original, exact = Trainer.step, []

    def step(self: Trainer, batches: Any, loss: Any, weight: float, progress: float) -> Any:
        exact.extend(loss(self.model, b)[1] for b in batches)
        return original(self, batches, loss, weight, progress)

    run.trainer.step = step.__get__(run.trainer)  # type: ignore[method-assign]
    rollouts, figures = run.iterate(0)
    surprise = [-logprob for c in rollouts.completions for logprob in c.logprobs]
    assert figures["entropy"] == pytest.approx(sum(surprise) / len(surprise))
    # The first minibatch is read by the policy that answered it.
    assert figures["mismatch"] == pytest.approx(exact[0]["mismatch"] / exact[0]["actions"])
    assert figures["mismatch"] < 1e-5
    assert figures["reward"] == pytest.approx(float(rollouts.scores.mean()))
    assert figures["length"] == pytest.approx(sum(len(c.tokens) for c in rollouts.completions) / 240)
    assert figures["ended"] == pytest.approx(sum(c.finish_reason == "stop" for c in rollouts.completions) / 240)
    assert figures["kl"] == pytest.approx(rollouts.kl_per_answer)


def test_groups_answer_one_prompt_each(tmp_path: Path) -> None:
    run = group_run(tmp_path, prompts=3, answers=4)
    rollouts = run._collect(2)
    given = [tuple(e.tokens[: len(e.tokens) - len(c.tokens)])
             for e, c in zip(rollouts.examples, rollouts.completions, strict=True)]  # fmt: skip
    assert all(len(set(given[at : at + 4])) == 1 for at in (0, 4, 8))
    assert len(set(given)) == 3
    assert len({c.tokens for c in rollouts.completions[:4]}) == 4


def test_prompts_that_cannot_be_checked_are_left_out_and_counted(newborn: Path, tmp_path: Path) -> None:
    asked = [*prompts(4), Prompt((Message("user", "1 + 1?"),), truth={"answer": 2})]
    made = grpo.run(config(iterations=1, prompts=1), newborn, ExactAnswer(), asked, tmp_path / "out", Progress(),
                    seed=1, parents={})  # fmt: skip
    figures = made.manifest.figures
    assert (figures["prompts"], figures["unusable"]) == (1, 4)
    with pytest.raises(InputError, match="none of the 4 prompts carries what the verifier checks"):
        grpo.GrpoRun(config(), newborn, ExactAnswer(), prompts(4), 1, World())


def test_impossible_settings_are_refused(newborn: Path) -> None:
    with pytest.raises(InputError, match="no prompt leaves room"):
        grpo.GrpoRun(config(max_tokens=64), newborn, Prized(), prompts(), 1, World())
    with pytest.raises(ConfigError, match=r"grpo\.minibatches"):
        grpo.GrpoRun(config(prompts=1, answers=2, minibatches=2), newborn, Prized(), prompts(), 1, World(0, 2, "cpu"))


def test_the_seed_decides_everything(newborn: Path, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict[str, str]:
        made = grpo.run(config(iterations=2), newborn, Prized(), prompts(4), tmp_path / name, Progress(), seed=seed,
                        parents={})  # fmt: skip
        return {n: d for n, d in made.manifest.files.items() if n.endswith(".safetensors")}

    assert weights("a", 1) == weights("b", 1) != weights("c", 2)
    assert load_checkpoint(tmp_path / "a").model is not None
