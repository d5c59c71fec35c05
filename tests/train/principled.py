"""A small constitution, and a model that has learned to criticise under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.model.small import tiny_shape, tiny_tokenizer
from tests.train.worlds import SHARED

from chatwright.config import ConstitutionConfig, OptimConfig, SamplingConfig, SftConfig
from chatwright.model.checkpoint import save_checkpoint
from chatwright.model.decoder import Decoder, initialise
from chatwright.progress import Progress
from chatwright.records import Correction, Demonstration, Message, Prompt
from chatwright.train import sft
from chatwright.train.constitutional.principles import Constitution, parse_constitution

FILE = """
name = "small"
version = "3"
nothing_to_change = "All is well."

[[principles]]
id = "mill"
critique = "Is it the mill?"
revision = "Say it again."
comparison = "Which is the mill?"

[[principles]]
id = "river"
critique = "Is it wet?"
revision = "Say it dry."
comparison = "Which is dry?"

[[examples]]
prompt = "Where?"
answer = "Here."
principle = "mill"
critique = "No mill."
revision = "At the mill."

[[examples]]
prompt = "Who?"
answer = "The miller."
principle = "river"
critique = "All is well."
"""
CONTEXT = 160
WRONG, RIGHT, KEPT = "by the river", "the old mill", "of flour"
ASKED = ("Where is A?", "Where is B?", "What is C?", "What is D?", "Where is E?", "What is F?")


def small_constitution() -> Constitution:
    return parse_constitution(FILE, "small.toml")


def user(text: str) -> Message:
    return Message("user", text)


def prompts(count: int = len(ASKED)) -> list[Prompt]:
    return [Prompt((user(text),), truth={"harmless": True} if text.startswith("What") else {}, id=text)
            for text in ASKED[:count]]  # fmt: skip


def newborn(folder: Path) -> Path:
    if not (folder / "newborn").exists():
        shape = tiny_shape(family="qwen3", qk_norm=True, width=48, mlp_width=96, context=CONTEXT)
        save_checkpoint(folder / "newborn", initialise(Decoder(shape), 3), tiny_tokenizer())
    return folder / "newborn"


def rounds_to_learn() -> list[Correction]:
    """Under "mill" the answers to "Where" are wrong; everything else is well."""
    made = []
    for text in ASKED:
        answers = (WRONG, RIGHT) if text.startswith("Where") else (KEPT,)
        for answer in answers:
            for principle in ("mill", "river"):
                wrong = principle == "mill" and answer == WRONG
                critique, revision = ("the river sings", RIGHT) if wrong else ("All is well.", answer)
                made.append(Correction((user(text),), answer, principle, critique, revision))
    return made


def learned_critic(folder: Path) -> Path:
    """A model that answers as `ASKED` expects, and criticises and revises as `rounds_to_learn` does."""
    constitution = small_constitution()
    rows = [constitution.demonstration(c) for c in rounds_to_learn()]
    rows += [
        Demonstration((user(text), Message("assistant", WRONG if text.startswith("Where") else KEPT)), weight=2.0)
        for text in ASKED
    ]
    optim = OptimConfig(muon_lr=0.02, adam_lr=0.01, warmup=0.1, decay=0.5)
    plan: dict[str, Any] = SHARED | {
        "optim": optim, "epochs": 90.0, "sequence": 96, "batch_tokens": 768, "micro_tokens": 768,
        "checkpoint_every": 900, "evaluate_every": 900,
    }  # fmt: skip
    return sft.run(SftConfig(**plan), newborn(folder), rows, folder / "critic", Progress(), seed=1, parents={}).path


def config(**changes: Any) -> ConstitutionConfig:
    given: dict[str, Any] = {
        "rounds": 2, "answer": SamplingConfig(temperature=1.0, max_tokens=10), "chunk": 2,
        "critic": SamplingConfig(temperature=1.0, max_tokens=10),
    }  # fmt: skip
    return ConstitutionConfig(**(given | changes))


GREEDY: dict[str, Any] = {
    "answer": SamplingConfig(temperature=0.0, max_tokens=16), "critic": SamplingConfig(temperature=0.0, max_tokens=16),
}  # fmt: skip
