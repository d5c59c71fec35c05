"""Artefacts, their ids, and the lock on a workspace."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatwright.errors import InputError, WorkspaceError
from chatwright.files import write_text
from chatwright.workspace import Artefact, Workspace, find_artefact, finish, load_artefact, stage_key


def make(out: Path, *, name: str = "corpus", text: str = "content", seed: int = 1, **figures: float) -> Artefact:
    write_text(out / "data.txt", text)
    return finish(
        out, kind="corpus", name=name, parents={"files": "files-1"}, config={"a": 1}, seed=seed, figures=figures
    )


def test_id_follows_content_not_figures_name_or_place(tmp_path: Path) -> None:
    one = make(tmp_path / "one", loss=1.0)
    assert make(tmp_path / "two", name="other", loss=2.0).id == one.id
    assert make(tmp_path / "three", text="changed").id != one.id
    assert make(tmp_path / "four", seed=2).id != one.id
    assert load_artefact(tmp_path / "one") == one


def test_state_and_leftovers_are_no_part_of_the_artefact(tmp_path: Path) -> None:
    clean = make(tmp_path / "clean")
    out = tmp_path / "resumed"
    write_text(out / "state" / "step-4.bin", "half way")
    write_text(out / ".data.txt.abc.tmp", "left by a kill")
    resumed = make(out)
    assert resumed.id == clean.id
    assert resumed.manifest.files.keys() == {"data.txt"}
    assert not (out / "state").exists()


def test_key_is_known_before_the_work_and_kept_in_the_manifest(tmp_path: Path) -> None:
    key = stage_key("corpus", {"a": 1}, {"files": "files-1"}, 1)
    assert make(tmp_path / "one").manifest.key == key
    assert stage_key("corpus", {"a": 2}, {"files": "files-1"}, 1) != key


def test_unfinished_folder_is_no_artefact(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    assert find_artefact(tmp_path / "half") is None
    with pytest.raises(InputError, match="has not finished"):
        load_artefact(tmp_path / "half")


@pytest.mark.parametrize("content", [b"{broken", b"[1]", b'{"id": "x"}', b'{"surprise": 1}', b"\xff\xfe\x00", b""])
def test_damaged_manifest_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json cannot be read") as caught:
        load_artefact(tmp_path)
    assert "\n" not in str(caught.value)


def test_file_in_place_of_an_artefact_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("")
    with pytest.raises(InputError, match=r"model\.bin"):
        load_artefact(tmp_path / "model.bin")


HOLDER = """
import sys
from chatwright.workspace import Workspace
with Workspace(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in `tmp_path` until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_told_and_may_still_read(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    make(tmp_path / "artefacts" / "corpus-1")
    with pytest.raises(WorkspaceError, match="another process works in the workspace"), Workspace(tmp_path):
        pass
    assert len(Workspace(tmp_path).artefacts()) == 1


def test_killed_process_leaves_no_lock_behind(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with Workspace(tmp_path) as workspace:
        assert workspace.artefacts() == []


def test_workspace_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"), Workspace(tmp_path / "file" / "workspace"):
        pass


def test_find_by_id_name_and_beginning(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    one = make(workspace.folder("corpus", "1"), name="mine", text="one")
    two = make(workspace.folder("corpus", "2"), name="yours", text="two")
    assert workspace.find(one.id).id == one.id
    assert workspace.find("yours").id == two.id
    assert workspace.find(two.id[:12]).id == two.id
    with pytest.raises(InputError, match="write more of the id"):
        workspace.find("corpus-")
    with pytest.raises(InputError, match="has no artefact 'nothing'"):
        workspace.find("nothing")


def test_newest_of_a_name_wins(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for number, created in enumerate(("2026-01-02", "2026-01-03", "2026-01-01")):
        artefact = make(workspace.folder("corpus", str(number)), name="mine", text=created)
        manifest = artefact.path / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "created": created}))
    assert workspace.find("mine").manifest.created == "2026-01-03"
    assert [a.manifest.created for a in workspace.artefacts()] == ["2026-01-01", "2026-01-02", "2026-01-03"]
