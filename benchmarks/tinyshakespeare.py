"""nanoGPT's CPU exercise: a character model of Shakespeare, three minutes of training, nats per character.

Shape and split are nanoGPT's (4 layers, 4 heads, width 128, context 64, batch 12, the first 90 % to learn from, about
0.8 million parameters); decoder and optimisers are ours. nanoGPT reports 1.88 on a laptop's CPU within about 3 minutes.
The loss is measured over the whole validation split in windows of 64 that do not overlap, which gives each character
as little context as nanoGPT's own estimate does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from _common import machine, need, parser, report, say

TRAIN_SHARE = 0.9


def read(file: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """(characters to learn from, characters to measure on, size of the alphabet)."""
    text = file.read_text("utf-8")
    alphabet = {character: number for number, character in enumerate(sorted(set(text)))}
    numbers = np.array([alphabet[character] for character in text], np.int64)
    cut = int(TRAIN_SHARE * len(numbers))
    return numbers[:cut], numbers[cut:], len(alphabet)


def batch_of(text: np.ndarray, starts: np.ndarray, context: int) -> Any:
    from chatwright.train.pretrain import stream_batch

    one_document = np.zeros(context + 1, np.int64)
    return stream_batch([(text[start : start + context + 1], one_document) for start in starts])


def loss_on(trainer: Any, loss: Any, text: np.ndarray, context: int) -> float:
    """Mean nats per character; every character but the first is predicted once."""
    total = count = 0.0
    starts = np.arange(0, len(text) - 1 - context, context)
    for at in range(0, len(starts), 128):
        batch = batch_of(text, starts[at : at + 128], context)
        total += float(trainer.measure(loss, batch)[0])
        count += float(batch.weights.sum())
    return total / count


def train(chosen: Any, learn: np.ndarray, held: np.ndarray, alphabet: int) -> dict[str, Any]:
    from chatwright.config import ModelConfig, OptimConfig, TrainConfig
    from chatwright.machine import compute_dtype, use_threads
    from chatwright.model.decoder import Decoder, initialise
    from chatwright.model.measure import language_loss
    from chatwright.train.loop import Trainer
    from chatwright.train.pretrain import new_shape

    threads = use_threads(chosen.threads)
    config = TrainConfig(optim=OptimConfig(
        muon_lr=chosen.muon_lr, adam_lr=chosen.adam_lr, weight_decay=chosen.weight_decay, warmup=0.02,
        decay=chosen.decay, final_lr=0.0,
    ))  # fmt: skip
    shape = new_shape(
        ModelConfig(
            layers=4, width=128, heads=4, kv_heads=4, mlp_width=344, context=chosen.context, tie_embeddings=False
        ),
        alphabet,
    )
    trainer = Trainer(initialise(Decoder(shape), chosen.seed), config)
    loss = language_loss(compute_dtype("auto", "cpu"))
    rng = np.random.default_rng(chosen.seed)
    started = last = time.monotonic()
    budget, recent = 60 * chosen.minutes, 0.0
    while trainer.seconds < budget:
        starts = rng.integers(0, len(learn) - 1 - chosen.context, chosen.batch)
        batch = batch_of(learn, starts, chosen.context)
        recent = trainer.step([batch], loss, float(batch.weights.sum()), trainer.seconds / budget).loss
        if time.monotonic() - last > 10:
            last = time.monotonic()
            say(f"step {trainer.step_number}: training loss {recent:.3f}")
    wall = time.monotonic() - started
    seen = trainer.step_number * chosen.batch * chosen.context
    return {
        "nats_per_character": round(loss_on(trainer, loss, held, chosen.context), 4),
        "train_nats_per_character": round(loss_on(trainer, loss, learn[: len(held)], chosen.context), 4),
        "parameters": shape.parameters, "steps": trainer.step_number, "characters_seen": seen,
        "characters_per_second": round(seen / trainer.seconds), "seconds_of_steps": round(trainer.seconds, 1),
        "seconds_with_batches": round(wall, 1), "threads": threads,
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "", data=True)
    options.add_argument("--minutes", type=float, default=3, help="training time")
    options.add_argument("--batch", type=int, default=12, help="windows in a step; nanoGPT's is 12")
    options.add_argument("--context", type=int, default=64)
    options.add_argument("--muon-lr", type=float, default=0.01)
    options.add_argument("--adam-lr", type=float, default=0.003)
    options.add_argument("--weight-decay", type=float, default=0.0)
    options.add_argument("--decay", type=float, default=0.7, help="share of the time over which the rate falls")
    options.add_argument("--threads", type=int, default=0, help="0: one per core")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    file = chosen.data / "text" / "tinyshakespeare.txt"
    need("tinyshakespeare", file)

    from chatwright.machine import prepare_process

    prepare_process()
    facts = machine()
    settings = {key: value for key, value in vars(chosen).items() if key != "data"}
    report("tinyshakespeare", **train(chosen, *read(file)), target="< 1.88", settings=settings, machine=facts)


if __name__ == "__main__":
    main()
