"""Each stage learns what it is for, on problems whose answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import TEXT, random_decoder, tiny_shape, tiny_tokenizer
from tests.train.worlds import HOLDOUT, PPO, SHARED, Steps, base, comparisons, demonstrations, run_dpo, run_pretrain

from chatwright.config import DpoConfig, OptimConfig, PpoConfig, RewardConfig, SftConfig
from chatwright.engine import Engine, Request, SamplingParams
from chatwright.model.checkpoint import load_checkpoint, save_checkpoint
from chatwright.model.decoder import Decoder, initialise
from chatwright.progress import Progress
from chatwright.records import Comparison, Demonstration, Message, Prompt
from chatwright.train import dpo, ppo, reward, sft
from chatwright.train.scoring import ScoringModel, save_scoring, score_sequences

FAST = OptimConfig(muon_lr=0.02, adam_lr=0.01, warmup=0.1, decay=0.5)


@pytest.fixture(scope="module")
def newborn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as it is before pretraining."""
    folder = tmp_path_factory.mktemp("models") / "base"
    model = initialise(Decoder(tiny_shape(family="qwen3", qk_norm=True, width=32, mlp_width=64)), 3)
    save_checkpoint(folder, model, tiny_tokenizer())
    return folder


def test_pretraining_beats_the_frequencies_of_bytes(tmp_path: Path) -> None:
    """Below the entropy of single bytes of its own held-out text: it has learned order."""
    counts = [b"".join(t.encode() for t in HOLDOUT.texts).count(bytes([b])) for b in range(256)]
    total = sum(counts)
    entropy = -sum(c / total * math.log2(c / total) for c in counts if c)
    made = run_pretrain(tmp_path, Progress(), tokens=192 * 60, optim=FAST)
    assert made.manifest.figures["bits_per_byte"] < 0.5 * entropy


def test_fine_tuning_memorises_eight_conversations(newborn: Path, tmp_path: Path) -> None:
    asked = [f"Where is the {w}?" for w in ("mill", "river", "miller", "flour", "water", "café", "capital", "valley")]
    rows = [Demonstration((Message("user", q), Message("assistant", TEXT[0][i : i + 20]))) for i, q in enumerate(asked)]
    config = SftConfig(**(SHARED | {"optim": FAST, "epochs": 120.0, "checkpoint_every": 500, "evaluate_every": 500}))
    made = sft.run(config, newborn, rows, tmp_path / "out", Progress(), seed=1, parents={})
    engine = Engine.load(made.path)
    prompts = [engine.encode([Message("user", q)]) for q in asked]
    answers = engine.generate([Request(p, SamplingParams(max_tokens=30, temperature=0.0)) for p in prompts])
    assert [a.text for a in answers] == [row.messages[1].content for row in rows]
    assert {a.finish_reason for a in answers} == {"stop"}


def separable(count: int) -> list[Comparison]:
    """Whatever names the river is better than what does not."""
    made = []
    for i in range(count):
        good, bad, worse = f"by the river {i}", f"by the mill {i}", f"I do not know {i * 7 % 10}"
        answers = [(good, bad, worse), (bad, good, worse), (worse, bad, good)][i % 3]
        best = answers.index(good)
        ranking = ((best,), tuple(j for j in range(3) if j != best))
        made.append(Comparison((Message("user", f"Where is number {i}?"),), answers, ranking, id=str(i)))
    return made


def test_reward_model_learns_a_separable_world(newborn: Path, tmp_path: Path) -> None:
    config = RewardConfig(**(SHARED | {"optim": FAST, "epochs": 8.0, "holdout_fraction": 0.3, "checkpoint_every": 500}))
    made = reward.run(config, newborn, separable(60), tmp_path / "out", Progress(), seed=2, parents={})
    assert made.manifest.figures["pair_accuracy"] > 0.95
    assert made.manifest.figures["heldout_pairs"] >= 20


def test_normalised_rewards_have_mean_0_and_deviation_1_on_training_answers(tmp_path: Path) -> None:
    from chatwright.model.chat import NativeTemplate
    from chatwright.train.answers import answer_example
    from chatwright.train.scoring import load_scoring

    config = RewardConfig(**(SHARED | {"epochs": 1.0, "holdout_fraction": 0.3}))
    rows = comparisons()
    made = reward.run(config, base(tmp_path), rows, tmp_path / "out", Progress(), seed=2, parents={})
    training, held = reward.split(rows, 0.3)
    assert held
    template = NativeTemplate(tiny_tokenizer())
    answers = [list(answer_example(template, c.prompt, r).tokens) for c in training for r in c.responses]
    scores = score_sequences(load_scoring(made.path), answers, torch.float32)
    assert float(scores.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(scores.std()) == pytest.approx(1.0, abs=1e-4)


def test_a_prompt_never_stands_on_both_sides_of_the_split() -> None:
    rows = [Comparison((Message("user", f"q{i % 20}"),), ("a", "b"), ((0,), (1,))) for i in range(100)]
    training, held = reward.split(rows, 0.3)
    assert len(training) + len(held) == 100
    assert 0 < len(held) < 100
    assert not {c.prompt for c in training} & {c.prompt for c in held}


def test_nothing_held_out_is_not_measured(tmp_path: Path) -> None:
    tied = [Comparison(c.prompt, c.responses, ((0, 1, 2),)) for c in reward.split(comparisons(), 0.3)[1]]
    rows = [*reward.split(comparisons(), 0.3)[0], *tied]
    config = RewardConfig(**(SHARED | {"epochs": 1.0, "holdout_fraction": 0.3}))
    made = reward.run(config, base(tmp_path), rows, tmp_path / "out", Progress(), seed=2, parents={})
    assert made.manifest.figures["pair_accuracy"] is None
    assert made.manifest.figures["heldout_pairs"] == 0


def test_dpo_begins_at_ln_2_and_raises_the_margin(tmp_path: Path) -> None:
    steps = Steps()
    run_dpo(tmp_path, steps, epochs=1.0)
    assert steps.losses[1] == pytest.approx(math.log(2), abs=1e-5)

    seen: list[dict[str, float]] = []

    class Figures(Progress):
        def _move_bar(self, bar: Any, done: int, figures: dict[str, float]) -> None:
            if figures:
                seen.append(figures)

    config = DpoConfig(**(SHARED | {"epochs": 12.0, "optim": FAST, "beta": 0.5, "checkpoint_every": 500}))
    dpo.run(config, base(tmp_path), separable(12), tmp_path / "far", Figures(), seed=3, parents={})
    assert seen[0]["margin"] == pytest.approx(0.0, abs=1e-4)
    assert seen[-1]["margin"] > 2.0
    assert seen[-1]["accuracy"] == 1.0
    assert seen[-1]["loss"] < 0.1


def test_dpo_gradient_is_that_of_every_pair_read_alone(tmp_path: Path) -> None:
    """K answers read once each against the loop over pairs, with plain log-softmax."""
    config = DpoConfig(**(SHARED | {"beta": 0.3, "label_smoothing": 0.1}))
    template = load_checkpoint(base(tmp_path)).template
    data = dpo.preference_set(template, comparisons(4), 64)
    reference = torch.linspace(-20, -10, len(data.answers))
    batch = dpo.batch_groups(data, data.groups[1:3], reference, 60)
    model, plain = random_decoder(2), random_decoder(2)
    value, _ = dpo.pair_loss(config, torch.float32)(model, batch)
    value.backward()

    total = torch.zeros(())
    for group in data.groups[1:3]:
        sums = []
        for i in range(group.first, group.first + group.count):
            tokens, weights = list(data.answers[i].tokens), list(data.answers[i].weights)
            logprobs = plain(torch.tensor([tokens]))[0].log_softmax(-1)
            sums.append(sum(logprobs[t - 1, tokens[t]] for t in range(len(tokens)) if weights[t]) - reference[i])
        for better, worse, _ in group.pairs:
            margin = 0.3 * (sums[better] - sums[worse])
            each = -0.9 * torch.log(torch.sigmoid(margin)) - 0.1 * torch.log(torch.sigmoid(-margin))
            total = total + each / len(group.pairs)
    total.backward()
    assert float(value.detach()) == pytest.approx(float(total.detach()), rel=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3, msg=name)


# PPO.

PRIZED = range(100, 140)
"""Token ids whose share in the answer is the reward: a tenth of the vocabulary."""


def counting_judge(folder: Path, parent: Path, prized: Sequence[int] = PRIZED) -> None:
    """A reward model built by hand: one attention head averages over everything before, and the share of prized
    tokens it finds is the score, up to a monotone bend in the last norm."""
    shape = load_checkpoint(parent).model.shape
    model = ScoringModel(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
        model.model.embed_tokens.weight[:, 1] = 1.0
        model.model.embed_tokens.weight[list(prized), 1] = 0.0
        model.model.embed_tokens.weight[list(prized), 0] = 1.0
        attention: Any = model.model.layers[0].self_attn
        attention.v_proj.weight[0, 0] = 1.0  # queries and keys are zero: the average over all positions
        attention.o_proj.weight[2, 0] = 0.1
        model.score.weight[0, 2] = 1.0
    save_scoring(folder, parent, dict(model.named_parameters()), mean=0.0, std=1.0)


def share_of_prized(tokens: Any) -> float:
    return sum(t in PRIZED for t in tokens) / len(tokens)


def ppo_config(**changes: Any) -> PpoConfig:
    given: dict[str, Any] = PPO | {
        "iterations": 40, "rollouts": 48, "max_tokens": 8, "epochs": 2, "minibatches": 2, "kl_coef": 0.0,
        "micro_tokens": 2048, "missing_end_penalty": 0.0, "checkpoint_every": 1000, "optim": FAST,
    }  # fmt: skip
    return PpoConfig(**(given | changes))


QUESTIONS = [Prompt((Message("user", q),)) for q in ("Where?", "Who?", "the mill", "say it")]


def test_judge_built_by_hand_counts(newborn: Path, tmp_path: Path) -> None:
    from chatwright.train.scoring import load_scoring

    counting_judge(tmp_path, newborn)
    sequences = [[0, 2, *[120] * n, *[200] * (8 - n), 5] for n in range(9)]
    scores = score_sequences(load_scoring(tmp_path), sequences, torch.float32).tolist()
    assert scores == sorted(scores)
    assert scores[8] - scores[0] > 0.5


def test_ppo_reaches_the_optimum_of_a_counting_reward(newborn: Path, tmp_path: Path) -> None:
    counting_judge(tmp_path / "judge", newborn)
    made = ppo.run(ppo_config(), newborn, tmp_path / "judge", QUESTIONS, tmp_path / "out", Progress(), seed=4,
                   parents={})  # fmt: skip
    engine = Engine.load(made.path)
    prompts = [engine.encode(q.messages) for q in QUESTIONS] * 8
    said = engine.generate([
        Request(p, SamplingParams(max_tokens=8, temperature=1.0, seed=i)) for i, p in enumerate(prompts)
    ])  # fmt: skip
    share = sum(share_of_prized(c.tokens) for c in said) / len(said)
    curve = made.manifest.figures["curve"]
    assert curve[0]["reward"] < 0.4 * curve[-1]["reward"]
    assert share > 0.9  # a tenth by chance
    assert curve[-1]["value_explained"] > -1.0


def test_a_high_price_of_kl_keeps_the_policy_where_it_was(newborn: Path, tmp_path: Path) -> None:
    counting_judge(tmp_path / "judge", newborn)
    kl = {}
    for price in (0.0, 5.0):
        config = ppo_config(iterations=8, kl_coef=price)
        made = ppo.run(config, newborn, tmp_path / "judge", QUESTIONS, tmp_path / f"out{price}", Progress(), seed=4,
                       parents={})  # fmt: skip
        kl[price] = made.manifest.figures["kl"]
    assert kl[0.0] > 1.0
    assert abs(kl[5.0]) < 0.3 * kl[0.0]


@pytest.fixture
def one_iteration(newborn: Path, tmp_path: Path) -> ppo.PpoRun:
    counting_judge(tmp_path / "judge", newborn)
    config = ppo_config(rollouts=12, missing_end_penalty=1.5, kl_coef=0.3, temperature=0.7, gae_lambda=0.9,
                        minibatches=3, epochs=1)  # fmt: skip
    from chatwright.train.distributed import World

    run = ppo.PpoRun(config, newborn, tmp_path / "judge", QUESTIONS, 6, World())
    with torch.no_grad():
        for seed, model in enumerate((run.policy, run.reference, run.value_model)):
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return run


def test_rollouts_hold_what_the_equations_say(one_iteration: ppo.PpoRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything recomputed one answer at a time in float64 from plain forward passes."""
    run, config = one_iteration, one_iteration.config
    (judge,) = run.judges.models
    captured: list[Any] = []

    def keep(rollouts: Any, _: int) -> list[dict[str, float]]:
        captured.append(rollouts)
        return [{"mismatch": 0.0}]

    monkeypatch.setattr(run, "_update", keep)
    _, figures = run.iterate(0)
    (got,) = captured
    everything = []
    for n, (example, completion) in enumerate(zip(got.examples, got.completions, strict=True)):
        tokens, length = list(example.tokens), len(completion.tokens)
        given = len(tokens) - length
        assert sum(example.weights) == length
        with torch.no_grad():
            logprobs, reference = (
                (m(torch.tensor([tokens]))[0].double() / config.temperature).log_softmax(-1)[
                    torch.arange(given - 1, len(tokens) - 1), torch.tensor(tokens[given:])
                ]
                for m in (run.policy, run.reference)
            )
            hidden = run.value_model.model(torch.tensor([tokens]))[0, given - 1 : -1]
            values = run.value_model.score(hidden)[:, 0].double()
            closed = tokens if completion.finish_reason == "stop" else [*tokens, run.engine.tokenizer.id("<|end|>")]
            score = float(judge.score(judge.model(torch.tensor([closed])))[0, -1, 0])
        score -= 0.0 if completion.finish_reason == "stop" else 1.5
        assert float(got.scores[n]) == pytest.approx(score, abs=1e-4)
        torch.testing.assert_close(got.logprobs[n, :length].double(), logprobs, atol=1e-4, rtol=0)
        torch.testing.assert_close(got.reference[n, :length].double(), reference, atol=1e-4, rtol=0)
        torch.testing.assert_close(got.values[n, :length].double(), values, atol=1e-4, rtol=0)
        rewards = -0.3 * (logprobs - reference)
        rewards[-1] += score
        after = [*values.tolist(), 0.0]
        deltas = [float(rewards[t]) + after[t + 1] - after[t] for t in range(length)]
        advantages = [sum(0.9 ** (u - t) * deltas[u] for u in range(t, length)) for t in range(length)]
        everything.append(torch.tensor(advantages, dtype=torch.float64))
        expected = torch.tensor(advantages, dtype=torch.float64) + values
        torch.testing.assert_close(got.returns[n, :length].double(), expected, atol=1e-3, rtol=1e-3)
        assert got.mask[n].sum() == length
    flat = torch.cat(everything)
    for n, advantages in enumerate(everything):
        white = (advantages - flat.mean()) / flat.std(correction=0)
        torch.testing.assert_close(got.advantages[n, : len(white)].double(), white, atol=1e-3, rtol=1e-3)
    assert figures["reward"] == pytest.approx(float(got.scores.mean()))
    assert any(c.finish_reason == "length" for c in got.completions)


def test_first_step_of_an_iteration_has_ratio_1(one_iteration: ppo.PpoRun) -> None:
    reports = []
    original = one_iteration.policy_trainer.step

    def step(*arguments: Any) -> Any:
        reports.append(original(*arguments))
        return reports[-1]

    one_iteration.policy_trainer.step = step  # type: ignore[method-assign]
    _, figures = one_iteration.iterate(0)
    assert len(reports) == 3
    assert 0 < figures["mismatch"] < 1e-5  # of the first step: the sampler's forward pass against the training one
    assert figures["mismatch"] == pytest.approx(reports[0].figures["mismatch"])
    assert reports[0].figures["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert reports[0].figures["clip_fraction"] == 0.0
    assert reports[-1].figures["approx_kl"] > 1e-6


def test_every_answer_is_used_once_per_epoch(one_iteration: ppo.PpoRun) -> None:
    seen: list[float] = []
    original = one_iteration.policy_trainer.step

    def step(batches: Any, loss: Any, weight: float, progress: float) -> Any:
        seen.extend(float(r) for b in batches for r in b.returns)
        assert weight == sum(len(b.returns) for b in batches)
        return original(batches, loss, weight, progress)

    one_iteration.policy_trainer.step = step  # type: ignore[method-assign]
    rollouts, _ = one_iteration.iterate(0)
    assert sorted(seen) == pytest.approx(sorted(rollouts.returns[rollouts.mask != 0].tolist()))


def test_rewards_of_scoring_do_not_depend_on_packing(newborn: Path, tmp_path: Path) -> None:
    model = ScoringModel(load_checkpoint(newborn).model.shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    model.mean, model.std = 0.5, 2.0
    sequences = [[i % 300 + 7 for i in range(n, 2 * n + 3)] for n in (3, 30, 11, 7, 19, 2)]
    got = score_sequences(model, sequences, torch.float32, micro_tokens=64)
    for sequence, score in zip(sequences, got.tolist(), strict=True):
        with torch.no_grad():
            raw = float(model.score(model.model(torch.tensor([sequence])))[0, -1, 0])
        assert score == pytest.approx((raw - 0.5) / 2.0, abs=1e-4)


def test_source_of_a_model_is_simulated_as_soon_as_one_row_is(tmp_path: Path) -> None:
    rows = demonstrations(6)
    mixed = [*rows[:-1], Demonstration(rows[-1].messages, source="simulated")]
    config = SftConfig(**(SHARED | {"epochs": 0.5}))
    for name, given, expected in (("a", rows, "human"), ("b", mixed, "simulated")):
        made = sft.run(config, base(tmp_path), given, tmp_path / name, Progress(), seed=1, parents={})
        assert json.loads((made.path / "manifest.json").read_text())["source"] == expected
