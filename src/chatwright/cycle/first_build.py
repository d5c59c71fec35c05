"""The first build: an assistant from nothing, stage by stage, each resumable, on the embedded starter world.

Every stage reads artefacts, writes one artefact, and is skipped when that artefact is already whole. A folder is named
after the hash of its inputs, so a change of any setting, seed or parent makes a new one and nothing stale is reused.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chatwright import starter
from chatwright.cycle import run as stages
from chatwright.cycle.run import Run, read_all
from chatwright.cycle.verdict import Evaluation, evaluate_all
from chatwright.engine import Engine, SamplingParams, answer
from chatwright.files import write_json, write_jsonl
from chatwright.progress import Progress
from chatwright.records import Comparison, Demonstration, Prompt
from chatwright.settings import Settings
from chatwright.workspace import Artefact, Workspace, finish

Made = dict[str, Artefact]


@dataclass(frozen=True, slots=True)
class BuildStage:
    """A stage as the page announces it. `seconds` is what it takes on two cores, for the time left at the start."""

    name: str
    title: str
    about: str
    seconds: float
    make: Callable[[Run, Made], Artefact]


def make_world(run: Run, made: Made) -> Artefact:
    """The rows of the starter world, written once and read back by every later stage."""
    config, seed = run.settings.starter, run.settings.seed

    def make(out: Path) -> None:
        with run.progress.stage("corpus", 4) as stage:
            corpus = starter.corpus(seed, config.documents)
            write_jsonl(out / "documents.jsonl.gz", (d.to_json() for d in corpus.documents))
            labels = {key: sorted(found) for key, found in corpus.truth.items()}
            write_json(out / "truth.json", {"labels": labels, "pii": corpus.pii})
            stage.advance(1)
            demonstrations = starter.demonstrations(seed, config.demonstrations)
            write_jsonl(out / "demonstrations.jsonl.gz", (d.to_json() for d in demonstrations))
            stage.advance(2)
            prompts = starter.prompts(seed, "train", config.train_prompts)
            write_jsonl(out / "train_prompts.jsonl.gz", (p.to_json() for p in prompts))
            stage.advance(3)
            prompts = starter.prompts(seed, "heldout", config.heldout_prompts)
            write_jsonl(out / "heldout_prompts.jsonl.gz", (p.to_json() for p in prompts))
            stage.advance(4)
        figures = {"documents": len(corpus.documents), "demonstrations": len(demonstrations)}
        finish(out, kind="world", name="starter world", parents={}, config=config.model_dump(), seed=seed,
               figures=figures, source="simulated")  # fmt: skip

    return run.artefact("world", config.model_dump(), {}, make)


def make_corpus(run: Run, made: Made) -> Artefact:
    return stages.corpus(run, [made["world"].path / "documents.jsonl.gz"], {"world": made["world"].id})


def make_tokens(run: Run, made: Made) -> Artefact:
    made["alphabet"] = stages.tokenizer(run, made["curate"])
    return stages.tokens(run, made["curate"], made["alphabet"])


def make_base(run: Run, made: Made) -> Artefact:
    return stages.base(run, made["alphabet"], made["tokenizer"])


def make_sft(run: Run, made: Made) -> Artefact:
    return stages.fine_tuned(run, made["base"], demonstrations(made), {"world": made["world"].id})


def make_comparisons(run: Run, made: Made) -> Artefact:
    """The SFT model answers each prompt several times; a simulated rater, drawn by lot, ranks the answers."""
    settings = run.settings
    config, count = settings.reward, settings.reward.responses
    asked = {"responses": count, "prompts": config.prompts, "temperature": config.temperature,
             "max_tokens": settings.ppo.max_tokens, "raters": settings.starter.raters}  # fmt: skip
    parents = {"sft": made["sft"].id, "world": made["world"].id}

    def make(out: Path) -> None:
        prompts = train_prompts(made)[: config.prompts]
        engine = Engine.load(made["sft"].path)
        sampling = SamplingParams(max_tokens=settings.ppo.max_tokens, temperature=config.temperature)
        repeated = [p.messages for p in prompts for _ in range(count)]
        raters = starter.raters(settings.seed, settings.starter.raters)
        rng = random.Random(settings.seed)
        with run.progress.stage("rank", len(repeated), raters=len(raters), source="simulated") as stage:
            said = answer(engine, repeated, sampling, seed=settings.seed, stream=1, on_done=stage.advance)
            texts = [completion.text.strip() for completion in said]
            comparisons = [
                raters[rng.randrange(len(raters))].rank(prompt, texts[i * count : (i + 1) * count], rng)
                for i, prompt in enumerate(prompts)
            ]
            pairs = sum(len(c.pairs()) for c in comparisons)
            stage.metrics(comparisons=len(comparisons), pairs=pairs)
        ceiling = starter.rater_ceiling(prompts, comparisons)
        write_jsonl(out / "comparisons.jsonl.gz", (c.to_json() for c in comparisons))
        figures = {"comparisons": len(comparisons), "pairs": pairs, "rater_ceiling": ceiling.accuracy}
        finish(out, kind="comparisons", name="rankings", parents=parents, config=asked, seed=settings.seed,
               figures=figures, source="simulated")  # fmt: skip

    return run.artefact("comparisons", asked, parents, make)


def demonstrations(made: Made) -> list[Demonstration]:
    return read_all([made["world"].path / "demonstrations.jsonl.gz"], Demonstration.from_json, whole=True)


def train_prompts(made: Made) -> list[Prompt]:
    return read_all([made["world"].path / "train_prompts.jsonl.gz"], Prompt.from_json, whole=True)


def rankings(made: Made) -> tuple[list[Comparison], dict[str, str]]:
    rows = read_all([made["rank"].path / "comparisons.jsonl.gz"], Comparison.from_json, whole=True)
    return rows, {"comparisons": made["rank"].id}


def make_reward(run: Run, made: Made) -> Artefact:
    return stages.reward_model(run, made["sft"], *rankings(made))


def make_ppo(run: Run, made: Made) -> Artefact:
    world = {"world": made["world"].id}
    known = demonstrations(made) if run.settings.ppo.ptx_coef else []
    return stages.ppo_aligned(run, made["sft"], made["reward"], train_prompts(made), world, known)


def make_dpo(run: Run, made: Made) -> Artefact:
    return stages.dpo_aligned(run, made["sft"], *rankings(made))


STAGES = (
    BuildStage("corpus", "Small world", "Thousands of short texts about a small world are generated.", 9, make_world),
    BuildStage("curate", "Curation", "Duplicates, boilerplate and gibberish are dropped, personal data is masked.", 8,
               make_corpus),
    BuildStage("tokenizer", "Tokenizer", "Frequent pieces of words become tokens, the model's alphabet.", 2,
               make_tokens),
    BuildStage("pretrain", "Pretraining", "The base model learns to continue text, one next token at a time.", 117,
               make_base),
    BuildStage("sft", "Fine-tuning", "From demonstrations it learns to answer instead of to continue.", 118, make_sft),
    BuildStage("rank", "Ranking", "It answers prompts several times; simulated people rank the answers.", 22,
               make_comparisons),
    BuildStage("reward", "Reward model", "A second model learns to predict what the rankers prefer.", 37, make_reward),
    BuildStage("ppo", "PPO", "The assistant practises answers that the reward model scores higher.", 93, make_ppo),
    BuildStage("dpo", "DPO", "A second candidate learns from the same rankings directly.", 18, make_dpo),
)  # fmt: skip

# The page calls stages by what is done; artefacts are called by what they are.
NAMES = {"corpus": "world", "pretrain": "base"}


def announce(progress: Progress) -> None:
    """Tells the page what is to come."""
    plan = [{"name": s.name, "title": s.title, "about": s.about, "seconds": s.seconds} for s in STAGES]
    measuring = "Every stage answers held-out prompts and is graded."
    plan.append({"name": "evaluate", "title": "Measuring", "about": measuring, "seconds": 26})
    progress.emit("build", "plan", stages=plan)


def build(settings: Settings, workspace: Workspace, progress: Progress) -> tuple[Evaluation, float]:
    """The whole first build; returns the evaluation and the seconds this call took."""
    started = time.monotonic()
    announce(progress)
    run = Run(settings, workspace, progress, source="simulated",
              questions=tuple(question for _, question in starter.SAMPLE_PROMPTS))  # fmt: skip
    made: Made = {}
    for stage in STAGES:
        made[NAMES.get(stage.name, stage.name)] = stage.make(run, made)
    evaluation = evaluate_all(settings, made, workspace, progress)
    seconds = time.monotonic() - started
    progress.emit("build", "done", report="report.html", served=evaluation.served, seconds=round(seconds, 1))
    return evaluation, seconds
