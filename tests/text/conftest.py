"""Real text, where the development data lie beside the checkout; without them the tests that need it are skipped."""

import csv
import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def rows(path: str, limit: int | None = None) -> list[dict[str, Any]]:
    file = DATA / path
    if not file.exists():
        pytest.skip(f"the development data are absent ({path})")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, limit)]


@pytest.fixture(scope="session")
def wiki() -> list[str]:
    """1,000 encyclopaedia articles."""
    return [row["text"] for row in rows("text/wiki_en/AB.jsonl.gz", 1_000)]


@pytest.fixture(scope="session")
def presidio() -> list[dict[str, Any]]:
    """Sentences with synthetic personal data and their spans."""
    return rows("safety/presidio_pii.jsonl.gz")


@pytest.fixture(scope="session")
def translations() -> dict[str, list[tuple[str, str]]]:
    """By language: (document, sentence) of the same news texts."""
    file = DATA / "text" / "ntrex_10.tsv.gz"
    if not file.exists():
        pytest.skip("the development data are absent (text/ntrex_10.tsv.gz)")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        head, *body = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return {language: [(row[1], row[column]) for row in body] for column, language in enumerate(head) if column >= 2}
