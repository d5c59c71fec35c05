"""A run: settings, a workspace, and stages that are made once and found ever after.

The embedded first build and the verbs of the command line go through the same functions here, so that a
person's own data takes the path that is tested every day.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chatwright import text
from chatwright.engine import Engine, SamplingParams, answer
from chatwright.errors import ChatwrightError, InputError
from chatwright.evaluate import best_of_n_curve
from chatwright.files import Problems, read_records
from chatwright.model.checkpoint import load_template, save_tokenizer
from chatwright.model.decoder import Decoder
from chatwright.model.tokenizer import Tokenizer
from chatwright.progress import Progress, Stage
from chatwright.records import Comparison, Demonstration, Message, Prompt
from chatwright.settings import Settings
from chatwright.train import best_of_n, dpo, grpo, ppo, pretrain, reward, sft
from chatwright.train.distributed import World
from chatwright.train.gold_measure import Gold, GoldCheck
from chatwright.train.verifiers import Verifier
from chatwright.workspace import Artefact, Workspace, find_artefact, finish, load_artefact, stage_key

T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """What every stage needs: settings, where artefacts go, who hears of progress, the ranks of a distributed job.

    `questions` are the fixed prompts whose answers are shown while a model trains; `problems` are rows that were read
    but could not be used.
    """

    settings: Settings
    workspace: Workspace
    progress: Progress
    world: World = field(default_factory=World)
    source: str = "human"
    questions: tuple[str, ...] = ()
    problems: Problems = field(default_factory=Problems)

    def artefact(
        self,
        kind: str,
        config: dict[str, Any],
        parents: dict[str, str],
        make: Callable[[Path], Any],
        *,
        together: bool = False,
    ) -> Artefact:
        """The artefact with these inputs: found whole, or made by `make` in its folder, which may resume there.

        With several ranks the first makes it while the others wait, or all do `together`.
        """
        folder = self.workspace.folder(kind, stage_key(kind, config, parents, self.settings.seed))
        missing = self.world.largest(int(find_artefact(folder) is None))
        if missing and (together or self.world.main):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                make(folder)
            except ChatwrightError:
                with suppress(OSError):
                    folder.rmdir()  # nothing was written yet
                raise
        self.world.barrier()
        return load_artefact(folder)

    def sampler(self, tokenizer_folder: Path) -> Callable[[Stage, Decoder], None] | None:
        """Shows what a model says to the fixed questions, always with the same seeds; None without questions."""
        if not self.questions or not self.world.main or self.world.sharded:
            return None
        tokenizer = Tokenizer.load(tokenizer_folder / "tokenizer.json")
        template = load_template(tokenizer_folder, tokenizer)
        prompts = [(Message("user", question),) for question in self.questions]

        def show(stage: Stage, model: Decoder) -> None:
            engine = Engine(model, tokenizer, template, max_batch=len(prompts))
            sampling = SamplingParams(max_tokens=48, temperature=0.3)
            for prompt, completion in zip(prompts, answer(engine, prompts, sampling, seed=7), strict=True):
                stage.sample(prompt[0].content, completion.text.strip())

        return show


def corpus(run: Run, inputs: Sequence[Path | str], parents: dict[str, str] | None = None) -> Artefact:
    """Raw files, curated."""
    config = run.settings.text
    parents = parents or {"files": text.inputs_id(inputs)}
    return run.artefact(
        "corpus", config.model_dump(), parents,
        lambda out: text.run(config, inputs, out, run.progress, seed=run.settings.seed, parents=parents,
                             source=run.source),
    )  # fmt: skip


def tokenizer(run: Run, corpus: Artefact) -> Artefact:
    """A byte-level BPE learned from a curated corpus."""
    config = run.settings.tokenizer

    def make(out: Path) -> None:
        with run.progress.stage("tokenizer", 2) as stage:
            documents = text.read_documents(corpus.path / text.DOCUMENTS)
            stage.advance(1)
            learned = Tokenizer.train((d.text for d in documents), config.vocab_size)
            save_tokenizer(out, learned, run.settings.model.context)
            some = [d.text for d in documents[:2000]]
            per_token = sum(len(t.encode()) for t in some) / max(1, sum(map(len, learned.encode_batch(some))))
            stage.advance(2)
            stage.metrics(bytes_per_token=per_token, vocabulary=learned.vocab_size)
        finish(out, kind="tokenizer", name="tokenizer", parents={"corpus": corpus.id}, config=config.model_dump(),
               seed=run.settings.seed, figures={"vocab_size": learned.vocab_size, "bytes_per_token": per_token},
               source=run.source)  # fmt: skip

    return run.artefact("tokenizer", config.model_dump(), {"corpus": corpus.id}, make)


def tokens(run: Run, corpus: Artefact, tokenizer: Artefact) -> Artefact:
    """The corpus as token shards: `train` to learn from, `holdout` to measure on."""
    parents = {"corpus": corpus.id, "tokenizer": tokenizer.id}

    def make(out: Path) -> None:
        encoder = Tokenizer.load(tokenizer.path / "tokenizer.json")
        made = {}
        for part, file in (("train", text.DOCUMENTS), ("holdout", text.HOLDOUT)):
            documents = text.read_documents(corpus.path / file)
            made[part] = text.write_shards(documents, encoder, out / part, Progress(), tokenizer_id=tokenizer.id)
        figures = {"tokens": made["train"].total_tokens, "bytes": made["train"].total_bytes}
        finish(out, kind="tokens", name="tokens", parents=parents, config={}, seed=run.settings.seed, figures=figures,
               source=run.source)  # fmt: skip

    return run.artefact("tokens", {}, parents, make)


def base(run: Run, tokenizer: Artefact, tokens: Artefact) -> Artefact:
    """A decoder pretrained from nothing."""
    settings = run.settings
    config = {**settings.pretrain.model_dump(), "model": settings.model.model_dump()}
    parents = {"tokenizer": tokenizer.id, "tokens": tokens.id}

    def make(out: Path) -> None:
        pretrain.run(
            settings.pretrain, settings.model, text.TokenShards.open(tokens.path / "train"),
            text.TokenShards.open(tokens.path / "holdout"), Tokenizer.load(tokenizer.path / "tokenizer.json"), out,
            run.progress, seed=settings.seed, parents=parents, world=run.world,
            sample=run.sampler(tokenizer.path), source=run.source,
        )  # fmt: skip

    return run.artefact("pretrain", config, parents, make, together=True)


def fine_tuned(
    run: Run, base: Artefact, rows: Sequence[Demonstration], data: dict[str, str], mixed: Sequence[sft.Mixed] = ()
) -> Artefact:
    """SFT. One demonstration in forty, at least one, is held out to show the loss on unseen ones.

    `data` names where `rows` and what is `mixed` in come from.
    """
    config = run.settings.sft
    parents = {"base": base.id, **data}
    asked = config.model_dump() | ({"shares": [m.share for m in mixed]} if mixed else {})
    held = max(1, len(rows) // 40) if len(rows) > 1 else 0

    def make(out: Path) -> None:
        sft.run(config, base.path, rows[held:], out, run.progress, seed=run.settings.seed, parents=parents,
                heldout=rows[:held], mixed=mixed, world=run.world, sample=run.sampler(base.path))  # fmt: skip

    return run.artefact("sft", asked, parents, make, together=True)


def reward_model(run: Run, start: Artefact, rows: Sequence[Comparison], data: dict[str, str]) -> Artefact:
    config = run.settings.reward
    parents = {"sft": start.id, **data}
    return run.artefact(
        "reward", config.model_dump(), parents,
        lambda out: reward.run(config, start.path, rows, out, run.progress, seed=run.settings.seed, parents=parents,
                               world=run.world),
        together=True,
    )  # fmt: skip


def ppo_aligned(
    run: Run,
    start: Artefact,
    reward: Artefact | Sequence[Artefact],
    prompts: Sequence[Prompt],
    data: dict[str, str],
    rehearse: Sequence[Demonstration] = (),
    check: GoldCheck | None = None,
) -> Artefact:
    """PPO on `prompts`; `data` names where these, the demonstrations to `rehearse` and the gold `check` come from."""
    config = run.settings.ppo
    judges = [reward] if isinstance(reward, Artefact) else list(reward)
    parents = {"sft": start.id, **_judge_parents(judges), **data}
    return run.artefact(
        "ppo", config.model_dump(), parents,
        lambda out: ppo.run(config, start.path, [j.path for j in judges], prompts, out, run.progress,
                            seed=run.settings.seed, parents=parents, rehearse=rehearse, world=run.world,
                            sample=run.sampler(start.path), check=check),
        together=True,
    )  # fmt: skip


def grpo_aligned(
    run: Run, start: Artefact, reward: Artefact | Verifier, prompts: Sequence[Prompt], data: dict[str, str]
) -> Artefact:
    """RLOO, GRPO or Dr.GRPO on `prompts`, rewarded by a reward model or a verifier."""
    config = run.settings.grpo
    judged = isinstance(reward, Artefact)
    source = reward.path if judged else reward
    parents = {"sft": start.id, **({"reward": reward.id} if judged else {"verifier": reward.name}), **data}
    return run.artefact(
        "grpo", config.model_dump(), parents,
        lambda out: grpo.run(config, start.path, source, prompts, out, run.progress, seed=run.settings.seed,
                             parents=parents, world=run.world, sample=run.sampler(start.path)),
        together=True,
    )  # fmt: skip


def rejection_sampled(
    run: Run,
    start: Artefact,
    judges: Sequence[Artefact],
    prompts: Sequence[Prompt],
    data: dict[str, str],
    gold: Gold | None = None,
) -> Artefact:
    """The best of n answers to each of `prompts`, as demonstrations; `data` names where prompts and gold come from."""
    config = run.settings.best_of_n
    parents = {"sft": start.id, **_judge_parents(judges), **data}

    def curve(proxy: list[list[float]], gold: list[list[float]] | None, clusters: list[Hashable]) -> dict[str, Any]:
        return best_of_n_curve(proxy, gold, clusters, confidence=config.confidence, resamples=config.bootstrap)

    return run.artefact(
        "best-of-n", config.model_dump(), parents,
        lambda out: best_of_n.run(config, start.path, [j.path for j in judges], prompts, out, run.progress,
                                  seed=run.settings.seed, parents=parents, curve_of=curve, gold=gold),
    )  # fmt: skip


def _judge_parents(judges: Sequence[Artefact]) -> dict[str, str]:
    """`reward`, or `reward`, `reward 2` and so on."""
    return {f"reward {i}" if i > 1 else "reward": judge.id for i, judge in enumerate(judges, start=1)}


def dpo_aligned(run: Run, start: Artefact, rows: Sequence[Comparison], data: dict[str, str]) -> Artefact:
    config = run.settings.dpo
    parents = {"sft": start.id, **data}
    return run.artefact(
        "dpo", config.model_dump(), parents,
        lambda out: dpo.run(config, start.path, rows, out, run.progress, seed=run.settings.seed, parents=parents,
                            world=run.world, sample=run.sampler(start.path), cache=run.workspace.root / "cache"),
        together=True,
    )  # fmt: skip


def read_all(
    paths: Sequence[Path | str],
    parse: Callable[[Any], T],
    stage: Stage | None = None,
    *,
    whole: bool = False,
    problems: Problems | None = None,
) -> list[T]:
    """The records of files; broken rows are named and counted in `problems`, and refused where `whole` is asked."""
    problems = Problems() if problems is None else problems
    rows = list(read_records(paths, parse, problems))
    if problems.count and (whole or not rows):
        raise InputError(f"{problems.count} rows cannot be used (the first: {problems.examples[0]})")
    if not rows:
        raise InputError(f"there is no row in {', '.join(map(str, paths))}")
    if problems.count and stage is not None:
        stage.warn(f"{problems.count} rows were left out (the first: {problems.examples[0]})")
    return rows
