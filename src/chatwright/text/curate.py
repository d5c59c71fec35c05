"""The curation stage: documents in; documents worth learning from out, and every other one by name with its reason.

In order: normalise, quality rules, exact duplicates, near duplicates, masking of personal data, hold-out split. The
folder holds `documents.jsonl.gz` (to learn from), `holdout.jsonl.gz` (to measure on) and `dropped.jsonl.gz`
(`{"id", "reason", "detail"}` per dropped document; the detail of a duplicate is the id of the one that stayed).
The texts are held in memory from the first rule to the last file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatwright.config import TextConfig
from chatwright.errors import InputError
from chatwright.files import Problems, data_files, read_records, write_jsonl
from chatwright.progress import Progress, Stage
from chatwright.records import Document, content_id
from chatwright.text import pii
from chatwright.text.dedup import NearDuplicates, fingerprint
from chatwright.text.normalise import normalise
from chatwright.text.quality import judge
from chatwright.workspace import Artefact, file_hash, find_artefact, finish

DOCUMENTS, HOLDOUT, DROPPED = "documents.jsonl.gz", "holdout.jsonl.gz", "dropped.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that was left out, and why."""

    id: str
    reason: str
    detail: str

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "reason": self.reason, "detail": self.detail}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Dropped:
        return Dropped(str(row["id"]), str(row["reason"]), str(row["detail"]))


def run(
    config: TextConfig,
    inputs: Iterable[Document] | Sequence[Path | str],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: Mapping[str, str] | None = None,
    name: str = "corpus",
    source: str = "human",
) -> Artefact:
    """Curates `inputs` (files and folders, or documents) into `out`; a finished `out` is returned as it is.

    Equal inputs give equal bytes. `parents` names what the documents came from; for files it defaults to
    `inputs_id`. Raises InputError where nothing is left.
    """
    if (finished := find_artefact(out)) is not None:
        return finished
    problems = Problems()
    listed = list(inputs)
    paths = [item for item in listed if not isinstance(item, Document)]
    documents = [item for item in listed if isinstance(item, Document)]
    if paths:
        documents += read_records(paths, Document.from_json, problems)
        parents = {"files": inputs_id(paths)} if parents is None else parents
    if not documents:
        raise InputError(f"there is no document in {', '.join(map(str, paths)) or 'the input'}{_first(problems)}")
    with progress.stage("curate", total=len(documents)) as stage:
        kept, dropped = curate(documents, config, stage)
        if not kept:
            why = ", ".join(f"{reason} {count}" for reason, count in Counter(d.reason for d in dropped).most_common(3))
            raise InputError(f"curation left none of {len(documents)} documents ({why}); ease the rules of [text]")
        masks: Counter[str] = Counter()
        if config.mask_pii:
            for index, document in enumerate(kept):
                text, found = pii.mask(document.text)
                masks += found
                kept[index] = replace(document, text=text)
        held_out = [document for document in kept if in_holdout(document.id, config.holdout_fraction, seed)]
        learned = [document for document in kept if not in_holdout(document.id, config.holdout_fraction, seed)]
        write_jsonl(out / DOCUMENTS, (document.to_json() for document in learned))
        write_jsonl(out / HOLDOUT, (document.to_json() for document in held_out))
        write_jsonl(out / DROPPED, (document.to_json() for document in dropped))
        if problems.count:
            stage.warn(f"{problems.count} rows could not be read{_first(problems)}")
    figures = {
        "read": len(documents),
        "kept": len(learned),
        "holdout": len(held_out),
        "dropped": len(dropped),
        "reasons": dict(sorted(Counter(d.reason for d in dropped).items())),
        "masked": dict(sorted(masks.items())),
        "bytes": sum(len(document.text.encode()) for document in learned),
        "problems": problems.count,
        "problem_examples": problems.examples,
    }
    return finish(
        out, kind="corpus", name=name, parents=parents or {}, config=config.model_dump(), seed=seed, figures=figures,
        source=source,
    )  # fmt: skip


def curate(
    documents: Sequence[Document], config: TextConfig, stage: Stage | None = None
) -> tuple[list[Document], list[Dropped]]:
    """The documents that stay, normalised, and those that do not; both in the order they came."""
    dropped: dict[int, Dropped] = {}
    texts: dict[int, str] = {}
    first_of: dict[bytes, int] = {}
    near = NearDuplicates(config.near_threshold)
    for index, document in enumerate(documents):
        text = normalise(document.text, config.normalise)
        if finding := judge(text, min_words=config.min_words, meta=document.meta, quality=config.quality):
            dropped[index] = Dropped(document.id, finding.rule, finding.detail)
        elif config.exact_dedup and (first := first_of.setdefault(fingerprint(text), index)) != index:
            dropped[index] = Dropped(document.id, "exact_duplicate", documents[first].id)
        else:
            texts[index] = text
            if config.near_dedup:
                near.add(text)
        if stage is not None:
            stage.advance(index + 1)
    order = list(texts)
    for duplicate in near.groups():
        index = order[duplicate.index]
        dropped[index] = Dropped(documents[index].id, "near_duplicate", documents[order[duplicate.first]].id)
        del texts[index]
    kept = [replace(documents[index], text=text) for index, text in texts.items()]
    return kept, [dropped[index] for index in sorted(dropped)]


def in_holdout(ident: str, fraction: float, seed: int) -> bool:
    """Whether a document is set apart: by a hash of its id and the seed, so that its neighbours do not matter."""
    digest = hashlib.blake2b(f"{seed}\x1f{ident}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def inputs_id(paths: Sequence[Path | str]) -> str:
    """The content id of raw files, whatever their folders are called: parent of a corpus made from them."""
    return f"files-{content_id([[path.name, file_hash(path)] for path in data_files(paths)], 12)}"


def read_documents(path: Path) -> list[Document]:
    """The documents of a file this stage wrote; raises InputError where it is damaged."""
    problems = Problems()
    documents = list(read_records([path], Document.from_json, problems))
    if problems.count:
        raise InputError(f"{path} is damaged{_first(problems)}")
    return documents


def _first(problems: Problems) -> str:
    return f" (the first: {problems.examples[0]})" if problems.examples else ""
