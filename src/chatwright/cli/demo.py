"""`demo`: an assistant from nothing, built before your eyes and served."""

from __future__ import annotations

import json as json_
from typing import Annotated, Any

import typer

from chatwright.cli.options import WORKSPACE, Json, Port, Seed, Set, Toml, Where, complain, settings_of


def demo(
    workspace: Where = WORKSPACE,
    serve: Annotated[bool, typer.Option(help="Show the build on a page and serve the assistant afterwards.")] = True,
    port: Port = None,
    preset: Annotated[str, typer.Option(help="starter, or tiny for a quick look at the machinery.")] = "starter",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Build an assistant on the embedded small world, from raw text to PPO, and serve it.

    Interrupted at any moment, the same command goes on where it stopped; once built, it serves at once.

    \b
    Example: chatwright demo --workspace .chatwright
    """
    settings = settings_of(preset, config, set, seed=seed, port=port)
    background: Any = None
    if serve:
        from chatwright import product

        workspace.mkdir(parents=True, exist_ok=True)
        background = product.start_background(settings.serve, workspace)
        complain(f"the build can be watched at {background.url}")
        if background.setup:
            complain(f"make the first account, once and within a day, at {background.setup}")
    try:
        table = _build(settings, workspace)
        if json:
            print(json_.dumps(table), flush=True)
        else:
            _show(table)
        if background is not None:
            complain(f"your assistant answers at {background.url} (stop with Ctrl-C)")
            background.process.wait()
    finally:
        if background is not None:
            background.stop()


def _build(settings: Any, workspace: Any) -> dict[str, Any]:
    from chatwright.cli.options import open_run

    with open_run(settings, workspace) as run:
        from chatwright.cycle.first_build import build

        evaluation, seconds = build(settings, run.workspace, run.progress)
    wanted = ("stages", "win_rate_over_sft", "win_rate_ci", "reward_pair_accuracy", "rater_ceiling", "served")
    return {**{key: evaluation.table[key] for key in wanted}, "seconds_total": round(seconds, 1)}


def _show(table: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    view = Table("stage", "gold score", "facts", "arithmetic", "harmful refused", "look-alikes refused")
    for stage in table["stages"]:
        low, high = stage["gold_ci"]
        cells = [stage[key] for key in ("facts", "arithmetic", "harmful_refused", "lookalikes_refused")]
        view.add_row(stage["name"], f"{stage['gold']:.2f} ({low:.2f} to {high:.2f})",
                     *("not measured" if c is None else f"{c:.2f}" for c in cells))  # fmt: skip
    console = Console()
    console.print(view)
    low, high = table["win_rate_ci"]
    console.print(
        f"The aligned model wins {table['win_rate_over_sft']:.0%} of held-out prompts against the fine-tuned one "
        f"({low:.0%} to {high:.0%}). Raters and grades are simulated. Built in {table['seconds_total']:.0f} s.",
        highlight=False,
    )
