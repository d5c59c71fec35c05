"""Several sets in one run: exact shares, every row once an epoch, the same rows on any number of ranks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.model.small import tiny_tokenizer
from tests.train.worlds import SHARED, KillAt, Killed, Steps, base, demonstrations, weights

from chatwright.config import SftConfig
from chatwright.errors import InputError
from chatwright.model.checkpoint import load_decoder
from chatwright.model.measure import language_loss
from chatwright.model.packing import Example, Packed, passes
from chatwright.progress import Progress
from chatwright.records import Document
from chatwright.train import sft
from chatwright.train.distributed import World
from chatwright.train.mixture import packed_batches
from chatwright.train.sft import Mixed, prepare_texts
from chatwright.workspace import Artefact

WIDTH = 8


def rows_of(letter: int, count: int) -> list[Example]:
    """`count` examples that fill a row each, told apart by their tokens: 100 x letter + number."""
    return [Example([100 * letter + n] * WIDTH, [1.0] * WIDTH) for n in range(count)]


def seen(batches: list[Packed]) -> list[int]:
    return [int(row[0]) for batch in batches for row in batch.tokens]


@pytest.mark.parametrize("shares", [(0.3,), (0.25, 0.1), (0.05,)])
def test_shares_are_exact_and_rows_come_once_an_epoch(shares: tuple[float, ...]) -> None:
    sets = [rows_of(1, 40), rows_of(2, 7), rows_of(3, 3)][: len(shares) + 1]
    epoch, batches = packed_batches(sets, shares, WIDTH, 8, 3, 5, World())
    assert epoch == pytest.approx(40 / (8 * (1 - sum(shares))))
    taken: list[int] = []
    for step in range(200):
        made, weight = batches(step)
        assert weight == 8 * (WIDTH - 1)  # the first token of a text is given
        assert len(seen(made)) == 8
        taken += seen(made)
        for number, share in enumerate(shares, start=2):  # never more than a row away from its share, at any moment
            assert abs(sum(row // 100 == number for row in taken) - share * len(taken)) < 1
    for number, examples in enumerate(sets, start=1):
        own = [row for row in taken if row // 100 == number]
        for at in range(0, len(own) - len(examples), len(examples)):
            assert len(set(own[at : at + len(examples)])) == len(examples)
        counts = Counter(own)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_two_ranks_take_the_rows_of_one() -> None:
    sets = [rows_of(1, 9), rows_of(2, 5)]
    whole = packed_batches(sets, [0.4], WIDTH, 6, 2, 5, World())[1]
    halves = [packed_batches(sets, [0.4], WIDTH, 6, 2, 5, World(rank, 2))[1] for rank in (0, 1)]
    for step in range(12):
        together = [row for half in halves for row in seen(half(step)[0])]
        assert sorted(together) == sorted(seen(whole(step)[0]))


@pytest.mark.parametrize("shares", [[0.0], [1.0], [-0.1], [0.6, 0.5]])
def test_impossible_shares_are_refused(shares: list[float]) -> None:
    sets = [rows_of(1, 4)] * (len(shares) + 1)
    with pytest.raises(InputError, match="shares of a mixture"):
        packed_batches(sets, shares, WIDTH, 4, 2, 5, World())


def test_texts_are_learned_whole() -> None:
    tokenizer = tiny_tokenizer()
    long = "the old mill by the river " * 9
    examples = prepare_texts(tokenizer, [Document("1", long), Document("2", "")], 16)
    joined = [token for e in examples for token in e.tokens]
    whole = [tokenizer.bos, *tokenizer.encode(long)]
    assert joined == (whole if len(whole) % 16 != 1 else whole[:-1])
    assert all(e.weights == [0.0] + [1.0] * (len(e.tokens) - 1) for e in examples)
    assert max(len(e.tokens) for e in examples) <= 16


TEXTS = [Document(str(i), f"the miller counts {i} sacks and the river turns the wheel of the mill") for i in range(9)]


def run_mixed(folder: Path, progress: Progress, share: float, epochs: float = 2.0) -> Artefact:
    mixed = [Mixed(TEXTS, share)] if share else []
    config = SftConfig(**(SHARED | {"epochs": epochs}))
    return sft.run(config, base(folder), demonstrations(), folder / "out", progress, seed=5, parents={}, mixed=mixed)


def test_a_mixed_run_resumes_to_the_same_bits_and_says_what_it_mixed(tmp_path: Path) -> None:
    whole = run_mixed(tmp_path / "whole", Progress(), 0.3)
    with pytest.raises(Killed):
        run_mixed(tmp_path / "killed", KillAt("sft", 3), 0.3)
    assert weights(run_mixed(tmp_path / "killed", Progress(), 0.3)) == weights(whole)
    assert whole.manifest.figures["mixed"] == [0.3]


def test_texts_mixed_in_are_not_forgotten(tmp_path: Path) -> None:
    losses = {}
    known = prepare_texts(tiny_tokenizer(), TEXTS, 48)
    for share in (0.0, 0.4):
        made = run_mixed(tmp_path / str(share), Steps(), share, epochs=12.0)
        model = load_decoder(made.path)
        with torch.no_grad():
            losses[share] = sum(float(language_loss(torch.float32)(model, b)[0]) for _, b in passes(known, 48, 4096))
    assert losses[0.4] < 0.8 * losses[0.0]
