"""The card behind a model's name tells what the manifests tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.product.running import Running

from chatwright.product.cards import card_of
from chatwright.workspace import finish


def made(folder: Path, kind: str, parents: dict[str, str], figures: dict[str, Any], created: str = "") -> str:
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"made": "{folder.name}"}}')
    return finish(folder, kind=kind, name=kind, parents=parents, config={}, seed=1, figures=figures).id


def test_a_card_has_the_figures_of_the_evaluation_that_measured_the_model(tmp_path: Path) -> None:
    sft = made(
        tmp_path / "sft-1", "sft", {"base": "pretrain-1"}, {"heldout_loss": 1.5, "steps": 7, "curve": [], "ok": True}
    )
    stages = [{"name": "sft", "gold": 0.64, "gold_ci": [0.6, 0.7], "seconds": 9.0}, {"name": "ppo", "gold": 0.7}]
    card = card_of(tmp_path / "sft-1")
    assert card is not None
    assert card["figures"] == {"heldout_loss": 1.5, "steps": 7}
    made(tmp_path / "evaluation-1", "evaluation", {"sft": sft, "ppo": "ppo-9"}, {"stages": stages})
    card = card_of(tmp_path / "sft-1")
    assert card is not None
    assert card["figures"] == {"gold": 0.64}
    assert (card["kind"], card["parents"]) == ("sft", ["pretrain-1"])


def test_a_folder_without_a_manifest_has_no_card(tmp_path: Path, gateway: Running) -> None:
    assert card_of(tmp_path) is None
    assert card_of(None) is None
    rows = gateway.client.get("/api/models").json()["data"]
    assert [(row["name"], row["card"], row["default"]) for row in rows] == [("sft", None, False), ("ppo", None, True)]
