"""How well curation did on a corpus whose dirt was planted, so that the truth about every document is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chatwright.records import Document
from chatwright.text.curate import Dropped

DUPLICATES = ("exact_duplicate", "near_duplicate")
DIRT = (*DUPLICATES, "boilerplate", "gibberish")
"""Labels of documents that should be dropped; a document with `pii` should stay, masked."""


@dataclass(frozen=True, slots=True)
class CurationScore:
    """Shares in [0, 1]; None where nothing of the kind was planted.

    `recall` per label of dirt; `precision` is the share of dropped documents that were dirt; `pii_recall` the share of
    planted strings that no kept text holds; `clean_lost` the share of documents without dirt that were dropped, `lost`
    the first of them with the rule that did it.
    """

    recall: dict[str, float | None]
    precision: float | None
    pii_recall: float | None
    clean_lost: float | None
    planted: dict[str, int]
    lost: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def score(
    dropped: Iterable[Dropped],
    kept: Iterable[Document],
    truth: Mapping[str, Iterable[str]],
    *,
    original: Mapping[str, str] | None = None,
    planted_pii: Mapping[str, Iterable[str]] | None = None,
    examples: int = 20,
) -> CurationScore:
    """Compares curation with `truth`, the labels of each document by id (none or a missing id: clean).

    `original` names the document a planted duplicate was made from: dropping either of the two counts as finding it,
    since one remains, and the original dropped in its copy's stead is not a clean document lost. `planted_pii` holds
    the strings planted in each document; one in a dropped document counts as gone.
    """
    out = {row.id: row for row in dropped}
    labels = {ident: set(names) for ident, names in truth.items()}
    originals = dict(original or {})
    found: dict[str, list[bool]] = {label: [] for label in DIRT}
    missed: list[str] = []
    for ident, names in labels.items():
        for label in names & set(DIRT):
            hit = ident in out or (label in DUPLICATES and originals.get(ident) in out)
            found[label].append(hit)
            if not hit:
                missed.append(f"{ident}: {label}")
    texts = {document.id: document.text for document in kept}
    strings = [(ident, string) for ident, planted in (planted_pii or {}).items() for string in planted]
    leaked = [(ident, string) for ident, string in strings if string in texts.get(ident, "")]
    missed += [f"{ident}: pii {string!r}" for ident, string in leaked]

    excused = {originals[ident] for ident, names in labels.items() if names & set(DUPLICATES) and ident in originals}
    everything = texts.keys() | out.keys()
    clean = {ident for ident in everything if not labels.get(ident, set()) & set(DIRT)}
    lost = [
        row for row in out.values() if row.id in clean and not (row.reason in DUPLICATES and row.id in excused)
    ]  # fmt: skip
    return CurationScore(
        recall={label: _share(sum(hits), len(hits)) for label, hits in found.items()},
        precision=_share(len(out) - len(lost), len(out)),
        pii_recall=_share(len(strings) - len(leaked), len(strings)),
        clean_lost=_share(len(lost), len(clean)),
        planted={**{label: len(hits) for label, hits in found.items()}, "pii": len(strings)},
        lost=tuple(f"{row.id}: {row.reason} ({row.detail})" for row in lost[:examples]),
        missed=tuple(missed[:examples]),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
