"""AI feedback: letters from logits, both orders, soft labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.principled import GREEDY, config, learned_critic, prompts, small_constitution, user
from tests.train.worlds import KillAt, Killed

from chatwright.config import RewardConfig, SamplingConfig
from chatwright.engine import Engine
from chatwright.errors import InputError
from chatwright.files import Problems, read_records
from chatwright.progress import Progress
from chatwright.records import Comparison, Prompt
from chatwright.train import reward
from chatwright.train.constitutional import ai_feedback
from chatwright.train.constitutional.ai_feedback import Judge, Verdict, first_named, soft_label
from chatwright.train.constitutional.critic import EngineCritic, Letter, letter_tokens
from chatwright.train.constitutional.principles import comparison_turns
from chatwright.workspace import Artefact


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return learned_critic(tmp_path_factory.mktemp("critic"))


def test_letters_are_the_softmax_of_the_two_log_probabilities(model: Path) -> None:
    """Against one plain forward pass a question, without packing."""
    engine = Engine.load(model)
    critic = EngineCritic(engine)
    mill = small_constitution().principle("mill")
    asked = [comparison_turns((user(f"Where is {i}?"),), "the old mill" * (i % 3), "no", mill) for i in range(5)]
    letters = critic.letters(asked)
    a, b = (engine.tokenizer.encode(letter)[0] for letter in "AB")
    assert (a, b) == letter_tokens(engine.template)
    for turns, letter in zip(asked, letters, strict=True):
        tokens = engine.template.render(turns, add_generation_prompt=True).tokens
        with torch.no_grad():
            logprobs = engine.model(torch.tensor([tokens]))[0, -1].double().log_softmax(-1)
        pa, pb = math.exp(logprobs[a]), math.exp(logprobs[b])
        assert letter.first == pytest.approx(pa / (pa + pb), rel=1e-4)
        assert letter.mass == pytest.approx(pa + pb, rel=1e-4)


def test_swapping_the_answers_gives_one_minus_the_label(model: Path) -> None:
    judge = Judge(config(), small_constitution(), EngineCritic(Engine.load(model)), 5)
    asked = [(user("Where is A?"),), (user("What is D?"),)]
    pairs = [("the old mill", "by the river"), ("of flour", "no")]
    forward = judge.judge(range(2), asked, pairs)
    backward = judge.judge(range(2), asked, [pair[::-1] for pair in pairs])
    for one, other in zip(forward, backward, strict=True):
        assert len(one) == 2
        assert soft_label(one) == pytest.approx(1 - soft_label(other), abs=1e-5)
        assert soft_label(one) != 0.5


def test_a_label_is_the_mean_over_orders_and_principles_and_clamped_where_asked() -> None:
    verdicts = [Verdict("p", Letter(0.9, 1), Letter(0.2, 1)), Verdict("q", Letter(0.6, 1), Letter(0.5, 1))]
    assert soft_label(verdicts) == pytest.approx((0.9 + 0.8 + 0.6 + 0.5) / 4)
    assert soft_label(verdicts, 0.4) == 0.6
    assert soft_label([Verdict("p", Letter(0.1, 1), Letter(0.8, 1))], 0.4) == 0.4
    assert soft_label([Verdict("p", Letter(0.5, 1), Letter(0.45, 1))], 0.4) == pytest.approx(0.525)


def test_a_critic_that_always_says_a_is_all_bias_and_no_label() -> None:
    always = [Verdict("p", Letter(0.9, 1), Letter(0.9, 1))] * 3
    assert first_named(always) == 1.0
    assert soft_label(always) == pytest.approx(0.5)
    fair = [Verdict("p", Letter(0.9, 1), Letter(0.1, 1))]
    assert first_named(fair) == 0.5
    assert first_named([]) is None


LOOSE = SamplingConfig(temperature=2.5, max_tokens=24)
"""Hot enough that two answers of a model that has memorised everything differ."""


def compare(folder: Path, model: Path, progress: Progress | None = None, **changes: Any) -> Artefact:
    asked = [*prompts(), *(Prompt((user(f"Where is {i}?"),), source="simulated", id=str(i)) for i in range(8))]
    given: dict[str, Any] = {"answer": LOOSE, "critic": LOOSE, "chunk": 3}
    return ai_feedback.run(config(**(given | changes)), small_constitution(), model, asked, folder / "out",
                           progress or Progress(), seed=3, parents={})  # fmt: skip


def rows(artefact: Artefact) -> list[Comparison]:
    problems = Problems()
    made = list(read_records([artefact.path / ai_feedback.COMPARISONS], Comparison.from_json, problems))
    assert not problems.count
    return made


@pytest.mark.parametrize("reasoning", [False, True])
def test_a_killed_run_ends_with_the_same_bits(reasoning: bool, model: Path, tmp_path: Path) -> None:
    whole = compare(tmp_path / "whole", model, reasoning=reasoning)
    folder = tmp_path / "killed"
    for step in (3, 9):
        with pytest.raises(Killed):
            compare(folder, model, KillAt("feedback", step), reasoning=reasoning)
    resumed = compare(folder, model, reasoning=reasoning)
    assert resumed.id == whole.id
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.manifest.figures == whole.manifest.figures
    assert not (folder / "out" / "state").exists()
    labels = [c.preference for c in rows(whole) if c.preference is not None]
    assert len(labels) == whole.manifest.figures["comparisons"] > 4
    assert len(set(labels)) > 2
    if reasoning:
        assert all(0.4 <= label <= 0.6 for label in labels)


def test_every_pair_is_asked_about_under_each_principle_in_both_orders(model: Path, tmp_path: Path) -> None:
    made = compare(tmp_path, model)
    figures = made.manifest.figures
    assert figures["letters_from"] == "logits"
    assert figures["comparisons"] + figures["same_or_broken"] + figures["too_long"] == 14
    assert figures["questions"] == 4 * figures["comparisons"]
    assert 0 <= figures["first_named_wins"] <= 1
    assert 0 < figures["letter_mass"] < 1
    for row in rows(made):
        assert set(row.meta["principles"]) == {"mill", "river"}
        assert row.preference == pytest.approx(sum(row.meta["principles"].values()) / 2, abs=1e-5)
        assert row.responses[0] != row.responses[1]
    assert {c.source for c in rows(made)} <= {"model", "simulated"}
    one = compare(tmp_path / "one", model, feedback_principles=1)
    assert one.manifest.figures["questions"] == 2 * one.manifest.figures["comparisons"]


def test_labels_train_a_reward_model(model: Path, tmp_path: Path) -> None:
    made = rows(compare(tmp_path, model))
    plan: dict[str, Any] = {"epochs": 1.0, "batch_tokens": 192, "sequence": 48, "precision": "fp32"}
    trained = reward.run(RewardConfig(**plan), model, made, tmp_path / "reward", Progress(), seed=1, parents={})
    assert trained.manifest.figures["comparisons"] > 0
    assert trained.manifest.source == "simulated"


def test_a_model_that_always_says_the_same_gives_no_pairs(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pair to learn from"):
        compare(tmp_path, model, **GREEDY)


def test_a_tokenizer_that_cannot_tell_the_letters_apart_is_refused() -> None:
    from chatwright.model.chat import Rendered

    class Blind:
        """A template over one token, whatever is said."""

        stop_ids, begin = frozenset({1}), (0,)

        def render(self, messages: Any, *, add_generation_prompt: bool = False) -> Rendered:
            said = len([m for m in messages if m.role == "assistant"])
            return Rendered([0, *[2, 1] * said], [0, *[1, 1] * said])

    with pytest.raises(InputError, match="A and B with the same token"):
        letter_tokens(Blind())
