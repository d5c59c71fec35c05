"""`pretrain`, `sft`, `reward`, `ppo`, `dpo`: the training stages on a person's own data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatwright.cli.options import (
    WORKSPACE,
    Data,
    Json,
    Preset,
    Seed,
    Set,
    Toml,
    Where,
    find,
    open_run,
    register,
    settings_of,
    tell,
)  # fmt: skip

if TYPE_CHECKING:
    from chatwright.records import Prompt
    from chatwright.train.gold_measure import Gold
    from chatwright.workspace import Artefact

Model = Annotated[str, typer.Option(help="Folder, id or name of the model to start from.")]
Judges = Annotated[list[str] | None, typer.Option(help="A reward model; may be repeated for an ensemble. [reward]")]
GoldName = Annotated[
    list[str] | None,
    typer.Option(
        help="The independent judge: 'starter' (the small world's grader), or reward models; may be repeated."
    ),
]


def pretrain(
    data: Data,
    tokenizer: Annotated[str | None, typer.Option(help="Tokenizer to use; without it one is trained first.")] = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Train a base model from nothing on raw text.

    Example: chatwright pretrain articles/ --preset laptop --set pretrain.tokens=5000000
    """
    from chatwright.cycle import run as stages

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        corpus = stages.corpus(run, data)
        chosen = find(run.workspace, tokenizer, "tokenizer") if tokenizer else stages.tokenizer(run, corpus)
        artefact = stages.base(run, chosen, stages.tokens(run, corpus, chosen))
        register(run, artefact, alias="base")
    tell(run, artefact, json)


def sft(
    data: Data,
    base: Model = "base",
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Fine-tune a model on conversations: rows of {"messages": [{"role", "content"}]}.

    Example: chatwright sft demonstrations.jsonl --base base
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Demonstration

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        start = find(run.workspace, base, "pretrain", "sft", "model")
        artefact = stages.fine_tuned(run, start, _rows(run, data, Demonstration.from_json), _parents(data))
        register(run, artefact, alias="sft")
    tell(run, artefact, json)


def reward(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The fine-tuned model it grows from.")] = "sft",
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Train a reward model on rankings: rows of {"prompt", "responses", "ranking" or "preferred"}.

    Example: chatwright reward comparisons.jsonl --sft sft
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Comparison

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        model = find(run.workspace, start, "sft", "ppo", "dpo", "model")
        artefact = stages.reward_model(run, model, _rows(run, data, Comparison.from_json), _parents(data))
        register(run, artefact, alias="reward")
    tell(run, artefact, json)


def ppo(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The policy to begin with; also the KL reference.")] = "sft",
    reward: Judges = None,
    rehearse: Annotated[
        list[Path] | None, typer.Option(help="Demonstrations to rehearse meanwhile, against forgetting (PPO-ptx).")
    ] = None,
    heldout: Annotated[
        list[Path] | None, typer.Option(help="Prompts nothing is trained on; with --gold the run is watched on them.")
    ] = None,
    gold: GoldName = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Align a fine-tuned model to a reward model by PPO, on prompts: rows of {"prompt"} or {"messages"}.

    With --heldout and --gold the run stops where the reward rises and gold falls, and keeps what was best by gold.

    Example: chatwright ppo prompts.jsonl --rehearse demonstrations.jsonl --set ppo.kl_coef=0.05
    """
    from chatwright.cycle import run as stages
    from chatwright.cycle.gold import gold_check
    from chatwright.errors import InputError
    from chatwright.records import Demonstration, Prompt

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        policy = find(run.workspace, start, "sft", "ppo", "dpo", "model")
        judges = [find(run.workspace, name, "reward") for name in reward or ["reward"]]
        prompts, parents = _rows(run, data, Prompt.from_json), _parents(data)
        check = None
        if bool(gold) != bool(heldout):
            raise InputError("--gold and --heldout go together: a judge, and prompts that nothing is trained on")
        if gold and heldout:
            asked = _rows(run, heldout, Prompt.from_json)
            measure, named = _gold(run, gold, policy, judges, asked)
            check, parents = gold_check(measure, asked), parents | named | {"heldout": _parents(heldout)["files"]}
        known = _rows(run, rehearse, Demonstration.from_json) if rehearse else []
        if rehearse:
            parents["rehearsed"] = _parents(rehearse)["files"]
        artefact = stages.ppo_aligned(run, policy, judges, prompts, parents, known, check)
        register(run, artefact, alias="ppo")
    tell(run, artefact, json)


def best_of_n(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The model that answers.")] = "sft",
    reward: Judges = None,
    n: Annotated[int | None, typer.Option(help="Answers sampled per prompt. [best_of_n.n]")] = None,
    gold: GoldName = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Answer prompts n times each and keep what a reward model likes best, as demonstrations for `chatwright sft`.

    The figures say what picking among 1, 2, 4 ... n brings by the reward model and, with --gold, by that judge.

    Example: chatwright best-of-n prompts.jsonl --sft sft --reward reward --n 16
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Prompt

    settings = settings_of(preset, config, [*(set or []), *([f"best_of_n.n={n}"] if n is not None else [])], seed=seed)
    with open_run(settings, workspace) as run:
        model = find(run.workspace, start, "pretrain", "sft", "ppo", "dpo", "model")
        judges = [find(run.workspace, name, "reward") for name in reward or ["reward"]]
        prompts, parents = _rows(run, data, Prompt.from_json), _parents(data)
        measure, named = _gold(run, gold, model, judges, prompts) if gold else (None, {})
        artefact = stages.rejection_sampled(run, model, judges, prompts, parents | named, measure)
        register(run, artefact, alias="best-of-n")
    tell(run, artefact, json)


def dpo(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The policy to begin with; also the reference.")] = "sft",
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Align a fine-tuned model to rankings directly by DPO.

    Example: chatwright dpo comparisons.jsonl --sft sft --set dpo.beta=0.1
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Comparison

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        policy = find(run.workspace, start, "sft", "ppo", "dpo", "model")
        artefact = stages.dpo_aligned(run, policy, _rows(run, data, Comparison.from_json), _parents(data))
        register(run, artefact, alias="dpo")
    tell(run, artefact, json)


def _gold(
    run: Any, names: list[str], start: Artefact, proxies: list[Artefact], prompts: list[Prompt]
) -> tuple[Gold, dict[str, str]]:
    """The independent judge of answers to `prompts`, and how it is named among the parents."""
    from chatwright.cycle.gold import reward_gold, starter_gold

    if names == ["starter"]:
        return starter_gold(prompts), {"gold": "starter"}
    judges = [find(run.workspace, name, "reward") for name in names]
    named = {f"gold {i}" if i > 1 else "gold": judge.id for i, judge in enumerate(judges, start=1)}
    return reward_gold(start, judges, proxies), named


def _rows(run: Any, data: list[Path], parse: Any) -> list[Any]:
    """The usable rows; the others are named and counted on the terminal."""
    from chatwright.cycle.run import read_all

    with run.progress.stage("read", 1) as stage:
        rows = read_all(data, parse, stage, problems=run.problems)
        stage.advance(1)
    return rows


def _parents(data: list[Path]) -> dict[str, str]:
    from chatwright.text import inputs_id

    return {"files": inputs_id(data)}
