"""The command line in this process, and a workspace with a tiny model of each kind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one sentence on standard error; fails where there is anything but that sentence and progress bars."""
        assert self.code == 2, (self.code, self.out, self.err)
        lines = [line for line in self.err.splitlines() if line.startswith("chatwright: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert self.out == ""
        assert self.err.rstrip().endswith(lines[0])  # nothing goes on behind it
        return lines[0].removeprefix("chatwright: ")

    @property
    def result(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out.splitlines()[-1])


Command = Callable[..., Outcome]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`chatwright ARGUMENTS...` on the tiny preset."""
    from chatwright.cli.main import main

    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["chatwright", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(bool(error.code))
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Holds `base`, `sft` and `reward` artefacts, none of which was trained."""
    from tests.model.small import tiny_tokenizer, write_model

    from chatwright.model.checkpoint import save_tokenizer
    from chatwright.train.scoring import from_decoder, save_scoring
    from chatwright.workspace import finish

    root = tmp_path / "workspace"
    for kind, name in (("pretrain", "base"), ("sft", "sft"), ("reward", "reward"), ("tokenizer", "tokenizer")):
        folder = root / "artefacts" / f"{kind}-made"
        if kind == "reward":
            model = from_decoder(root / "artefacts" / "sft-made", 1)
            save_scoring(folder, root / "artefacts" / "sft-made", dict(model.named_parameters()), 0.0, 1.0)
        elif kind == "tokenizer":
            save_tokenizer(folder, tiny_tokenizer(), 64)
        else:
            write_model(folder, seed=4, family="qwen3", qk_norm=True)
        finish(folder, kind=kind, name=name, parents={}, config={}, seed=1, figures={})
    return root


def write_rows(path: Path, rows: list[Any]) -> Path:
    """JSON lines; a string stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
