"""How well and how fast curation finds the dirt that is planted in the starter's corpus, where the truth is known.

Targets: recall >= 0.95 of near-duplicates and of personal data, at most 1 % of clean documents lost.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from _common import machine, parser, report, say, spread


def measure(seed: int, documents: int) -> dict[str, Any]:
    from chatwright import starter, text
    from chatwright.config import TextConfig

    corpus = starter.corpus(seed, documents)
    started = time.perf_counter()
    kept, dropped = text.curate(corpus.documents, TextConfig())
    kept = [replace(document, text=text.mask_pii(document.text)[0]) for document in kept]
    seconds = time.perf_counter() - started
    found = text.score(dropped, kept, corpus.truth, original=corpus.copies, planted_pii=corpus.pii)
    size = sum(len(document.text.encode()) for document in corpus.documents)
    return {
        "seed": seed, "documents": len(corpus.documents), "recall": found.recall, "pii_recall": found.pii_recall,
        "precision": found.precision, "clean_lost": found.clean_lost, "planted": found.planted,
        "documents_per_second": round(len(corpus.documents) / seconds),
        "megabytes_per_second": round(size / seconds / 1e6, 2),
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--documents", type=int, default=24_000, help="size of each corpus")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    chosen = options.parse_args()
    rows = []
    for seed in chosen.seeds:
        rows.append(measure(seed, chosen.documents))
        say(f"seed {seed}: {rows[-1]}")
    report(
        "curation",
        near_duplicate_recall=spread([row["recall"]["near_duplicate"] for row in rows]),
        pii_recall=spread([row["pii_recall"] for row in rows]),
        clean_lost=spread([row["clean_lost"] for row in rows]),
        precision=spread([row["precision"] for row in rows]),
        documents_per_second=spread([row["documents_per_second"] for row in rows]),
        target="recall of near-duplicates and personal data >= 0.95, clean documents lost <= 0.01",
        runs=rows,
        machine=machine(),
    )


if __name__ == "__main__":
    main()
