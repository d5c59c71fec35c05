"""The shape of a new decoder, from its settings."""

import pytest
import torch

from chatwright.config import ModelConfig
from chatwright.model.decoder import Decoder
from chatwright.train.pretrain import new_shape


@pytest.mark.parametrize(("head_width", "wanted"), [(0, 16), (24, 24)])
def test_heads_share_the_width_unless_they_have_one_of_their_own(head_width: int, wanted: int) -> None:
    config = ModelConfig(layers=1, width=32, heads=2, kv_heads=1, head_width=head_width, mlp_width=48, context=16)
    model = Decoder(new_shape(config, 64))
    attention = model.get_submodule("model.layers.0.self_attn")
    assert attention.get_parameter("q_proj.weight").shape == (2 * wanted, 32)
    assert attention.get_parameter("k_proj.weight").shape == (wanted, 32)
    assert attention.get_parameter("o_proj.weight").shape == (32, 2 * wanted)
    assert model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 5, 64)
    assert sum(p.numel() for p in model.parameters()) == model.shape.parameters
