"""Rejection sampling: what is kept is the best, all is accounted for, and a killed run ends with the same bits."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.model.small import tiny_tokenizer
from tests.train.worlds import SHARED, KillAt, Killed, comparisons, run_sft

from chatwright.config import BestOfNConfig, EnsembleConfig, OptimConfig, RewardConfig, SftConfig
from chatwright.errors import InputError, WorkspaceError
from chatwright.evaluate import best_of_n_curve
from chatwright.files import Problems, read_records
from chatwright.model.chat import NativeTemplate
from chatwright.progress import Progress
from chatwright.records import Demonstration, Message, Prompt
from chatwright.train import best_of_n, reward, sft
from chatwright.train.scoring import load_scoring
from chatwright.workspace import Artefact

ASKED = [Prompt((Message("user", f"What is {i}?"),), id=str(i), truth={"key": i // 2}) for i in range(10)]
FAST = OptimConfig(muon_lr=0.02, adam_lr=0.01, warmup=0.1, decay=0.5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned model that ends its answers, and two reward models grown from it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("world")
    run_sft(folder, Progress(), epochs=60.0, optim=FAST, checkpoint_every=500, evaluate_every=500)
    for seed in (1, 2):
        judged = RewardConfig(**(SHARED | {"epochs": 3.0}))
        reward.run(judged, folder / "out", comparisons(), folder / f"judge{seed}", Progress(), seed=seed, parents={})
    return folder


def gold(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
    """How much of the answer is digits."""
    return [sum(c.isdigit() for c in text) / max(1, len(text)) for text in texts]


def run(world: Path, out: Path, progress: Progress | None = None, *, judges: int = 1, **more: Any) -> Artefact:
    changes = {k: more.pop(k) for k in list(more) if k in BestOfNConfig.model_fields}
    given: dict[str, Any] = {"n": 4, "max_tokens": 24, "chunk": 3, "micro_tokens": 256, "precision": "fp32"}
    return best_of_n.run(
        BestOfNConfig(**(given | changes)), world / "out", [world / f"judge{i}" for i in range(1, judges + 1)],
        more.pop("prompts", ASKED), out, progress or Progress(), seed=9, parents={"sft": "s"},
        curve_of=lambda p, g, c: best_of_n_curve(p, g, c, resamples=100), **more,
    )  # fmt: skip


def rows(made: Artefact, name: str) -> list[dict[str, Any]]:
    with gzip.open(made.path / name, "rt") as lines:
        return [json.loads(line) for line in lines]


def test_what_is_kept_is_the_best_of_those_that_ended(world: Path, tmp_path: Path) -> None:
    """Every score recomputed for one answer at a time, from its text."""
    made = run(world, tmp_path / "out", gold=gold)
    answers, kept = rows(made, "answers.jsonl.gz"), rows(made, "demonstrations.jsonl.gz")
    model, template = load_scoring(world / "judge1"), NativeTemplate(tiny_tokenizer())
    by_prompt = {row["meta"]["prompt"]: row for row in kept}
    assert [row["id"] for row in answers] == [p.id for p in ASKED]
    checked = 0
    for prompt, row in zip(ASKED, answers, strict=True):
        assert len(row["texts"]) == len(row["scores"]) == len(row["gold"]) == 4
        for text, ended, score, got in zip(row["texts"], row["ended"], row["scores"], row["gold"], strict=True):
            assert got == gold([prompt], [text])[0]
            tokens = template.render((*prompt.messages, Message("assistant", text))).tokens
            if not ended or tiny_tokenizer().decode(tokens).count("\ufffd"):
                continue
            with torch.no_grad():
                raw = float(model.score(model.model(torch.tensor([list(tokens)])))[0, -1, 0])
            checked += abs(score - (raw - model.mean) / model.std) < 1e-3
        usable = [i for i in range(4) if row["ended"][i] and row["texts"][i]]
        if not usable:
            assert row["best"] is None
            assert prompt.id not in by_prompt
            continue
        best = max(usable, key=lambda i: row["scores"][i])
        assert row["best"] == best
        demonstration = by_prompt[prompt.id]
        assert demonstration["messages"] == [
            *({"role": m.role, "content": m.content} for m in prompt.messages),
            {"role": "assistant", "content": row["texts"][best]},
        ]
        assert demonstration["source"] == "model"
        assert demonstration["meta"]["score"] == row["scores"][best]
        assert demonstration["meta"]["gold"] == row["gold"][best]
        assert demonstration["meta"]["best_of"] == 4
    assert checked > 15  # a text may be spelled in other tokens than it was sampled in
    assert made.manifest.figures["kept"] == len(kept)
    assert made.manifest.figures["kept"] + made.manifest.figures["left_out"] == len(ASKED)
    assert made.manifest.source == "model"


def test_the_figures_are_those_of_every_subset_of_the_answers(world: Path, tmp_path: Path) -> None:
    made = run(world, tmp_path / "out", gold=gold)
    answers = rows(made, "answers.jsonl.gz")
    for n in (1, 2, 4):
        best = [[max(s, key=lambda i: row["scores"][i]) for s in itertools.combinations(range(4), n)]
                for row in answers]  # fmt: skip
        got = made.manifest.figures["by_n"][str(n)]
        proxy = [np.mean([row["scores"][i] for i in b]) for row, b in zip(answers, best, strict=True)]
        assert got["proxy"][0] == pytest.approx(np.mean(proxy), rel=1e-9)
        if all(len(set(row["scores"])) == 4 for row in answers):
            golds = [np.mean([row["gold"][i] for i in b]) for row, b in zip(answers, best, strict=True)]
            assert got["gold"][0] == pytest.approx(np.mean(golds), rel=1e-9)


def test_an_answer_without_an_end_pays_for_it_and_is_never_kept(world: Path, tmp_path: Path) -> None:
    short: dict[str, Any] = {"max_tokens": 6, "temperature": 2.0}
    free, dear = (run(world, tmp_path / str(price), missing_end_penalty=price, **short) for price in (0.0, 5.0))
    endless = 0
    for a, b in zip(rows(free, "answers.jsonl.gz"), rows(dear, "answers.jsonl.gz"), strict=True):
        assert a["texts"] == b["texts"]
        for i in range(4):
            assert a["scores"][i] - b["scores"][i] == pytest.approx(0.0 if a["ended"][i] else 5.0, abs=1e-5)
        assert a["best"] is None or a["ended"][a["best"]]
        endless += a["ended"].count(False)
    assert endless


def test_killed_between_chunks_it_ends_with_the_same_bits(world: Path, tmp_path: Path) -> None:
    whole = run(world, tmp_path / "whole", gold=gold)
    for done in (3, 9):
        with pytest.raises(Killed):
            run(world, tmp_path / "out", KillAt("best-of-n", done), gold=gold)
    assert len(list((tmp_path / "out" / "state").glob("chunk-*"))) == 3
    again = run(world, tmp_path / "out", gold=gold)
    assert again.id == whole.id
    assert again.manifest.files == whole.manifest.files
    assert again.manifest.figures == whole.manifest.figures
    assert not (again.path / "state").exists()


def test_two_reward_models_are_asked_and_their_disagreement_told(world: Path, tmp_path: Path) -> None:
    one, other = run(world, tmp_path / "one"), run(world, tmp_path / "both", judges=2)
    least = run(world, tmp_path / "least", judges=2, ensemble=EnsembleConfig(combine="min"))
    assert "disagreement" not in one.manifest.figures
    assert other.manifest.figures["disagreement"] > 0
    for mean, low in zip(rows(other, "answers.jsonl.gz"), rows(least, "answers.jsonl.gz"), strict=True):
        for a, b, apart in zip(mean["scores"], low["scores"], mean["disagreement"], strict=True):
            assert a - b == pytest.approx(apart, abs=1e-4)  # of two members


def test_simulated_prompts_make_simulated_demonstrations(world: Path, tmp_path: Path) -> None:
    asked = [Prompt(p.messages, source="simulated" if i == 4 else "human") for i, p in enumerate(ASKED)]
    made = run(world, tmp_path / "out", prompts=asked)
    assert made.manifest.source == "simulated"
    assert {row["source"] for row in rows(made, "demonstrations.jsonl.gz")} == {"simulated"}


def test_what_is_kept_can_be_fine_tuned_on(world: Path, tmp_path: Path) -> None:
    made, problems = run(world, tmp_path / "out"), Problems()
    kept = list(read_records([made.path / "demonstrations.jsonl.gz"], Demonstration.from_json, problems))
    assert kept
    assert not problems.count
    config = SftConfig(**(SHARED | {"epochs": 1.0}))
    tuned = sft.run(config, world / "out", kept, tmp_path / "sft", Progress(), seed=1, parents={})
    assert tuned.manifest.figures["demonstrations"] == len(kept)


# Bad input.


def test_prompts_without_room_are_left_out_or_refused(world: Path, tmp_path: Path) -> None:
    long = Prompt((Message("user", "the old mill " * 40),))
    made = run(world, tmp_path / "out", prompts=[*ASKED[:4], long])
    assert made.manifest.figures["prompts"] == 4
    with pytest.raises(InputError, match="room for an answer of 24 tokens"):
        run(world, tmp_path / "none", prompts=[long])


def test_a_model_that_never_ends_is_one_sentence(world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not one answer came to an end"):
        run(world, tmp_path / "out", max_tokens=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gold_that_is_no_number_is_not_taken_for_one(bad: float, world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite number"):
        run(world, tmp_path / "out", gold=lambda p, t: [bad] * len(t))


def test_a_damaged_chunk_is_named(world: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(world, tmp_path / "out", KillAt("best-of-n", 3))
    path = tmp_path / "out" / "state" / "chunk-000000.json"
    path.write_text("[{")
    with pytest.raises(WorkspaceError, match="chunk-000000"):
        run(world, tmp_path / "out")


def test_one_answer_is_no_choice() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        BestOfNConfig(n=1)
