"""Measuring a model on rows a person brings, each kind of row for what it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chatwright.cycle.run import Run
from chatwright.errors import InputError
from chatwright.files import Problems, iter_rows
from chatwright.machine import compute_dtype
from chatwright.model.checkpoint import Checkpoint, load_checkpoint
from chatwright.model.measure import language_loss, windows
from chatwright.model.packing import passes
from chatwright.records import Comparison, Demonstration, Document
from chatwright.train.answers import answer_example
from chatwright.train.dpo import reference_logprobs
from chatwright.train.sft import prepare
from chatwright.workspace import Artefact

MICRO_TOKENS = 8192


def measure(run: Run, model: Artefact, paths: Sequence[Path | str]) -> dict[str, Any]:
    """Figures of `model` on all rows of `paths`: those of documents, demonstrations and comparisons that are there."""
    documents, demonstrations, comparisons = [], [], []
    problems = Problems()
    for where, row in iter_rows(paths, problems):
        try:
            if "responses" in row:
                comparisons.append(Comparison.from_json(row))
            elif "messages" in row:
                demonstrations.append(Demonstration.from_json(row))
            else:
                documents.append(Document.from_json(row))
        except (InputError, TypeError, ValueError) as error:
            problems.add(where, str(error))
    if not (documents or demonstrations or comparisons):
        first = f" (the first: {problems.examples[0]})" if problems.examples else ""
        raise InputError(f"no row can be measured{first}")
    checkpoint = load_checkpoint(model.path, device=run.world.device)
    figures: dict[str, Any] = {"model": model.id}
    if documents:
        figures |= _documents(checkpoint, documents, run)
    if demonstrations:
        figures |= _demonstrations(checkpoint, demonstrations, run)
    if comparisons:
        figures |= _comparisons(checkpoint, comparisons, run)
    if problems.count:
        figures |= {"rows_left_out": problems.count, "first_problem": problems.examples[0]}
    return figures


@torch.no_grad()
def _nats(checkpoint: Checkpoint, examples: Any, run: Run) -> tuple[float, float]:
    """(summed cross-entropy, summed weight)."""
    device = run.world.device
    loss = language_loss(compute_dtype("auto", device))
    total = weight = 0.0
    longest = max(len(e.tokens) for e in examples)
    for _, batch in passes(examples, longest, MICRO_TOKENS):
        total += float(loss(checkpoint.model, batch.to(device))[0])
        weight += float(batch.weights.sum())
    return total, weight


def _documents(checkpoint: Checkpoint, documents: list[Document], run: Run) -> dict[str, Any]:
    import numpy as np

    context = min(checkpoint.model.shape.context, 2048)
    examples = []
    for document in documents:
        tokens = np.array([*checkpoint.template.begin, *checkpoint.tokenizer.encode(document.text)])
        if len(tokens) > 1:
            examples += windows(tokens, context)
    nats, _ = _nats(checkpoint, examples, run)
    size = sum(len(d.text.encode()) for d in documents)
    return {"documents": len(documents), "bits_per_byte": nats / math.log(2) / max(1, size)}


def _demonstrations(checkpoint: Checkpoint, rows: list[Demonstration], run: Run) -> dict[str, Any]:
    made = prepare(checkpoint.template, rows, checkpoint.model.shape.context)
    counts = {"demonstrations": len(made.examples), "demonstrations_too_long": made.dropped}
    if not made.examples:
        return counts
    nats, weight = _nats(checkpoint, made.examples, run)
    return {**counts, "answer_loss": nats / weight}


def _comparisons(checkpoint: Checkpoint, rows: list[Comparison], run: Run) -> dict[str, Any]:
    """How often the model gives the better answer the higher log-probability per token."""
    right = total = 0
    limit = checkpoint.model.shape.context
    for row in rows:
        answers = [answer_example(checkpoint.template, row.prompt, r) for r in row.responses]
        longest = max(len(a.tokens) for a in answers)
        if longest > limit or not row.pairs():
            continue
        dtype = compute_dtype("auto", run.world.device)
        sums = reference_logprobs(checkpoint.model, answers, longest, MICRO_TOKENS, dtype, run.world.device)
        means = [float(s) / sum(a.weights) for s, a in zip(sums, answers, strict=True)]
        right += sum(means[b] > means[w] for b, w in row.pairs())
        total += len(row.pairs())
    return {"pairs": total, "pairs_in_order": right / total} if total else {"pairs": 0}
