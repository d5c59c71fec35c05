"""`pretrain`, `sft`, `reward`, `ppo`, `grpo`, `dpo`: the training stages on a person's own data."""

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
    exports_in,
    files_id,
    find,
    open_run,
    read_rows,
    register,
    settings_of,
    tell,
)  # fmt: skip
from chatwright.errors import InputError

if TYPE_CHECKING:
    from chatwright.records import Prompt
    from chatwright.train.gold_measure import Gold
    from chatwright.workspace import Artefact

POLICIES = ("sft", "ppo", "grpo", "dpo", "model")
"""Kinds of models that answer, and may be aligned further."""
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

    \b
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
    mix: Annotated[
        list[str] | None,
        typer.Option(help="FILE=SHARE: other conversations, or texts against forgetting, as a share of every step."),
    ] = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Fine-tune a model on conversations: rows of {"messages": [{"role", "content"}]}.

    \b
    Example: chatwright sft .chatwright/artefacts/world-*/demonstrations.jsonl.gz --base base --set sft.lora.rank=8
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Demonstration
    from chatwright.train.sft import Mixed, learnable

    settings = settings_of(preset, config, set, seed=seed)
    shares = [_share(one) for one in mix or ()]
    with open_run(settings, workspace) as run:
        start = find(run.workspace, base, "pretrain", "sft", "model")
        rows, parents = read_rows(run, data, Demonstration.from_json), files_id(data)
        parents |= exports_in(rows)
        mixed = []
        for number, (file, share) in enumerate(shares):
            mixed.append(Mixed(read_rows(run, [file], learnable), share))
            parents[f"mixed_{number}"] = files_id([file])["files"]
        artefact = stages.fine_tuned(run, start, rows, parents, mixed)
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

    \b
    Example: chatwright reward .chatwright/artefacts/comparisons-*/comparisons.jsonl.gz --sft sft
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Comparison

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        model = find(run.workspace, start, *POLICIES)
        rows = read_rows(run, data, Comparison.from_json)
        artefact = stages.reward_model(run, model, rows, files_id(data) | exports_in(rows))
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

    \b
    Example: chatwright ppo .chatwright/artefacts/world-*/train_prompts.jsonl.gz --sft sft --reward reward
    """
    from chatwright.cycle import run as stages
    from chatwright.cycle.gold import gold_check
    from chatwright.errors import InputError
    from chatwright.records import Demonstration, Prompt

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        policy = find(run.workspace, start, *POLICIES)
        judges = [find(run.workspace, name, "reward") for name in reward or ["reward"]]
        prompts, parents = read_rows(run, data, Prompt.from_json), files_id(data)
        check = None
        if bool(gold) != bool(heldout):
            raise InputError("--gold and --heldout go together: a judge, and prompts that nothing is trained on")
        if gold and heldout:
            asked = read_rows(run, heldout, Prompt.from_json)
            measure, named = _gold(run, gold, policy, judges, asked)
            check, parents = gold_check(measure, asked), parents | named | {"heldout": files_id(heldout)["files"]}
        known = read_rows(run, rehearse, Demonstration.from_json) if rehearse else []
        if rehearse:
            parents["rehearsed"] = files_id(rehearse)["files"]
        artefact = stages.ppo_aligned(run, policy, judges, prompts, parents, known, check)
        register(run, artefact, alias="ppo")
    tell(run, artefact, json)


def grpo(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The policy to begin with; also the KL reference.")] = "sft",
    reward: Annotated[str | None, typer.Option(help="The reward model that scores answers.")] = None,
    verify: Annotated[
        str | None, typer.Option(help="Instead of a reward model: exact (the right answer) or tests (unit tests).")
    ] = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Learn from groups of answers (RLOO, GRPO, Dr.GRPO), scored by a reward model or checked: rows of {"prompt"},
    for --verify exact with "answer", for --verify tests with "tests".

    \b
    Example: chatwright grpo .chatwright/artefacts/world-*/train_prompts.jsonl.gz --sft sft --verify exact
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Prompt
    from chatwright.train.verifiers import Limits, checkable, verifier

    if (reward is None) == (verify is None):
        raise InputError("name what rewards the answers: either --reward MODEL or --verify exact or --verify tests")
    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        policy = find(run.workspace, start, *POLICIES)
        if verify is not None:
            judge = verifier(verify, Limits(settings.grpo.test_seconds, settings.grpo.test_memory_mb))
            prompts = read_rows(run, data, checkable(judge))
        else:
            judge = find(run.workspace, reward or "", "reward")
            prompts = read_rows(run, data, Prompt.from_json)
        artefact = stages.grpo_aligned(run, policy, judge, prompts, files_id(data))
        register(run, artefact, alias="grpo")
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

    \b
    Example: chatwright best-of-n .chatwright/artefacts/world-*/heldout_prompts.jsonl.gz --reward reward --n 16
    """
    from chatwright.cycle import run as stages
    from chatwright.records import Prompt

    settings = settings_of(preset, config, [*(set or []), *([f"best_of_n.n={n}"] if n is not None else [])], seed=seed)
    with open_run(settings, workspace) as run:
        model = find(run.workspace, start, "pretrain", *POLICIES)
        judges = [find(run.workspace, name, "reward") for name in reward or ["reward"]]
        prompts, parents = read_rows(run, data, Prompt.from_json), files_id(data)
        measure, named = _gold(run, gold, model, judges, prompts) if gold else (None, {})
        artefact = stages.rejection_sampled(run, model, judges, prompts, parents | named, measure)
        register(run, artefact, alias="best-of-n")
    tell(run, artefact, json)


def dpo(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The policy to begin with; also the reference.")] = "sft",
    online: Annotated[
        bool, typer.Option("--online", help="DATA are prompts: answer them, rank the answers by --reward, and again.")
    ] = False,
    reward: Annotated[str, typer.Option(help="The reward model that ranks, with --online.")] = "reward",
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Align a fine-tuned model to rankings directly by DPO.

    \b
    Example: chatwright dpo .chatwright/artefacts/comparisons-*/comparisons.jsonl.gz --sft sft --set dpo.beta=0.1
    """
    from chatwright.cycle import run as stages
    from chatwright.cycle.online_dpo import online_dpo
    from chatwright.records import Comparison, Prompt

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        policy = find(run.workspace, start, *POLICIES)
        if online:
            judge = find(run.workspace, reward, "reward")
            artefact = online_dpo(run, policy, judge, read_rows(run, data, Prompt.from_json), files_id(data))
        else:
            rows = read_rows(run, data, Comparison.from_json)
            artefact = stages.dpo_aligned(run, policy, rows, files_id(data) | exports_in(rows))
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


def _share(option: str) -> tuple[Path, float]:
    """FILE=SHARE; raises InputError where the share is none."""
    name, _, share = option.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = 0.0
    if not name or not 0 < value < 1:
        raise InputError(f"--mix {option!r} must read FILE=SHARE with a share between 0 and 1, as articles.jsonl=0.1")
    return Path(name), value
