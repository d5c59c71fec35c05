"""The same stages from Python: text in, a base model and a fine-tuned one out, and an answer from it.

Run it as `python examples/from_python.py`; it takes a few seconds with the tiny preset and leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from chatwright.machine import prepare_process

prepare_process()  # before torch is imported: how threads wait, how memory is kept

from chatwright.config import load_settings  # noqa: E402
from chatwright.cycle import run as stages  # noqa: E402
from chatwright.engine import Engine, SamplingParams, answer  # noqa: E402
from chatwright.progress import Progress  # noqa: E402
from chatwright.records import Demonstration, Message  # noqa: E402
from chatwright.text import inputs_id  # noqa: E402
from chatwright.workspace import Workspace  # noqa: E402

ROWS = Path(__file__).parent / "rows"


def main() -> None:
    settings = load_settings("tiny", overrides=["text.holdout_fraction=0.3"])
    with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder)) as workspace:
        run = stages.Run(settings, workspace, Progress())
        corpus = stages.corpus(run, [ROWS / "documents.jsonl"])
        tokenizer = stages.tokenizer(run, corpus)
        base = stages.base(run, tokenizer, stages.tokens(run, corpus, tokenizer))
        print(f"{base.id}: {base.manifest.figures['bits_per_byte']:.2f} bits per byte")

        file = ROWS / "demonstrations.jsonl"
        rows = stages.read_all([file], Demonstration.from_json)
        tuned = stages.fine_tuned(run, base, rows, {"files": inputs_id([file])})
        print(f"{tuned.id}: made from {', '.join(tuned.manifest.parents.values())}")

        engine = Engine.load(tuned.path, max_batch=1)
        sampling = SamplingParams(max_tokens=12, temperature=0.7)
        (said,) = answer(engine, [(Message("user", "What turns the mill?"),)], sampling, seed=1)
        print(f"it says: {said.text!r}")


if __name__ == "__main__":
    main()
