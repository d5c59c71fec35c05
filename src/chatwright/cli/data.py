"""`curate` and `tokenizer`: from raw files to a corpus and its alphabet."""

from __future__ import annotations

from chatwright.cli.options import (
    WORKSPACE,
    Data,
    Json,
    Preset,
    Seed,
    Set,
    Toml,
    Where,
    open_run,
    register,
    settings_of,
    tell,
)  # fmt: skip


def curate(
    data: Data,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Clean raw text: quality rules, duplicates, personal data. Every dropped document keeps its reason.

    \b
    Example: chatwright curate articles/ notes.jsonl.gz --set text.min_words=20
    """
    from chatwright.cycle import run as stages

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        artefact = stages.corpus(run, data)
        register(run, artefact)
    tell(run, artefact, json)


def tokenizer(
    data: Data,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Train a byte-level BPE tokenizer on raw files, which are curated first.

    \b
    Example: chatwright tokenizer articles/ --set tokenizer.vocab_size=8192
    """
    from chatwright.cycle import run as stages

    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        artefact = stages.tokenizer(run, stages.corpus(run, data))
        register(run, artefact)
    tell(run, artefact, json)
