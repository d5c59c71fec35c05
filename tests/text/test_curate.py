"""The stage: what it writes, that it repeats itself, and how it is scored."""

import gzip
import json
import random
from pathlib import Path

import pytest

from chatwright.config import TextConfig
from chatwright.errors import InputError
from chatwright.progress import Progress
from chatwright.records import Document
from chatwright.text import DOCUMENTS, DROPPED, HOLDOUT, Dropped, curate, inputs_id, read_documents, run, score

NOUNS = [
    "heron",
    "pond",
    "boat",
    "river",
    "garden",
    "letter",
    "window",
    "teacher",
    "winter",
    "market",
    "bread",
    "stone",
    "tree",
    "lamp",
    "bridge",
    "island",
]
VERBS = [
    "finds",
    "keeps",
    "watches",
    "paints",
    "carries",
    "sells",
    "remembers",
    "opens",
    "follows",
    "leaves",
    "washes",
    "mends",
]


def sentence(generator: random.Random) -> str:
    one, two, three = generator.sample(NOUNS, 3)
    return (
        f"The {one} {generator.choice(VERBS)} the {two} that stands near a {three} number {generator.randrange(999)}."
    )


def prose(seed: int, sentences: int = 6) -> str:
    generator = random.Random(seed)
    return " ".join(sentence(generator) for _ in range(sentences))


CLEAN = [Document(f"clean-{n}", prose(n), {"origin": "test"}) for n in range(200)]
DIRTY = [
    Document("exact", prose(0).upper()),
    Document("near", prose(1) + " And so it ends."),
    Document("boilerplate", "We use cookies to improve your experience. Please enable JavaScript to go on."),
    Document("gibberish", "xqzt kjwv plmr gfhd bnvc wqtz rtpl kjhg mnbv zxcq wrtp lkjh dfgq"),
    Document("pii", prose(900) + " Write to ana@example.org or call (415) 555-2671."),
]
TRUTH = {"exact": ["exact_duplicate"], "near": ["near_duplicate"], "boilerplate": ["boilerplate"],
         "gibberish": ["gibberish"], "pii": ["pii"]}  # fmt: skip
ORIGINAL = {"exact": "clean-0", "near": "clean-1"}
PLANTED = {"pii": ["ana@example.org", "(415) 555-2671"]}
CONFIG = TextConfig(holdout_fraction=0.1)


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.open(path, "rt")]


def test_every_document_is_kept_held_out_or_named_with_its_reason(tmp_path: Path) -> None:
    artefact = run(CONFIG, CLEAN + DIRTY, tmp_path / "corpus", Progress(), seed=1)
    kept, held_out = (read_documents(artefact.path / name) for name in (DOCUMENTS, HOLDOUT))
    dropped = [Dropped.from_json(row) for row in read(artefact.path / DROPPED)]
    everything = [document.id for document in kept + held_out] + [row.id for row in dropped]
    assert sorted(everything) == sorted(document.id for document in CLEAN + DIRTY)
    assert {row.id: (row.reason, row.detail) for row in dropped if "duplicate" in row.reason} == {
        "exact": ("exact_duplicate", "clean-0"),
        "near": ("near_duplicate", "clean-1"),
    }
    assert {row.id: row.reason for row in dropped} | {"exact": "", "near": ""} == {
        "exact": "", "near": "", "boilerplate": "boilerplate", "gibberish": "gibberish",
    }  # fmt: skip
    masked = next(document for document in kept + held_out if document.id == "pii")
    assert masked.text.endswith("Write to [EMAIL] or call [PHONE].")
    figures = artefact.manifest.figures
    assert (figures["read"], figures["dropped"]) == (205, 4)
    assert figures["kept"] == len(kept)
    assert figures["holdout"] == len(held_out)
    assert figures["masked"] == {"EMAIL": 1, "PHONE": 1}
    assert figures["reasons"] == {"boilerplate": 1, "exact_duplicate": 1, "gibberish": 1, "near_duplicate": 1}


def test_equal_inputs_give_equal_bytes_and_the_seed_moves_the_holdout(tmp_path: Path) -> None:
    one, two, other = (
        run(CONFIG, CLEAN + DIRTY, tmp_path / name, Progress(), seed=seed)
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one.id == two.id
    assert one.manifest.files == two.manifest.files
    assert one.manifest.files[HOLDOUT] != other.manifest.files[HOLDOUT]
    assert one.manifest.files[DROPPED] == other.manifest.files[DROPPED]


def test_finished_folder_is_returned_and_unfinished_one_done_again(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    first = run(CONFIG, CLEAN, out, Progress(), seed=1)
    assert run(CONFIG, [], out, Progress(), seed=1).id == first.id
    (out / "manifest.json").unlink()
    (out / DOCUMENTS).write_bytes(b"half")
    (out / f".{DOCUMENTS}.abc.tmp").write_bytes(b"left by a kill")
    assert run(CONFIG, CLEAN, out, Progress(), seed=1).id == first.id


def test_files_are_read_with_broken_rows_named_and_counted(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [json.dumps(document.to_json()) for document in CLEAN[:5]]
    (raw / "a.jsonl").write_text("\n".join([rows[0], "{broken", *rows[1:3], '{"title": "no text"}', *rows[3:]]))
    (raw / "b.txt").write_text(prose(77))
    artefact = run(CONFIG, [raw], tmp_path / "corpus", Progress(tmp_path), seed=1)
    figures = artefact.manifest.figures
    assert (figures["read"], figures["problems"]) == (6, 2)
    assert [example.split(":")[1] for example in figures["problem_examples"]] == ["2", "5"]
    assert artefact.manifest.parents == {"files": inputs_id([raw])}
    assert "2 rows could not be read" in (tmp_path / "events.jsonl").read_text()


@pytest.mark.parametrize(
    ("documents", "message"),
    [([], "there is no document"), ([Document("a", "too short")], r"left none of 1 documents \(too_short 1\)")],
)
def test_nothing_left_is_an_input_error(documents: list[Document], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(CONFIG, documents, tmp_path / "corpus", Progress(), seed=1)
    assert not (tmp_path / "corpus" / "manifest.json").exists()


def test_switched_off_steps_leave_the_text_alone() -> None:
    off = TextConfig(quality=False, min_words=0, exact_dedup=False, near_dedup=False)
    kept, dropped = curate(CLEAN + DIRTY, off)
    assert [document.text for document in kept] == [document.text for document in CLEAN + DIRTY]
    assert dropped == []


def test_holdout_does_not_depend_on_the_neighbours(tmp_path: Path) -> None:
    everything = run(CONFIG, CLEAN, tmp_path / "all", Progress(), seed=1)
    half = run(CONFIG, CLEAN[::2], tmp_path / "half", Progress(), seed=1)
    ids = {d.id for d in read_documents(everything.path / HOLDOUT)}
    assert {d.id for d in read_documents(half.path / HOLDOUT)} == ids & {d.id for d in CLEAN[::2]}
    assert 0.03 < len(ids) / len(CLEAN) < 0.2


def test_score_of_a_perfect_curation(tmp_path: Path) -> None:
    artefact = run(CONFIG, CLEAN + DIRTY, tmp_path / "corpus", Progress(), seed=1)
    kept = [d for name in (DOCUMENTS, HOLDOUT) for d in read_documents(artefact.path / name)]
    dropped = [Dropped.from_json(row) for row in read(artefact.path / DROPPED)]
    result = score(dropped, kept, TRUTH, original=ORIGINAL, planted_pii=PLANTED)
    assert set(result.recall.values()) == {1.0}
    assert (result.precision, result.pii_recall, result.clean_lost) == (1.0, 1.0, 0.0)
    assert result.planted["pii"] == 2
    assert result.missed == result.lost == ()


def test_score_counts_misses_losses_and_originals() -> None:
    kept = [Document("near", "a"), Document("exact", "b"), Document("pii", "ana@example.org"), Document("clean-1", "c")]
    dropped = [
        Dropped("clean-0", "exact_duplicate", "exact"),  # the original went, its copy stayed: found, nothing lost
        Dropped("clean-2", "layout", "menu"),
        Dropped("gibberish", "gibberish", ""),
    ]
    truth = {"near": ["near_duplicate"], "exact": ["exact_duplicate"], "gibberish": ["gibberish"], "pii": ["pii"]}
    result = score(dropped, kept, truth, original=ORIGINAL, planted_pii=PLANTED)
    assert result.recall == {"exact_duplicate": 1.0, "near_duplicate": 0.0, "gibberish": 1.0, "boilerplate": None}
    assert result.pii_recall == 0.5
    assert result.clean_lost == pytest.approx(1 / 4)  # clean-2 of clean-0, clean-1, clean-2 and pii
    assert result.precision == pytest.approx(2 / 3)
    assert result.lost == ("clean-2: layout (menu)",)
    assert set(result.missed) == {"near: near_duplicate", "pii: pii 'ana@example.org'"}
