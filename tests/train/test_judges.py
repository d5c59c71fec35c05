"""Several reward models as one, against numpy in float64 and against each model alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.model.small import scramble, tiny_shape, tiny_tokenizer
from tests.train.worlds import base, prompts

from chatwright.config import EnsembleConfig
from chatwright.errors import CheckpointError, InputError
from chatwright.model.chat import NativeTemplate
from chatwright.model.checkpoint import save_checkpoint
from chatwright.model.decoder import Decoder
from chatwright.model.tokenizer import Tokenizer
from chatwright.records import Message
from chatwright.train.judges import combine, load_judges
from chatwright.train.scoring import ScoringModel, save_scoring, score_sequences

SEQUENCES = [[i % 300 + 7 for i in range(n, 2 * n + 3)] for n in (3, 30, 11, 7)]


def reward_model(folder: Path, parent: Path, seed: int, mean: float, std: float) -> Path:
    model = ScoringModel(tiny_shape(family="qwen3", qk_norm=True))
    scramble(model, seed)
    save_scoring(folder, parent, dict(model.named_parameters()), mean, std)
    return folder


def alone(folder: Path, sequences: list[list[int]]) -> list[float]:
    """Each sequence by itself, with that model's own mean and deviation."""
    judges = load_judges(folder, EnsembleConfig(), folder)
    (model,) = judges.models
    with torch.no_grad():
        raw = [float(model.score(model.model(torch.tensor([s])))[0, -1, 0]) for s in sequences]
    return [(r - model.mean) / model.std for r in raw]


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    scales = ((0.0, 1.0), (2.0, 0.5), (-1.0, 3.0))
    return [reward_model(tmp_path / f"r{i}", base(tmp_path), i, *scale) for i, scale in enumerate(scales, start=1)]


def test_combinations_in_float64() -> None:
    scores = np.random.default_rng(1).normal(size=(5, 40))
    given = torch.from_numpy(scores)
    wanted = {
        "mean": scores.mean(0),
        "min": scores.min(0),
        "uncertainty": scores.mean(0) - 0.7 * ((scores - scores.mean(0)) ** 2).mean(0),
    }
    for how, reward in wanted.items():
        got, apart = combine(given, how, 0.7)  # type: ignore[arg-type]
        assert got.dtype == torch.float64
        np.testing.assert_allclose(got.numpy(), reward, rtol=1e-12)
        np.testing.assert_allclose(apart.numpy(), scores.std(0), rtol=1e-12)


def test_one_member_is_itself_to_the_bit_however_it_is_combined() -> None:
    scores = torch.randn(1, 30, generator=torch.Generator().manual_seed(2))
    for how in ("mean", "min", "uncertainty"):
        reward, apart = combine(scores, how, 3.0)
        assert torch.equal(reward, scores[0])
        assert torch.equal(apart, torch.zeros(30))


def test_every_member_is_brought_to_its_own_scale_first(three: list[Path], tmp_path: Path) -> None:
    table = np.array([alone(folder, SEQUENCES) for folder in three])
    for how, wanted in (("mean", table.mean(0)), ("min", table.min(0))):
        judges = load_judges(three, EnsembleConfig(combine=how), base(tmp_path))  # type: ignore[arg-type]
        reward, apart = judges.score(SEQUENCES, torch.float32)
        np.testing.assert_allclose(reward.numpy(), wanted, atol=1e-4)
        np.testing.assert_allclose(apart.numpy(), table.std(0), atol=1e-4)


def test_a_single_folder_scores_as_before(three: list[Path], tmp_path: Path) -> None:
    judges = load_judges(three[0], EnsembleConfig(), base(tmp_path))
    assert torch.equal(
        judges.score(SEQUENCES, torch.float32)[0], score_sequences(judges.models[0], SEQUENCES, torch.float32)
    )


def test_texts_are_graded_with_their_end(three: list[Path], tmp_path: Path) -> None:
    judges = load_judges(three[0], EnsembleConfig(), base(tmp_path))
    template = NativeTemplate(tiny_tokenizer())
    texts = ["the mill", "", "no 😀"]
    given = prompts(3)
    read = [
        list(template.render((*p.messages, Message("assistant", t))).tokens) for p, t in zip(given, texts, strict=True)
    ]
    assert judges.grade(template, given, texts, torch.float32) == pytest.approx(alone(three[0], read), abs=1e-4)


def test_none_the_same_twice_or_another_alphabet_is_refused(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no reward model"):
        load_judges([], EnsembleConfig(), base(tmp_path))
    with pytest.raises(InputError, match="named twice"):
        load_judges([three[0], three[1], three[0]], EnsembleConfig(), base(tmp_path))
    with pytest.raises(CheckpointError, match="not a reward model"):
        load_judges([three[0], base(tmp_path)], EnsembleConfig(), base(tmp_path))
    # As many tokens, other words.
    other = Tokenizer.train(["zebra quagga okapi gnu ibex kudu eland oryx nyala dikdik " * 4] * 20, 380)
    foreign = tmp_path / "foreign"
    decoder = Decoder(tiny_shape(family="qwen3", qk_norm=True, vocab_size=other.vocab_size))
    save_checkpoint(foreign, decoder, other)
    with pytest.raises(InputError, match="another vocabulary"):
        load_judges(three[:2], EnsembleConfig(), foreign)
