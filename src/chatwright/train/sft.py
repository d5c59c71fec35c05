"""Supervised fine-tuning: a base model learns to answer from demonstrations.

The loss is on what assistants say and on the end of their turns, nothing else (Ouyang et al. 2022, section 3.4).
Conversations are packed best-fit into rows, each seeing only itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.config import SftConfig
from chatwright.errors import InputError
from chatwright.machine import compute_dtype
from chatwright.model.chat import ChatTemplate
from chatwright.model.checkpoint import Checkpoint, load_checkpoint
from chatwright.model.lora import adapt
from chatwright.model.measure import language_loss
from chatwright.model.packing import Example, passes
from chatwright.model.tokenizer import Tokenizer
from chatwright.progress import Progress
from chatwright.records import Demonstration, Document
from chatwright.train.distributed import World
from chatwright.train.loop import Plan, Trainer, finish_model, run_plan, save_tuned
from chatwright.train.mixture import packed_batches
from chatwright.workspace import STATE_FOLDER, Artefact


@dataclass(slots=True)
class Prepared:
    """Demonstrations as token examples, and what became of those that did not fit."""

    examples: list[Example]
    cut: int = 0
    """conversations whose last turns were left out"""
    dropped: int = 0
    """conversations without any assistant token inside the limit"""
    cut_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Mixed:
    """Rows that stand in for a share of every step: other demonstrations, or documents against forgetting."""

    rows: Sequence[Demonstration | Document]
    share: float


def learnable(row: Mapping[str, Any]) -> Demonstration | Document:
    """A row to mix in: a document where it has a text, else a conversation."""
    return Document.from_json(row) if "text" in row else Demonstration.from_json(row)


def prepare(template: ChatTemplate, demonstrations: Sequence[Demonstration], limit: int) -> Prepared:
    """Renders each conversation; one longer than `limit` tokens loses its last turns, never half a turn."""
    made = Prepared([])
    for demonstration in demonstrations:
        messages = demonstration.messages
        rendered = template.render(messages)
        whole = len(rendered.tokens)
        while len(rendered.tokens) > limit and len(messages) > 1:
            messages = messages[:-1]
            rendered = template.render(messages)
        fits = len(rendered.tokens) <= limit
        made.cut_tokens += whole - (len(rendered.tokens) if fits else 0)
        given = len(template.render(messages[: demonstration.given]).tokens) if demonstration.given else 0
        mask = [0] * given + rendered.mask[given:]
        if not fits or not any(mask):
            made.dropped += 1
            continue
        made.cut += len(rendered.tokens) < whole
        weight = demonstration.weight
        made.examples.append(Example(rendered.tokens, [weight * m for m in mask]))
    return made


def prepare_texts(tokenizer: Tokenizer, documents: Sequence[Document], width: int) -> list[Example]:
    """Documents as in pretraining: every token after the first is learned; long ones are cut into rows."""
    made = []
    for encoded in tokenizer.encode_batch([d.text for d in documents]):
        tokens = [tokenizer.bos, *encoded]
        pieces = (tokens[at : at + width] for at in range(0, len(tokens), width))
        made += [Example(piece, [0.0] + [1.0] * (len(piece) - 1)) for piece in pieces if len(piece) > 1]
    return made


def run(
    config: SftConfig,
    base: Path,
    demonstrations: Sequence[Demonstration],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    heldout: Sequence[Demonstration] = (),
    mixed: Sequence[Mixed] = (),
    world: World | None = None,
    sample: Any = None,
    name: str = "sft",
) -> Artefact:
    """Fine-tunes the model in the folder `base` into `out`; a killed run goes on from its last checkpoint.

    Each of `mixed` gets its share of every step's rows; `sft.epochs` counts passes over `demonstrations`.
    `name` is what the artefact is called.
    """
    world = world or World()
    checkpoint = load_checkpoint(base)
    dtype = compute_dtype(config.precision, world.device)
    if config.lora.rank:
        adapt(checkpoint.model, config.lora, seed)
    trainer = Trainer(checkpoint.model, config, world=world)
    width = min(config.sequence, checkpoint.model.shape.context)
    made = prepare(checkpoint.template, demonstrations, width)
    if not made.examples:
        raise InputError(
            f"none of the {len(demonstrations)} demonstrations has an assistant turn within {width} tokens; "
            "shorten them or raise sft.sequence"
        )
    per_step, micro = max(world.size, config.batch_tokens // width), max(1, config.micro_tokens // width)
    sets = [made.examples, *(_examples(checkpoint, other, width) for other in mixed)]
    epoch, batches = packed_batches(sets, [m.share for m in mixed], width, per_step, micro, seed, world)
    steps = max(1, round(config.epochs * epoch))
    loss = language_loss(dtype)
    held = prepare(checkpoint.template, heldout, width).examples

    def evaluate() -> dict[str, float]:
        total = weight = 0.0
        for _, batch in passes(held, width, config.micro_tokens):
            total += float(trainer.measure(loss, batch.to(world.device))[0])
            weight += float(batch.weights.sum())
        return {"heldout_loss": total / weight} if weight else {}

    with progress.stage("sft", steps, demonstrations=len(made.examples)) as stage:
        if made.cut or made.dropped:
            stage.warn(
                f"{made.cut} conversations longer than {width} tokens lost their last turns, {made.dropped} were "
                f"dropped whole ({made.cut_tokens} tokens)"
            )
        sampler = (lambda: sample(stage, checkpoint.model)) if sample else None
        plan = Plan(steps, batches, loss, evaluate, sampler, tokens_per_step=per_step * width)
        curve = run_plan(trainer, plan, out / STATE_FOLDER, stage)
    everyone = [*demonstrations, *(row for other in mixed for row in other.rows if isinstance(row, Demonstration))]
    figures = {
        **({"mixed": [other.share for other in mixed]} if mixed else {}),
        **{k: v for k, v in curve[-1].items() if k == "heldout_loss"}, "steps": trainer.step_number,
        "demonstrations": len(made.examples), "cut": made.cut, "dropped": made.dropped,
        "cut_tokens": made.cut_tokens, "seconds": round(trainer.seconds, 2), "skipped_steps": trainer.skipped,
        "curve": curve,
    }  # fmt: skip
    return finish_model(
        out, trainer, lambda state: save_tuned(out, base, state, config.lora), kind="sft", name=name, parents=parents,
        config=config.model_dump(), seed=seed, figures=figures, source=source_of(everyone),
    )  # fmt: skip


def _examples(checkpoint: Checkpoint, mixed: Mixed, width: int) -> list[Example]:
    told = [r for r in mixed.rows if isinstance(r, Demonstration)]
    texts = [r for r in mixed.rows if isinstance(r, Document)]
    examples = prepare(checkpoint.template, told, width).examples + prepare_texts(checkpoint.tokenizer, texts, width)
    if not examples:
        raise InputError(f"none of the {len(mixed.rows)} rows to mix in can be learned from within {width} tokens")
    return examples


def source_of(records: Sequence[Any]) -> str:
    """ "simulated" as soon as any row is, so that the label travels with the model; else "model" as soon as any is."""
    sources = {r.source for r in records}
    return next((label for label in ("simulated", "model") if label in sources), "human")
