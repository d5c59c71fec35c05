"""Pretraining: next-token prediction over packed documents, from nothing to a base model.

Documents lie end to end in an order shuffled per epoch, cut into rows of equal length. Attention stays inside a
document and the first token of a document is never a target, so packing changes nothing but speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chatwright.config import ModelConfig, PretrainConfig
from chatwright.errors import InputError
from chatwright.machine import compute_dtype
from chatwright.model.checkpoint import save_checkpoint
from chatwright.model.decoder import Decoder, initialise
from chatwright.model.measure import Corpus, bits_per_byte, language_loss
from chatwright.model.packing import Packed
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import Tokenizer
from chatwright.progress import Progress, Stage
from chatwright.train.distributed import World
from chatwright.train.loop import Plan, Trainer, finish_model, run_plan
from chatwright.workspace import STATE_FOLDER, Artefact


class StreamRows:
    """Row i of epoch e, as a pure function: documents in a seeded order, end to end, cut every `width` tokens."""

    def __init__(self, corpus: Corpus, width: int, seed: int) -> None:
        self.corpus, self.width, self.seed = corpus, width, seed
        self.lengths = np.asarray(corpus.lengths, np.int64)
        self.per_epoch = int(self.lengths.sum() - 1) // width
        if self.per_epoch < 1:
            raise InputError(f"the corpus has fewer than {width + 1} tokens; give it more text or shorten the rows")
        self._epoch, self._order, self._ends = -1, np.zeros(0, np.int64), np.zeros(0, np.int64)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(width + 1 tokens, the document number of each)."""
        epoch, at = divmod(index, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.Generator(np.random.Philox(key=self.seed + (epoch << 32))).permutation(
                len(self.lengths)
            )
            self._ends = self.lengths[self._order].cumsum()
            self._epoch = epoch
        start, stop = at * self.width, (at + 1) * self.width + 1
        tokens, documents = np.empty(self.width + 1, np.int64), np.empty(self.width + 1, np.int64)
        place = int(np.searchsorted(self._ends, start, side="right"))
        filled = 0
        while filled < stop - start:
            begin = int(self._ends[place] - self.lengths[self._order[place]])
            skip = start + filled - begin
            piece = self.corpus.doc(int(self._order[place]))[skip : skip + stop - start - filled]
            tokens[filled : filled + len(piece)] = piece
            documents[filled : filled + len(piece)] = place
            filled += len(piece)
            place += 1
        return tokens, documents


def stream_batch(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Packed:
    """Rows of a stream as a packed batch: the target of each token is the next one of the same document."""
    tokens = torch.from_numpy(np.stack([t for t, _ in rows]))
    documents = torch.from_numpy(np.stack([d for _, d in rows]))
    inside = documents[:, 1:] == documents[:, :-1]
    index = torch.arange(tokens.shape[1] - 1).expand(len(rows), -1)
    begins = torch.cat((torch.ones(len(rows), 1, dtype=torch.bool), ~inside[:, :-1]), dim=1)
    starts = torch.where(begins, index, 0).cummax(dim=1).values
    nothing = torch.zeros(0, dtype=torch.long)
    return Packed(
        tokens[:, :-1], tokens[:, 1:], inside.float(), index - starts, documents[:, :-1], nothing, nothing, nothing
    )


def new_shape(config: ModelConfig, vocab_size: int) -> Shape:
    return Shape(
        vocab_size=vocab_size, layers=config.layers, width=config.width, heads=config.heads,
        kv_heads=config.kv_heads, head_width=config.head_width or config.width // config.heads,
        mlp_width=config.mlp_width, context=config.context, rope_theta=config.rope_theta, qk_norm=config.qk_norm,
        tie_embeddings=config.tie_embeddings, family="qwen3" if config.qk_norm else "llama",
    )  # fmt: skip


def run(
    config: PretrainConfig,
    model_config: ModelConfig,
    corpus: Corpus,
    holdout: Corpus,
    tokenizer: Tokenizer,
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    world: World | None = None,
    sample: Any = None,
    source: str = "human",
) -> Artefact:
    """Trains a base model from nothing into `out`; a killed run goes on from its last checkpoint.

    `sample(stage, model)` is called at every evaluation, to show what the model says by then.
    """
    world = world or World()
    dtype = compute_dtype(config.precision, world.device)
    model = initialise(Decoder(new_shape(model_config, tokenizer.vocab_size)), seed)
    trainer = Trainer(model, config, world=world)
    rows = StreamRows(corpus, config.sequence, seed)
    per_step = max(world.size, config.batch_tokens // config.sequence)
    steps = 0 if config.minutes else max(1, config.tokens // (per_step * config.sequence))
    micro = max(1, config.micro_tokens // config.sequence)

    def batches(step: int) -> tuple[list[Packed], float]:
        mine = range(step * per_step + world.rank, (step + 1) * per_step, world.size)
        made = [
            stream_batch([rows.row(i) for i in mine[at : at + micro]]).to(world.device)
            for at in range(0, len(mine), micro)
        ]
        return made, float(sum(b.weights.sum() for b in made))

    loss = language_loss(dtype)

    def nats(batch: Packed) -> float:
        return float(trainer.measure(loss, batch.to(world.device))[0])

    def evaluate() -> dict[str, float]:
        measured = bits_per_byte(nats, holdout, model_config.context, config.micro_tokens)
        return {} if measured is None else {"bits_per_byte": measured}

    with progress.stage("pretrain", steps or 1000, parameters=model.shape.parameters) as stage:
        if not len(holdout.lengths):
            stage.warn("no document is held out, so bits per byte are not measured; raise text.holdout_fraction")
        plan = Plan(
            steps, batches, loss, evaluate, _sampler(sample, stage, model), config.minutes,
            per_step * config.sequence,
        )  # fmt: skip
        curve = run_plan(trainer, plan, out / STATE_FOLDER, stage)
    figures = {
        "bits_per_byte": curve[-1].get("bits_per_byte"), "parameters": model.shape.parameters,
        "steps": trainer.step_number, "tokens": trainer.step_number * per_step * config.sequence,
        "seconds": round(trainer.seconds, 2), "skipped_steps": trainer.skipped, "curve": curve,
    }  # fmt: skip
    settings = {**config.model_dump(), "model": model_config.model_dump()}
    return finish_model(
        out, trainer, lambda state: save_checkpoint(out, model, tokenizer, state=state),
        kind="pretrain", name="base", parents=parents, config=settings, seed=seed, figures=figures, source=source,
    )  # fmt: skip


def _sampler(sample: Any, stage: Stage, model: Decoder) -> Any:
    return (lambda: sample(stage, model)) if sample else None
