"""Losses and gradients next to TRL's own trainers, on the same weights and the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import random_decoder, random_tokens, tiny_tokenizer
from tests.train.worlds import SHARED

from chatwright.config import DpoConfig, PreferenceLoss
from chatwright.model.checkpoint import load_decoder, save_checkpoint
from chatwright.model.packing import Example, best_fit, pack
from chatwright.train.advantages import whiten
from chatwright.train.dpo import Group, PreferenceSet, batch_groups, pair_loss, reference_logprobs, sequence_logprobs
from chatwright.train.reward import Group as RankedGroup
from chatwright.train.reward import batch_groups as batch_ranked
from chatwright.train.reward import reward_loss
from chatwright.train.scoring import from_decoder, load_scoring, save_scoring

PROMPTS = [random_tokens(5 + i, 10 + i) for i in range(4)]
BETTER = [random_tokens(3 + 2 * i, 20 + i) for i in range(4)]
WORSE = [random_tokens(9 - 2 * i, 30 + i) for i in range(4)]
QUIET: dict[str, Any] = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "max_length": 64}
TEXT = {"prompt": "the old mill", "chosen": " turns", "rejected": " stands"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, another model as its reference, and a reward model, all over one tokenizer."""
    made = tmp_path_factory.mktemp("trl")
    for name, seed in (("policy", 1), ("reference", 2)):
        save_checkpoint(made / name, random_decoder(seed), tiny_tokenizer())
    judge = from_decoder(made / "policy", 3)
    save_scoring(made / "judge", made / "policy", dict(judge.named_parameters()), 0.0, 1.0)
    return made


def hugging_face(folder: Path, name: str) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if name == "judge":
        return AutoModelForSequenceClassification.from_pretrained(folder / name, num_labels=1)
    return AutoModelForCausalLM.from_pretrained(folder / name)


def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "policy")


def assert_same_gradients(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    found = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert found
    for name, parameter in ours.named_parameters():
        if name in found and parameter.grad is not None:
            scale = float(found[name].abs().max()) + 1e-8
            assert float((parameter.grad - found[name]).abs().max()) < 2e-5 * scale + 1e-8, name


@pytest.mark.parametrize(("loss", "theirs", "beta", "smoothing"), [
    ("dpo", "sigmoid", 0.3, 0.0), ("robust", "robust", 0.3, 0.2), ("ipo", "ipo", 0.4, 0.0),
    ("norm", "sigmoid_norm", 5.0, 0.0),
])  # fmt: skip
def test_dpo_family(
    loss: PreferenceLoss, theirs: str, beta: float, smoothing: float, folder: Path, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    trainer = DPOTrainer(
        hugging_face(folder, "policy"), ref_model=hugging_face(folder, "reference"),
        args=DPOConfig(output_dir=str(tmp_path), loss_type=[theirs], beta=beta, label_smoothing=smoothing, **QUIET),
        train_dataset=Dataset.from_list([TEXT]), processing_class=tokenizer(folder),
    )  # fmt: skip
    rows = [
        {"prompt_ids": p, "chosen_ids": w, "rejected_ids": b} for p, w, b in zip(PROMPTS, BETTER, WORSE, strict=True)
    ]
    wanted = trainer.compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=0)(rows))
    wanted.backward()

    answers = [
        Example(p + answer, [0.0] * len(p) + [1.0] * len(answer))
        for p, w, b in zip(PROMPTS, BETTER, WORSE, strict=True)
        for answer in (w, b)
    ]
    data = PreferenceSet(answers, [Group(2 * i, 2, [(0, 1, 1.0)], 1.0) for i in range(4)], [])
    reference = reference_logprobs(load_decoder(folder / "reference"), answers, 48, 96, torch.float32, "cpu")
    ours = load_decoder(folder / "policy")
    config = DpoConfig(**(SHARED | {"loss": loss, "beta": beta, "label_smoothing": smoothing}))
    total, _ = pair_loss(config, torch.float32)(ours, batch_groups(data, data.groups, reference, 48))
    (total / 4).backward()
    assert float(total) / 4 == pytest.approx(float(wanted), rel=1e-5)
    assert_same_gradients(ours, trainer.model)


def test_kto(folder: Path, tmp_path: Path) -> None:
    """Two good and two bad answers, and as strangers the answers in another order, as TRL pairs them."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    from chatwright.train.preference_losses import Side, preference_loss

    rows = [{"prompt": "the old mill", "completion": f" turns {i}", "label": i % 2 == 0} for i in range(4)]
    trainer = KTOTrainer(
        hugging_face(folder, "policy"), ref_model=hugging_face(folder, "reference"),
        args=KTOConfig(output_dir=str(tmp_path), beta=0.3, per_device_train_batch_size=4, **QUIET),
        train_dataset=Dataset.from_list(rows), processing_class=tokenizer(folder),
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    wanted = float(trainer.compute_loss(trainer.model, batch))

    def gains(prefix: str) -> torch.Tensor:
        """log pi / ref of every row of the batch, by our own decoder."""
        masks = batch[f"{prefix}completion_mask"]
        examples = [
            Example([int(t) for t in tokens[seen.bool()]], [float(m) for m in mask[seen.bool()]])
            for tokens, seen, mask in zip(
                batch[f"{prefix}input_ids"], batch[f"{prefix}attention_mask"], masks, strict=True
            )
        ]
        packed = pack(examples, best_fit([len(e.tokens) for e in examples], 48))
        with torch.no_grad():
            both = [sequence_logprobs(load_decoder(folder / n), packed, torch.float32) for n in ("policy", "reference")]
        return both[0] - both[1]

    each, label = gains(""), torch.as_tensor(batch["label"]).bool()
    z = max(0.0, float(gains("KL_").mean()))
    zeros, ones = torch.zeros(2), torch.ones(2)
    sides = Side(each[label], zeros, ones), Side(each[~label], zeros, ones)
    ours, _ = preference_loss("kto", *sides, beta=0.3, baseline=z)
    assert float(ours.mean()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("center", [0.0, 0.05])
def test_reward_model(center: float, folder: Path, tmp_path: Path) -> None:
    """K = 2 is the pairwise loss."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer
    from trl.trainer.reward_trainer import DataCollatorForPreference

    rows = [{"chosen_ids": p + w, "rejected_ids": p + b} for p, w, b in zip(PROMPTS, BETTER, WORSE, strict=True)]
    trainer = RewardTrainer(
        hugging_face(folder, "judge"), train_dataset=Dataset.from_list(rows), processing_class=tokenizer(folder),
        args=RewardConfig(output_dir=str(tmp_path), center_rewards_coefficient=center or None, **QUIET),
    )  # fmt: skip
    pad = trainer.model.config.pad_token_id
    wanted = trainer.compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=pad)(rows))
    wanted.backward()
    ours = load_scoring(folder / "judge")
    groups = [RankedGroup([r["chosen_ids"], r["rejected_ids"]], [(0, 1)], [1.0], 1.0) for r in rows]
    total, _ = reward_loss(center, torch.float32)(ours, batch_ranked(groups, 48))
    (total / 4).backward()
    assert float(total) / 4 == pytest.approx(float(wanted), rel=1e-5)
    assert_same_gradients(ours, trainer.model)


def test_whitening_differs_from_trl_by_bessels_correction_only() -> None:
    from trl.experimental.ppo.ppo_trainer import masked_whiten

    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    mask = (torch.arange(7) < torch.tensor([7, 3, 5, 1, 6])[:, None]).double()
    count = float(mask.sum())
    theirs = masked_whiten(values, mask.bool()) * mask
    assert torch.allclose(whiten(values, mask), theirs * (count / (count - 1)) ** 0.5, atol=1e-7)
