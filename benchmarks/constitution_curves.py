"""The picture of the constitution's page, from workspaces that `constitution.py --out` left, one line for each.

    python benchmarks/constitution.py --build build --out seed-1
    python benchmarks/constitution_curves.py seed-1 --out docs/images

Left: the share of answers that refuse after each round of revision, to requests to refuse and to harmless look-alikes.
Right: the loss of held-out rows of the mixture while the revisions are learned. Writes
`method-constitution.png` and prints the shares.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from _common import parser, report
from method_curves import SFT

HARMFUL, LOOKALIKE = "#c2571a", "#2f8f5b"


def refusals(revisions: Path, skill: str) -> list[float]:
    """Share of refusals among the answers to prompts of a skill: before any round, after the first, and so on."""
    from chatwright.train.constitutional.refusals import refuses

    with gzip.open(revisions / "rounds.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["skill"] == skill]
    answers = [[row["answer"], *(r["revision"] for r in row["rounds"])] for row in rows]
    return [sum(map(refuses, texts)) / len(texts) for texts in zip(*answers, strict=True)]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("workspaces", type=Path, nargs="+", help="what `constitution.py --out` left")
    options.add_argument("--out", type=Path, default=Path("docs/images"), help="folder the picture is written into")
    chosen = options.parse_args()

    from matplotlib.figure import Figure

    from chatwright.workspace import Workspace

    figure = Figure(figsize=(7.4, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    shares: dict[str, Any] = {}
    for folder in chosen.workspaces:
        known = {a.id: a for a in Workspace(folder).artefacts()}
        (tuned,) = [a for a in known.values() if "revisions" in a.manifest.parents]
        revisions = known[tuned.manifest.parents["revisions"]]
        after = {skill: refusals(revisions.path, skill) for skill in ("harmful", "lookalike")}
        shares[str(tuned.manifest.seed)] = {skill: [round(v, 4) for v in values] for skill, values in after.items()}
        first = not left.lines
        left.plot(after["harmful"], "o-", color=HARMFUL, ms=4, label="requests to refuse" if first else None)
        left.plot(after["lookalike"], "o-", color=LOOKALIKE, ms=4, label="harmless look-alikes" if first else None)
        curve = tuned.manifest.figures["curve"]
        right.plot([c["step"] for c in curve], [c["heldout_loss"] for c in curve], "o-", color=SFT, ms=4)
    left.set_title("share of answers that refuse", fontsize=8)
    left.set_xlabel("rounds of critique and revision", fontsize=8)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(fontsize=8)
    right.set_title("held-out loss while revisions are learned", fontsize=8)
    right.set_xlabel("step", fontsize=8)
    for axes in (left, right):
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    chosen.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.out / "method-constitution.png", dpi=90)
    report("constitution_curves", refused_after_rounds=shares)


if __name__ == "__main__":
    main()
