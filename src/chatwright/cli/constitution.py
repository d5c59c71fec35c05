"""`constitution`: a model revises its answers under a constitution and learns the revisions."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    files_id,
    find,
    open_run,
    read_rows,
    register,
    settings_of,
    tell,
)  # fmt: skip

if TYPE_CHECKING:
    from chatwright.cycle.run import Run
    from chatwright.records import Prompt


def constitution(
    data: Data,
    start: Annotated[str, typer.Option("--sft", help="The model to align; also its own critic.")] = "sft",
    constitution: Annotated[Path | None, typer.Option(help="A constitution; without it Chatwright's own.")] = None,
    critic: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint that criticises instead.")] = None,
    critic_model: Annotated[str, typer.Option(help="The endpoint's model; else the first one it lists.")] = "",
    critic_key: Annotated[
        str, typer.Option(envvar="CHATWRIGHT_CRITIC_KEY", show_envvar=True, help="The endpoint's key.")
    ] = "",
    harmless: Annotated[
        list[Path] | None, typer.Option(help="More prompts, on which a refusal counts as over-refusal.")
    ] = None,
    helpful: Annotated[
        list[Path] | None, typer.Option(help="Demonstrations mixed in, so that the model stays helpful.")
    ] = None,
    feedback: Annotated[
        bool, typer.Option("--feedback", help="Afterwards compare answers of the new model, as rows for `reward`.")
    ] = False,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Align a fine-tuned model to a constitution: its answers to prompts are criticised, revised and learned.

    \b
    Example: chatwright constitution .chatwright/artefacts/world-*/train_prompts.jsonl.gz --sft sft
    """
    from chatwright.cycle import constitution as stages
    from chatwright.records import Demonstration
    from chatwright.train.constitutional.endpoint import EndpointCritic
    from chatwright.train.constitutional.principles import default_constitution, load_constitution

    settings = settings_of(preset, config, set, seed=seed)
    chosen = load_constitution(constitution) if constitution else default_constitution()
    with open_run(settings, workspace) as run:
        model = find(run.workspace, start, "sft", "ppo", "dpo", "model")
        prompts, parents = _prompts(run, data, harmless)
        known = read_rows(run, helpful, Demonstration.from_json) if helpful else []
        sources = {"helpful": files_id(helpful)["files"]} if helpful else {}
        endpoint = settings.constitution.endpoint
        with EndpointCritic(critic, endpoint, model=critic_model, key=critic_key) if critic else nullcontext() as judge:
            revised = stages.revisions(run, model, prompts, chosen, parents, judge)
            artefact = stages.constitution_tuned(run, model, revised, known, sources)
            register(run, artefact, alias="constitution")
            made = {"revisions": revised}
            if feedback:
                made["feedback"] = stages.feedback(run, artefact, model, prompts, chosen, parents, judge)
                register(run, made["feedback"])
    tell(run, artefact, json, **made)


def _prompts(run: Run, data: list[Path], harmless: list[Path] | None) -> tuple[list[Prompt], dict[str, str]]:
    """All prompts, those of `harmless` marked as such, and the files they come from."""
    from dataclasses import replace

    from chatwright.records import Prompt

    prompts, parents = read_rows(run, data, Prompt.from_json), files_id(data)
    if harmless:
        known = read_rows(run, harmless, Prompt.from_json)
        prompts += [replace(p, truth={**p.truth, "harmless": True}) for p in known]
        parents["harmless"] = files_id(harmless)["files"]
    return prompts, parents
