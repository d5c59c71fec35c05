"""Steps of SFT, reward model, DPO and PPO on the benchmarks' 5.5-million-parameter Llama: ours, and TRL's.

Called as a program it is a worker (see `_common`): `python benchmarks/_alignment.py PEER TASK FOLDER`. FOLDER holds the
models both read (see `make_models`); rows are random tokens of equal length, the same for both. TRL moves all weights
with AdamW, and so does the peer `ours`; `ours-muon` is Chatwright as it is by default.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from _common import obey

if TYPE_CHECKING:
    from chatwright.config import OptimConfig

VOCAB, WIDTH, LAYERS, HEADS, MLP = 4096, 256, 6, 4, 640
PROMPT, RESPONSE, BATCH = 16, 53, 64
"""PPO: tokens of a prompt, of an answer, answers in a batch."""
PAIRS, LENGTH = 16, 128
"""DPO and reward: pairs in a step, tokens of prompt and answer together; the first quarter is the prompt."""
ROWS, ROW = 16, 256
"""SFT: rows in a step, tokens in a row; documents are shorter than half a row, and ours are packed into half rows."""
PEERS = ("ours", "ours-muon", "trl-fp32", "trl-bf16", "trl-fp32-wrapped", "trl-bf16-wrapped")
"""Whose steps are timed; `wrapped` is SFT with TRL's other way of packing, which cuts documents at the ends of rows."""
TASKS = ("sft", "reward", "dpo", "ppo", "ppo4")


def units(task: str) -> int:
    """What a step counts: tokens, pairs or answers."""
    return {"sft": ROWS * ROW, "reward": PAIRS, "dpo": PAIRS}.get(task, BATCH)


def random_tokens(rows: int, length: int, seed: int) -> list[list[int]]:
    """Below the special tokens' ids nothing is drawn, so that no answer ends by chance."""
    return np.random.default_rng(seed).integers(300, VOCAB, (rows, length)).tolist()


def make_models(folder: Path) -> None:
    """A random policy and a random reward model over one tokenizer of 4,096 tokens, in `folder`."""
    import torch

    from chatwright import starter
    from chatwright.model.checkpoint import save_checkpoint
    from chatwright.model.decoder import Decoder, initialise
    from chatwright.model.shape import Shape
    from chatwright.model.tokenizer import Tokenizer
    from chatwright.train.scoring import from_decoder, save_scoring

    texts = [d.text for d in starter.corpus(1, 4_000).documents]
    tokenizer = Tokenizer.train(texts, VOCAB)
    (folder / "words.txt").write_text(" ".join(texts[:200]), "utf-8")
    shape = Shape(layers=LAYERS, width=WIDTH, heads=HEADS, kv_heads=HEADS, head_width=WIDTH // HEADS, mlp_width=MLP,
                  vocab_size=tokenizer.vocab_size, context=512, tie_embeddings=True)  # fmt: skip
    model = initialise(Decoder(shape), 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0.0, 0.02)
    save_checkpoint(folder / "policy", model, tokenizer)
    judge = from_decoder(folder / "policy", 1)
    save_scoring(folder / "judge", folder / "policy", dict(judge.named_parameters()), 0.0, 1.0)


# Ours.


def ours(task: str, folder: Path, matrices: Literal["muon", "adamw"]) -> None:
    from chatwright.config import OptimConfig
    from chatwright.machine import compute_dtype, use_threads

    threads = use_threads(0)
    precision = str(compute_dtype("auto", "cpu")).removeprefix("torch.")
    optim = OptimConfig(matrices=matrices, adam_lr=1e-5)
    make = {"sft": our_sft, "reward": our_reward, "dpo": our_dpo}.get(task, our_ppo)
    step = make(folder, optim, 4 if task == "ppo4" else 1)

    def block(order: dict[str, Any]) -> dict[str, Any]:
        taken = []
        for _ in range(order["steps"]):
            begun = time.perf_counter()
            step()
            taken.append(time.perf_counter() - begun)
        return {"seconds": taken, "memory": memory()}

    obey({"precision": precision, "threads": threads}, block)


def our_sft(folder: Path, optim: OptimConfig, _: int) -> Callable[[], None]:
    from chatwright.config import SftConfig
    from chatwright.machine import compute_dtype
    from chatwright.model.checkpoint import load_checkpoint
    from chatwright.model.measure import language_loss
    from chatwright.model.packing import Example
    from chatwright.train.distributed import World
    from chatwright.train.loop import Trainer
    from chatwright.train.mixture import packed_batches

    config = SftConfig(optim=optim, batch_tokens=ROWS * ROW, micro_tokens=ROWS * ROW)
    trainer = Trainer(load_checkpoint(folder / "policy").model, config)
    rng = np.random.default_rng(2)
    lengths = rng.integers(ROW // 8, ROW // 2, 4_000)
    examples = [Example(rng.integers(300, VOCAB, n).tolist(), [1.0] * int(n)) for n in lengths]
    batches = packed_batches([examples], [], ROW // 2, 2 * ROWS, 2 * ROWS, 1, World())[1]
    loss = language_loss(compute_dtype("auto", "cpu"))

    def step() -> None:
        made, weight = batches(trainer.step_number)
        trainer.step(made, loss, weight, 0.5)

    return step


def our_reward(folder: Path, optim: OptimConfig, _: int) -> Callable[[], None]:
    from chatwright.config import RewardConfig
    from chatwright.machine import compute_dtype
    from chatwright.train.loop import Trainer
    from chatwright.train.reward import Group, batch_groups, reward_loss
    from chatwright.train.scoring import load_scoring

    trainer = Trainer(load_scoring(folder / "judge").train(), RewardConfig(optim=optim))
    groups = [Group([*pair], [(0, 1)], [1.0], 1.0) for pair in pairs_of_rows()]
    loss = reward_loss(0.0, compute_dtype("auto", "cpu"))

    def step() -> None:
        at = trainer.step_number * PAIRS % len(groups)
        trainer.step([batch_groups(groups[at : at + PAIRS], LENGTH)], loss, float(PAIRS), 0.5)

    return step


def pairs_of_rows(count: int = 64 * PAIRS) -> Iterator[tuple[list[int], list[int]]]:
    prompts = random_tokens(count, LENGTH // 4, 3)
    better, worse = (random_tokens(count, LENGTH - LENGTH // 4, seed) for seed in (4, 5))
    for prompt, good, bad in zip(prompts, better, worse, strict=True):
        yield [*prompt, *good], [*prompt, *bad]


def our_dpo(folder: Path, optim: OptimConfig, _: int) -> Callable[[], None]:
    from chatwright.config import DpoConfig
    from chatwright.machine import compute_dtype
    from chatwright.model.checkpoint import load_checkpoint
    from chatwright.model.packing import Example
    from chatwright.train.dpo import Group, PreferenceSet, batch_groups, pair_loss, reference_logprobs
    from chatwright.train.loop import Trainer

    dtype = compute_dtype("auto", "cpu")
    model = load_checkpoint(folder / "policy").model
    mask = [0.0] * (LENGTH // 4) + [1.0] * (LENGTH - LENGTH // 4)
    answers = [Example(row, mask) for pair in pairs_of_rows() for row in pair]
    groups = [Group(2 * i, 2, [(0, 1, 1.0)], 1.0) for i in range(len(answers) // 2)]
    data = PreferenceSet(answers, groups, [])
    reference = reference_logprobs(model, answers, LENGTH, 8192, dtype, "cpu")
    config = DpoConfig(optim=optim)
    trainer, loss = Trainer(model, config), pair_loss(config, dtype)

    def step() -> None:
        at = trainer.step_number * PAIRS % len(groups)
        trainer.step([batch_groups(data, groups[at : at + PAIRS], reference, LENGTH)], loss, float(PAIRS), 0.5)

    return step


def our_ppo(folder: Path, optim: OptimConfig, epochs: int) -> Callable[[], None]:
    from chatwright.config import PpoConfig
    from chatwright.records import Message, Prompt
    from chatwright.train.distributed import World
    from chatwright.train.ppo import PpoRun

    config = PpoConfig(optim=optim, rollouts=BATCH, minibatches=1, epochs=epochs, max_tokens=RESPONSE, temperature=0.7,
                       ptx_coef=0.0)  # fmt: skip
    run = PpoRun(config, folder / "policy", folder / "judge", [Prompt((Message("user", "?"),))], 1, World())
    run.prompts = [tuple(row) for row in random_tokens(64 * BATCH, PROMPT, 6)]
    iteration = 0

    def step() -> None:
        nonlocal iteration
        run.iterate(iteration)
        iteration += 1

    return step


# TRL's.


def trls(task: str, folder: Path, peer: str) -> None:
    import torch
    import trl
    from transformers import TrainerCallback

    bf16, answers = "bf16" in peer, sys.stdout
    sys.stdout = sys.stderr  # trainers print

    def orders() -> Iterator[int]:
        ready = {"trl": trl.__version__, "precision": "bfloat16 autocast" if bf16 else "float32",
                 "threads": torch.get_num_threads()}  # fmt: skip
        print(json.dumps(ready), file=answers, flush=True)
        for line in sys.stdin:
            yield json.loads(line)["steps"]

    class Blocks(TrainerCallback):
        """Waits for an order at the end of a block; a step is the time between two ends."""

        def __init__(self) -> None:
            self.orders, self.left, self.taken, self.since = orders(), 0, [], 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._next()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.perf_counter()
            self.taken.append(now - self.since)
            self.since = now
            self.left -= 1
            if self.left == 0:
                print(json.dumps({"seconds": self.taken, "memory": memory()}), file=answers, flush=True)
                self._next()

        def _next(self) -> None:
            self.left, self.taken = next(self.orders, 0), []
            if self.left == 0:
                os._exit(0)
            self.since = time.perf_counter()

    with tempfile.TemporaryDirectory() as out:
        shared: dict[str, Any] = {
            "output_dir": out, "bf16": bf16, "report_to": "none", "save_strategy": "no", "use_cpu": True,
            "disable_tqdm": True, "logging_steps": 1_000_000, "learning_rate": 1e-5,
        }  # fmt: skip
        make = {"sft": trl_sft, "reward": trl_reward, "dpo": trl_dpo}.get(task, trl_ppo)
        trainer = make(folder, shared, _way(task, peer))
        trainer.add_callback(Blocks())
        trainer.train()


def _way(task: str, peer: str) -> Any:
    """The one choice a task leaves: how SFT packs, how many epochs PPO makes."""
    if task == "sft":
        return "wrapped" if peer.endswith("wrapped") else "bfd"
    return 4 if task == "ppo4" else 1


def trl_sft(folder: Path, shared: dict[str, Any], packing: str) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rng = np.random.default_rng(2)
    rows = [{"input_ids": rng.integers(300, VOCAB, n).tolist()} for n in rng.integers(ROW // 8, ROW // 2, 4_000)]
    config = SFTConfig(**shared, packing=True, packing_strategy=packing, max_length=ROW,
                       per_device_train_batch_size=ROWS, max_steps=1_000_000)  # fmt: skip
    return SFTTrainer(AutoModelForCausalLM.from_pretrained(folder / "policy"), config,
                      train_dataset=Dataset.from_list(rows),
                      processing_class=AutoTokenizer.from_pretrained(folder / "policy"))  # fmt: skip


def trl_reward(folder: Path, shared: dict[str, Any], _: Any) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    rows = [{"chosen_ids": good, "rejected_ids": bad} for good, bad in pairs_of_rows()]
    config = RewardConfig(**shared, max_length=LENGTH, per_device_train_batch_size=PAIRS, max_steps=1_000_000)
    return RewardTrainer(AutoModelForSequenceClassification.from_pretrained(folder / "judge", num_labels=1), config,
                         train_dataset=Dataset.from_list(rows),
                         processing_class=AutoTokenizer.from_pretrained(folder / "policy"))  # fmt: skip


def trl_dpo(folder: Path, shared: dict[str, Any], _: Any) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    # It tokenizes by itself and has no way around that: texts that are cut at LENGTH tokens cost the same.
    words = (folder / "words.txt").read_text("utf-8").split()
    rng = np.random.default_rng(3)

    def text(count: int) -> str:
        return " ".join(rng.choice(words, count))

    rows = [{"prompt": text(20), "chosen": text(LENGTH), "rejected": text(LENGTH)} for _ in range(64 * PAIRS)]
    config = DPOConfig(**shared, max_length=LENGTH, per_device_train_batch_size=PAIRS, precompute_ref_log_probs=True,
                       max_steps=1_000_000)  # fmt: skip
    return DPOTrainer(AutoModelForCausalLM.from_pretrained(folder / "policy"), args=config,
                      train_dataset=Dataset.from_list(rows),
                      processing_class=AutoTokenizer.from_pretrained(folder / "policy"))  # fmt: skip


def trl_ppo(folder: Path, shared: dict[str, Any], epochs: int) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    def scorer() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(folder / "judge", num_labels=1)

    rows = Dataset.from_list([{"input_ids": row} for row in random_tokens(64 * BATCH, PROMPT, 6)])
    config = PPOConfig(
        **shared, per_device_train_batch_size=BATCH, gradient_accumulation_steps=1, num_mini_batches=1,
        num_ppo_epochs=epochs, response_length=RESPONSE, temperature=0.7, total_episodes=1_000_000 * BATCH,
        local_rollout_forward_batch_size=BATCH, num_sample_generations=0,
    )  # fmt: skip
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in range(2))
    return PPOTrainer(config, AutoTokenizer.from_pretrained(folder / "policy", padding_side="left"), policy, reference,
                      scorer(), rows, scorer(), eval_dataset=rows)  # fmt: skip


def memory() -> int:
    """Most resident memory of this process so far, MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("who", choices=PEERS)
    options.add_argument("task", choices=TASKS)
    options.add_argument("folder", type=Path)
    chosen = options.parse_args()
    if chosen.who.startswith("trl"):
        trls(chosen.task, chosen.folder, chosen.who)
        return
    from chatwright.machine import prepare_process

    prepare_process()
    ours(chosen.task, chosen.folder, "muon" if chosen.who == "ours-muon" else "adamw")


if __name__ == "__main__":
    main()
