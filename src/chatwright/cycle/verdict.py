"""The end of a build: every stage measured on held-out prompts, the best registered and served, the report written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright import starter
from chatwright.engine import Engine
from chatwright.evaluate import Answered, Interval, StageSummary, answer_prompts, summarise, win_rate, write_report
from chatwright.files import Problems, read_records, write_json, write_jsonl
from chatwright.progress import Progress
from chatwright.records import Prompt
from chatwright.settings import Settings
from chatwright.store import Store, sqlite_url
from chatwright.workspace import Artefact, Workspace, find_artefact, finish, load_artefact, stage_key

MODELS = ("base", "sft", "ppo", "dpo")
ROLES = {
    "base": "base model: continues text",
    "sft": "fine-tuned on demonstrations",
    "ppo": "aligned by PPO",
    "dpo": "aligned by DPO",
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything measured, and which model was chosen."""

    artefact: Artefact
    table: dict[str, Any]

    @property
    def served(self) -> str:
        return self.table["served"]


def evaluate_all(settings: Settings, made: dict[str, Artefact], workspace: Workspace, progress: Progress) -> Evaluation:
    """Asks every model the same held-out prompts, chooses, registers, reports; found again if it was done before."""
    config = settings.evaluate.model_dump()
    parents = {name: made[name].id for name in (*MODELS, "reward", "rank", "world")}
    folder = workspace.folder("evaluation", stage_key("evaluation", config, parents, settings.seed))
    if find_artefact(folder) is None:
        folder.mkdir(parents=True, exist_ok=True)
        _measure(settings, made, folder, parents, progress)
    artefact = load_artefact(folder)
    table = dict(artefact.manifest.figures)
    _publish(table, made, workspace, folder)
    return Evaluation(artefact, table)


def _measure(
    settings: Settings, made: dict[str, Artefact], folder: Path, parents: dict[str, str], progress: Progress
) -> None:
    prompts = list(read_records([made["world"].path / "heldout_prompts.jsonl.gz"], Prompt.from_json, Problems()))
    answers: dict[str, list[Answered]] = {}
    with progress.stage("evaluate", len(prompts) * len(MODELS)) as stage:
        for name in MODELS:
            engine = Engine.load(made[name].path)
            answers[name] = answer_prompts(
                engine, prompts, starter.grade, settings.evaluate, seed=settings.seed, stage=stage
            )
            summary = _summary(name, answers, made, settings)
            stage.metrics(model=name, gold=summary.gold.value, low=summary.gold.low, high=summary.gold.high)
    summaries = [_summary(name, answers, made, settings) for name in MODELS]
    wins = {
        f"{ours}_over_{theirs}": win_rate(answers[ours], answers[theirs], settings.evaluate)
        for ours, theirs in (("sft", "base"), ("ppo", "sft"), ("dpo", "sft"), ("ppo", "dpo"))
    }
    best = choose(summaries, wins)
    table = _table(summaries, wins, best, made)
    write_json(folder / "evaluation.json", table)
    for name in MODELS:
        write_jsonl(folder / f"answers-{name}.jsonl.gz", (_transcript(a) for a in answers[name]))
    write_report(
        folder / "report.html", summaries=summaries, wins=wins, answers=answers, table=table,
        confidence=settings.evaluate.confidence,
        curves={name: made[name].manifest.figures.get("curve", []) for name in ("base", "sft", "reward", "ppo", "dpo")},
        corpus=made["curate"].manifest.figures,
    )  # fmt: skip
    finish(folder, kind="evaluation", name="evaluation", parents=parents, config=settings.evaluate.model_dump(),
           seed=settings.seed, figures=table, source="simulated",
           reports=("evaluation.json", "report.html"))  # fmt: skip


def _summary(
    name: str, answers: dict[str, list[Answered]], made: dict[str, Artefact], settings: Settings
) -> StageSummary:
    seconds = float(made[name].manifest.figures.get("seconds", 0.0))
    return summarise(name, answers[name], settings.evaluate, seconds=seconds)


def choose(summaries: list[StageSummary], wins: dict[str, Interval]) -> str:
    """The aligned candidate with the higher gold score, if it beats the SFT model with confidence; else the SFT model.

    An improvement that is not shown by its interval is no reason to replace a model.
    """
    by_name = {s.name: s for s in summaries}
    candidate = max(("ppo", "dpo"), key=lambda name: by_name[name].gold.value)
    return candidate if wins[f"{candidate}_over_sft"].low > 0.5 else "sft"


def _table(
    summaries: list[StageSummary], wins: dict[str, Interval], best: str, made: dict[str, Artefact]
) -> dict[str, Any]:
    aligned = best if best != "sft" else "ppo"
    over = wins[f"{aligned}_over_sft"]
    return {
        "stages": [s.to_json() for s in summaries],
        "win_rate_over_sft": round(over.value, 4),
        "win_rate_ci": [round(over.low, 4), round(over.high, 4)],
        "reward_pair_accuracy": _rounded(made["reward"].manifest.figures["pair_accuracy"]),
        "rater_ceiling": _rounded(made["rank"].manifest.figures["rater_ceiling"]),
        "served": made[best].id,
        "served_name": best,
        "aligned": aligned,
        "heldout": {s.name: s.heldout_json() for s in summaries},
        "wins": {key: [round(w.value, 4), round(w.low, 4), round(w.high, 4)] for key, w in wins.items()},
    }


def _rounded(value: float | None) -> float | None:
    """None stays None: not measured."""
    return None if value is None else round(value, 4)


def _transcript(answered: Answered) -> dict[str, Any]:
    return {
        "prompt": [m.to_json() for m in answered.prompt.messages],
        "skill": answered.prompt.skill,
        "response": answered.response,
        "score": round(answered.score, 4),
        "correct": answered.correct,
        "refused": answered.refused,
        "finish_reason": answered.finish_reason,
        "source": "simulated",
    }


def _publish(table: dict[str, Any], made: dict[str, Artefact], workspace: Workspace, folder: Path) -> None:
    """Registers every artefact, points the aliases at them, and tells the gateway what to serve."""
    with Store.open(sqlite_url(workspace.root / "chatwright.db")) as store:
        for artefact in workspace.artefacts():
            store.register(artefact)
        for name in MODELS:
            store.set_alias(name, made[name].id, "first build")
        store.set_alias("assistant", table["served"], f"best on held-out prompts: {table['served_name']}")
    (workspace.root / "report.html").write_bytes((folder / "report.html").read_bytes())
    write_json(workspace.root / "serving.json", {
        "models": [
            {"id": made[name].id, "name": name, "path": str(made[name].path.relative_to(workspace.root)),
             "role": ROLES[name], "default": made[name].id == table["served"]}
            for name in MODELS
        ],
        "starters": list(starter.STARTERS),
    })  # fmt: skip
