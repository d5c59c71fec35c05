"""Best-of-n: several answers to each prompt, the one the reward model likes best is kept (Nakano et al. 2021).

What is kept are demonstrations for another round of fine-tuning (rejection sampling). All answers together tell what
picking among n = 1, 2, 4 ... N would have brought, which sets the reward model's taste against gold before any policy
is trained on it. Prompts are answered in chunks, each saved when it is done, so a killed run goes on to the same bits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chatwright.config import BestOfNConfig
from chatwright.engine import Completion, Engine, Request, SamplingParams, seeds
from chatwright.errors import InputError, WorkspaceError
from chatwright.files import write_json, write_jsonl
from chatwright.machine import compute_dtype
from chatwright.progress import Progress
from chatwright.records import Demonstration, Message, Prompt
from chatwright.train.answers import end_of_answer
from chatwright.train.gold_measure import Gold
from chatwright.train.judges import Judges, load_judges
from chatwright.train.rollouts import closed
from chatwright.train.sft import source_of
from chatwright.workspace import STATE_FOLDER, Artefact, find_artefact, finish

CurveOf = Callable[[list[list[float]], list[list[float]] | None, list[Hashable]], Mapping[str, Any]]
"""(proxy P N, gold P N or None, cluster of each prompt) -> figures of the scores expected for n = 1, 2, 4 ... N."""

DEMONSTRATIONS, ANSWERS = "demonstrations.jsonl.gz", "answers.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Answered:
    """N answers to one prompt, each with its score by the reward model and, where one is given, by gold."""

    texts: list[str]
    ended: list[bool]
    scores: list[float]
    disagreement: list[float]
    gold: list[float] | None

    @property
    def best(self) -> int | None:
        """The best answer that came to an end and says something; None where there is none."""
        usable = [i for i, (text, ended) in enumerate(zip(self.texts, self.ended, strict=True)) if text and ended]
        return max(usable, key=lambda i: self.scores[i], default=None)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Sampler:
    """The policy, its judges and the prompts that leave room for an answer."""

    def __init__(self, config: BestOfNConfig, start: Path, reward: Path | Sequence[Path], prompts: Sequence[Prompt],
                 gold: Gold | None, seed: int) -> None:  # fmt: skip
        self.config, self.gold, self.seed = config, gold, seed
        self.engine = Engine.load(start)
        device = str(self.engine.device)
        self.judges: Judges = load_judges(reward, config.ensemble, start).to(device)
        self.dtype: torch.dtype = compute_dtype(config.precision, device)
        self.end = end_of_answer(self.engine.template)
        room = self.engine.context - config.max_tokens
        rendered = [self.engine.template.render(p.messages, add_generation_prompt=True).tokens for p in prompts]
        self.prompts = [p for p, tokens in zip(prompts, rendered, strict=True) if len(tokens) <= room]
        self.tokens = [tuple(tokens) for tokens in rendered if len(tokens) <= room]
        if not self.prompts:
            raise InputError(f"no prompt leaves room for an answer of {config.max_tokens} tokens")
        self.too_long = len(prompts) - len(self.prompts)

    def chunk(self, number: int) -> list[Answered]:
        """The answers to one chunk of prompts: a pure function of the seed and the chunk's number."""
        config = self.config
        span = slice(number * config.chunk, (number + 1) * config.chunk)
        prompts = [p for p in self.prompts[span] for _ in range(config.n)]
        tokens = [t for t in self.tokens[span] for _ in range(config.n)]
        said = self.engine.generate([
            Request(t, SamplingParams(max_tokens=config.max_tokens, temperature=config.temperature, seed=s))
            for t, s in zip(tokens, seeds(self.seed, number, len(tokens)), strict=True)
        ])  # fmt: skip
        texts, scores, disagreement = [c.text.strip() for c in said], *self._scores(tokens, said)
        gold = None
        if self.gold:
            gold = [float(g) for g in self.gold(prompts, texts)]
            if len(gold) != len(texts) or not all(map(math.isfinite, gold)):
                raise InputError("the gold measure must give a finite number for every answer; mend it or leave it out")
        return [
            Answered(
                texts[at : at + config.n], [c.finish_reason == "stop" for c in said[at : at + config.n]],
                scores[at : at + config.n], disagreement[at : at + config.n], gold and gold[at : at + config.n],
            )
            for at in range(0, len(texts), config.n)
        ]  # fmt: skip

    def _scores(self, tokens: Sequence[tuple[int, ...]], said: Sequence[Completion]) -> tuple[list[float], list[float]]:
        read = [closed((*t, *c.tokens), c, self.end) for t, c in zip(tokens, said, strict=True)]
        scores, disagreement = self.judges.score(read, self.dtype, self.config.micro_tokens)
        endless = torch.tensor([float(c.finish_reason != "stop") for c in said])
        return (scores - self.config.missing_end_penalty * endless).tolist(), disagreement.tolist()


def run(
    config: BestOfNConfig,
    start: Path,
    reward: Path | Sequence[Path],
    prompts: Sequence[Prompt],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    curve_of: CurveOf,
    gold: Gold | None = None,
) -> Artefact:
    """Answers each of `prompts` n times with the model in `start` and keeps what `reward` (one or several) likes best.

    Writes the kept answers as demonstrations, all answers with their scores, and the figures of `curve_of`.
    """
    sampler = Sampler(config, start, reward, prompts, gold, seed)
    state, answered = out / STATE_FOLDER, []
    with progress.stage("best-of-n", len(sampler.prompts), answers=len(sampler.prompts) * config.n) as stage:
        if sampler.too_long:
            stage.warn(f"{sampler.too_long} prompts leave no room for an answer and were left out")
        for number in range(-(-len(sampler.prompts) // config.chunk)):
            path = state / f"chunk-{number:06d}.json"
            if not path.exists():
                write_json(path, [a.to_json() for a in sampler.chunk(number)])
            answered += _read(path)
            stage.advance(len(answered), score=sum(max(a.scores) for a in answered) / len(answered))
    folders = [reward] if isinstance(reward, Path) else reward
    judged = (find_artefact(f) for f in (start, *folders))
    simulated = "simulated" in (source_of(sampler.prompts), *(a.manifest.source for a in judged if a))
    kept = _kept(sampler.prompts, answered, config.n, simulated)
    if not kept:
        raise InputError("not one answer came to an end and said something; fine-tune the model first, or raise "
                         "best_of_n.max_tokens")  # fmt: skip
    write_jsonl(out / DEMONSTRATIONS, (d.to_json() for d in kept))
    write_jsonl(out / ANSWERS, _rows(sampler.prompts, answered))
    figures = _figures(sampler, answered, curve_of) | {"kept": len(kept), "left_out": len(answered) - len(kept)}
    return finish(out, kind="best-of-n", name="best-of-n", parents=parents, config=config.model_dump(), seed=seed,
                  figures=figures, source="simulated" if simulated else "model")  # fmt: skip


def _read(path: Path) -> list[Answered]:
    try:
        return [Answered(**row) for row in json.loads(path.read_text("utf-8"))]
    except (OSError, TypeError, ValueError) as error:
        raise WorkspaceError(f"the saved answers {path} are damaged ({error}); remove that file and go on") from None


def _kept(prompts: Sequence[Prompt], answered: Sequence[Answered], n: int, simulated: bool) -> list[Demonstration]:
    kept = []
    for prompt, answers in zip(prompts, answered, strict=True):
        if (best := answers.best) is None:
            continue
        meta = {"score": answers.scores[best], "disagreement": answers.disagreement[best], "best_of": n,
                "prompt": prompt.id}  # fmt: skip
        if answers.gold:
            meta["gold"] = answers.gold[best]
        messages = (*prompt.messages, Message("assistant", answers.texts[best]))
        kept.append(Demonstration(messages, prompt.skill, "simulated" if simulated else "model", meta=meta))
    return kept


def _rows(prompts: Sequence[Prompt], answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """Every prompt with all its answers; `best` is the index of the one that was kept."""
    return [
        {"prompt": [m.to_json() for m in p.messages], "id": p.id, "best": a.best, **a.to_json()}
        for p, a in zip(prompts, answered, strict=True)
    ]


def _figures(sampler: Sampler, answered: Sequence[Answered], curve_of: CurveOf) -> dict[str, Any]:
    gold = [a.gold for a in answered if a.gold is not None] if sampler.gold else None
    clusters: list[Hashable] = [p.truth.get("key") for p in sampler.prompts]
    every = [d for a in answered for d in a.disagreement]
    ended = [e for a in answered for e in a.ended]
    return {
        "prompts": len(answered), "n": sampler.config.n, "ended": sum(ended) / len(ended),
        **({"disagreement": sum(every) / len(every)} if len(sampler.judges.models) > 1 else {}),
        **curve_of([a.scores for a in answered], gold, clusters),
    }  # fmt: skip
