"""Rows that people bring, and writes that are whole or absent."""

import gzip
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.errors import InputError
from chatwright.files import Problems, data_files, iter_rows, read_records, write_json, write_jsonl, write_text
from chatwright.records import Comparison, Demonstration, Document


def read(*paths: Path) -> tuple[list[dict[str, object]], Problems]:
    problems = Problems()
    return [row for _, row in iter_rows(paths, problems)], problems


@pytest.mark.parametrize("name", ["empty", "missing", "picture.png", "sub/table.csv"])
def test_unusable_path_is_one_sentence_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "sub" / "table.csv").write_text("a,b")
    with pytest.raises(InputError) as caught:
        data_files([tmp_path / name])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"\x7fELF\x00\x01\x02"),
        ("a.txt", b"caf\xe9 latin-1"),
        ("a.jsonl", b"\x7fELF\x00\x01\x02\n" * 50),
        ("a.jsonl", '{"text": "utf-16"}'.encode("utf-16")),
        ("a.jsonl.gz", b"no gzip at all"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "cut"}\n' * 1000, mtime=0)[:-20]),
        ("a.jsonl.gz", gzip.compress(bytes(5000), mtime=0)[:20] + random.Random(0).randbytes(4000)),
        ("a.parquet", b"PAR1 and not much more"),
        ("a.parquet", b""),
    ],
)
def test_binary_or_damaged_file_is_an_input_error(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cut_parquet_file_is_an_input_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a" * 1000] * 100}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    garbage = b"\xff" * 22
    for cut in (whole[: len(whole) // 2], whole[:4] + garbage + whole[26:], whole[:-30] + garbage + whole[-8:]):
        (tmp_path / "a.parquet").write_bytes(cut)
        with pytest.raises(InputError, match=r"a\.parquet"):
            read(tmp_path / "a.parquet")


def test_broken_lines_are_named_and_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    deep = "[" * 100_000
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"n": 1}\n{broken\n\n[1, 2]\n{"n": 2}\n' + deep.encode() + b'\n{"n": "\xff"}\n{"n": 3}')
    rows, problems = read(file)
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert problems.count == 4
    assert [example.split(": ")[0] for example in problems.examples] == [f"{file}:{line}" for line in (2, 4, 6, 7)]


def test_only_the_first_problems_are_kept_by_name(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{broken\n" * 100)
    _, problems = read(tmp_path / "rows.jsonl")
    assert (problems.count, len(problems.examples)) == (100, 20)


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "één"}, {"id": "b", "text": "two\nlines"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "1.jsonl").write_text(lines)
    (tmp_path / "2.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "3.parquet")
    (tmp_path / "4.txt").write_text("whole file")
    for name in ("1.jsonl", "2.jsonl.gz", "3.parquet"):
        assert read(tmp_path / name)[0] == rows
    assert len(read(tmp_path)[0]) == 7


def test_rows_that_a_record_refuses_are_named(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    robot = {"messages": [{"role": "robot", "content": "hi"}]}
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps(row) for row in (good, robot, good)))
    problems = Problems()
    found = list(read_records([tmp_path / "d.jsonl"], Demonstration.from_json, problems))
    assert len(found) == 2
    assert problems.examples == [
        f"{tmp_path / 'd.jsonl'}:2: the role 'robot' does not exist; use one of system, user, assistant, tool"
    ]


keys = st.text(st.characters(codec="utf-8"), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), json_values, max_size=3), max_size=5
    )
)
def test_rows_written_come_back(rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for name in ("rows.jsonl", "rows.jsonl.gz"):
        assert write_jsonl(folder / name, rows) == len(rows)
        assert read(folder / name) == (rows, Problems())


def test_equal_rows_give_equal_gzip_bytes(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl.gz", [{"n": 1}])
    write_jsonl(tmp_path / "b.jsonl.gz", [{"n": 1}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_jsonl(tmp_path / "a.json", [{"fine": 1}, {"not": object()}])
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


WRITER = """
import resource, sys
from pathlib import Path
from chatwright.errors import ChatwrightError
from chatwright.files import write_jsonl
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_jsonl(Path(sys.argv[1]), ({"text": "x" * 1000} for _ in range(1000)))
except ChatwrightError as error:
    print(error)
    raise SystemExit(2)
"""


def test_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path: Path) -> None:
    """The system refuses to let the file grow, as it does at a quota."""
    target = tmp_path / "rows.jsonl"
    write_text(target, '{"old": 1}\n')
    done = subprocess.run([sys.executable, "-c", WRITER, target], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert str(target) in done.stdout
    assert "free" in done.stdout
    assert target.read_text() == '{"old": 1}\n'
    assert list(tmp_path.iterdir()) == [target]


KILLED = """
import os, signal, sys
from pathlib import Path
from chatwright.files import write_jsonl
def rows():
    for number in range(10_000):
        yield {"text": "x" * 100}
        if number == 9_000:
            print("writing", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
write_jsonl(Path(sys.argv[1]), rows())
"""


def test_kill_during_a_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    write_text(target, '{"old": 1}\n')
    done = subprocess.run([sys.executable, "-c", KILLED, target], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "writing\n"
    assert target.read_text() == '{"old": 1}\n'
    assert read(tmp_path) == ([{"old": 1}], Problems()), "what the kill left is no data file"


def test_record_of_every_kind_can_stand_in_a_file(tmp_path: Path) -> None:
    document = Document("d", "text", {"origin": "test"})
    write_jsonl(tmp_path / "d.jsonl", [document.to_json()])
    assert list(read_records([tmp_path / "d.jsonl"], Document.from_json, Problems())) == [document]
    row = {"prompt": "hi", "responses": ["a", "b"], "ranking": [0, 5]}
    write_jsonl(tmp_path / "c.jsonl", [row])
    problems = Problems()
    assert list(read_records([tmp_path / "c.jsonl"], Comparison.from_json, problems)) == []
    assert problems.examples == [f"{tmp_path / 'c.jsonl'}:1: the ranking names responses [0, 5], but only 0 to 1 exist"]
