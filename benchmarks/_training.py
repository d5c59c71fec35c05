"""Training the benchmarks' 5.5-million-parameter Llama, step by step: ours, and the transformers Trainer's.

The same shape, the same rows of random tokens, 16 x 256 a step. Called as a program it is a worker (see `_common`):
`python benchmarks/_training.py ours|transformers-fp32|transformers-bf16`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from _common import obey

VOCAB, WIDTH, LAYERS, HEADS, MLP = 4096, 256, 6, 4, 640
ROWS, TOKENS = 16, 256
DOCUMENT = 400
"""Tokens of a document in our packed rows: attention is masked between documents, as it is in earnest."""


class Documents:
    """A corpus of random tokens."""

    def __init__(self, count: int = 2_000) -> None:
        rng = np.random.default_rng(1)
        self.lengths = rng.integers(DOCUMENT // 4, 2 * DOCUMENT, count)
        self._ends = self.lengths.cumsum()
        self._tokens = rng.integers(0, VOCAB, int(self._ends[-1]))

    def doc(self, index: int) -> np.ndarray:
        return self._tokens[self._ends[index] - self.lengths[index] : self._ends[index]]

    def bytes(self, index: int) -> int:
        return int(self.lengths[index])


def ours(threads: int, workspace: Path | None) -> None:
    """The steps of `chatwright pretrain`; with a workspace, their events too, for a page to show."""
    from chatwright.config import ModelConfig, PretrainConfig
    from chatwright.machine import compute_dtype, use_threads
    from chatwright.model.decoder import Decoder, initialise
    from chatwright.model.measure import language_loss
    from chatwright.progress import Progress
    from chatwright.train.loop import Trainer
    from chatwright.train.pretrain import StreamRows, new_shape, stream_batch

    used = use_threads(threads)
    model = ModelConfig(layers=LAYERS, width=WIDTH, heads=HEADS, kv_heads=HEADS, mlp_width=MLP, context=TOKENS,
                        qk_norm=False, tie_embeddings=True)  # fmt: skip
    shape = new_shape(model, VOCAB)
    trainer = Trainer(initialise(Decoder(shape), 1), PretrainConfig())
    rows, loss = StreamRows(Documents(), TOKENS, 1), language_loss(compute_dtype("auto", "cpu"))
    progress = Progress(workspace)
    progress.emit("build", "plan", stages=[{"name": "pretrain", "title": "Pretraining", "about": "", "seconds": 600}])

    with progress.stage("pretrain", 1_000_000) as stage:

        def step() -> None:
            at = trainer.step_number * ROWS
            batch = stream_batch([rows.row(i) for i in range(at, at + ROWS)])
            said = trainer.step([batch], loss, float(batch.weights.sum()), 0.5)
            stage.advance(trainer.step_number, loss=said.loss, tokens_per_second=0.0)

        def block(order: dict[str, Any]) -> dict[str, Any]:
            taken: list[float] = []
            started = time.perf_counter()
            while len(taken) < order.get("steps", 1) or time.perf_counter() - started < order.get("seconds", 0):
                begun = time.perf_counter()
                step()
                taken.append(time.perf_counter() - begun)
            return {"seconds": taken}

        obey({"parameters": shape.parameters, "precision": str(compute_dtype("auto", "cpu")).removeprefix("torch."),
              "threads": used}, block)  # fmt: skip


def theirs(bf16: bool) -> None:
    """The transformers Trainer with fused AdamW; blocks are measured between two `on_step_end` events."""
    import torch
    import transformers
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=MLP, max_position_embeddings=TOKENS, tie_word_embeddings=True,
        use_cache=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    tokens = torch.from_numpy(np.random.default_rng(1).integers(0, VOCAB, (4_096, TOKENS)))

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(tokens)

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"input_ids": tokens[index], "labels": tokens[index]}

    answers = sys.stdout
    sys.stdout = sys.stderr  # the Trainer prints

    def orders() -> Iterator[int]:
        print(json.dumps({"parameters": model.num_parameters(), "transformers": transformers.__version__,
                          "precision": "bfloat16 autocast" if bf16 else "float32",
                          "threads": torch.get_num_threads()}), file=answers, flush=True)  # fmt: skip
        for line in sys.stdin:
            yield json.loads(line)["steps"]

    class Blocks(TrainerCallback):
        def __init__(self) -> None:
            self.orders, self.left, self.taken = orders(), 0, []

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.left == 0:
                self.left, self.taken = next(self.orders, 0), []
                if self.left == 0:
                    os._exit(0)
                self.since = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.perf_counter()
            self.taken.append(now - self.since)
            self.since = now
            self.left -= 1
            if self.left == 0:
                print(json.dumps({"seconds": self.taken}), file=answers, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=ROWS, max_steps=1_000_000, optim="adamw_torch_fused",
            learning_rate=1e-3, bf16=bf16, report_to="none", save_strategy="no", logging_steps=1_000_000,
            disable_tqdm=True, use_cpu=True, dataloader_num_workers=0,
        )  # fmt: skip
        Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[Blocks()]).train()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("who", choices=["ours", "transformers-fp32", "transformers-bf16"])
    options.add_argument("--threads", type=int, default=0)
    options.add_argument(
        "--wait", choices=["ours", "passive", "default"], default="ours",
        help="how threads wait: as Chatwright has it, asleep at once, or as OpenMP has it",
    )  # fmt: skip
    options.add_argument("--workspace", type=Path)
    chosen = options.parse_args()
    if chosen.who != "ours":
        theirs(chosen.who == "transformers-bf16")
        return
    from chatwright.machine import prepare_process

    prepare_process()
    if chosen.wait != "ours":
        os.environ.pop("GOMP_SPINCOUNT", None)
    if chosen.wait == "default":
        os.environ.pop("OMP_WAIT_POLICY", None)
    ours(chosen.threads, chosen.workspace)


if __name__ == "__main__":
    main()
