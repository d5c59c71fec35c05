"""Adapters saved here open in the peft library and give the same logits, and merge there as they merge here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.train.worlds import base, run_sft

from chatwright.config import LoraConfig
from chatwright.model.checkpoint import load_decoder
from chatwright.progress import Progress


@pytest.mark.parametrize("targets", ["all", "attention"])
def test_adapter_opens_in_peft_with_the_same_logits(targets: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made = run_sft(tmp_path, Progress(), lora=LoraConfig(rank=4, alpha=8.0, targets=targets))
    ours = load_decoder(made.path)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base(tmp_path)), made.path / "adapter")
    tokens = torch.tensor([[3, 7, 11, 5, 9, 2]])
    with torch.no_grad():
        wanted = ours(tokens)
        assert float((theirs(tokens).logits - wanted).abs().max()) < 1e-4
        whole = theirs.merge_and_unload()
        assert float((whole(tokens).logits - wanted).abs().max()) < 1e-4
        plain = AutoModelForCausalLM.from_pretrained(base(tmp_path))
        assert float((plain(tokens).logits - wanted).abs().max()) > 1e-3
