"""Models with one number per position: reward models and value models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from chatwright.errors import CheckpointError
from chatwright.files import write_json
from chatwright.model.checkpoint import load_decoder, load_shape, load_weights, read_json, save_descendant
from chatwright.model.decoder import Linear, Trunk
from chatwright.model.packing import Example, Packed, hidden_states, passes
from chatwright.model.shape import Shape

SCALE_FILE = "reward.json"


class ScoringModel(nn.Module):
    """A trunk with a linear head of one output.

    The head starts at normal(0, 1/sqrt(D+1)) without bias (Stiennon et al. 2020). `mean` and `std` turn raw scores into
    the normalised rewards that PPO sees; they belong to the checkpoint. A second head for `rubric` marks is there in
    training only.
    """

    def __init__(self, shape: Shape, rubric: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        self.score = Linear(shape.width, 1, bias=False)
        self.rubric = Linear(shape.width, rubric, bias=False) if rubric else None
        self.mean, self.std = 0.0, 1.0

    def forward(self, batch: Packed, dtype: torch.dtype = torch.float32) -> Tensor:
        """Scores at every position, B T, float32."""
        return self.score(hidden_states(self.model, batch, dtype)).float()[..., 0]

    def final_hidden(self, batch: Packed, dtype: torch.dtype = torch.float32) -> Tensor:
        """Hidden state at the last token of each packed sequence, N D."""
        batch = batch.to(str(self.score.weight.device))
        return hidden_states(self.model, batch, dtype)[batch.ends]

    def final_scores(self, batch: Packed, dtype: torch.dtype = torch.float32) -> Tensor:
        """Raw score at the last token of each packed sequence, N."""
        return self.score(self.final_hidden(batch, dtype)).float()[:, 0]


def from_decoder(folder: Path, seed: int, *, rubric: int = 0) -> ScoringModel:
    """A scoring model whose trunk is that of the decoder in `folder`, with fresh heads."""
    decoder = load_decoder(folder)
    model = ScoringModel(decoder.shape, rubric)
    model.model.load_state_dict(decoder.model.state_dict())
    std = (decoder.shape.width + 1) ** -0.5
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for head in (model.score, model.rubric):
            if head is not None:
                head.weight.normal_(0.0, std, generator=generator)
    return model


def save_scoring(out: Path, parent: Path, state: Mapping[str, Tensor], mean: float, std: float) -> None:
    """A folder that transformers opens as a sequence classifier with one label, plus the normalisation."""
    save_descendant(out, parent, {name: tensor for name, tensor in state.items() if not name.startswith("rubric.")})
    config = read_json(out / "config.json")
    family = str(config["architectures"][0]).removesuffix("ForCausalLM")
    config |= {
        "architectures": [f"{family}ForSequenceClassification"],
        "num_labels": 1,
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
    }
    write_json(out / "config.json", config)
    write_json(out / SCALE_FILE, {"mean": mean, "std": std})


def load_scoring(folder: Path) -> ScoringModel:
    """A reward model saved by `save_scoring`; raises CheckpointError for any other folder."""
    if not (folder / SCALE_FILE).exists():
        raise CheckpointError(f"{folder} is not a reward model; make one with `chatwright reward`")
    model = ScoringModel(load_shape(folder))
    try:
        model.load_state_dict(load_weights(folder))
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {folder} do not fit its config.json ({error})") from None
    scale = read_json(folder / SCALE_FILE)
    model.mean, model.std = float(scale["mean"]), float(scale["std"])
    return model.eval()


@torch.no_grad()
def score_sequences(
    model: ScoringModel, sequences: Sequence[Sequence[int]], dtype: torch.dtype, micro_tokens: int = 8192
) -> Tensor:
    """Normalised rewards, N: (raw score at the last token - mean) / std. Packed without padding waste."""
    examples = [Example(s, [0.0] * len(s)) for s in sequences]
    width = max(max(len(s) for s in sequences), min(256, model.shape.context))
    scores = torch.empty(len(sequences))
    for order, batch in passes(examples, width, micro_tokens):
        scores[torch.tensor(order)] = model.final_scores(batch, dtype).cpu()
    return (scores - model.mean) / model.std
