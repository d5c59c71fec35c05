"""Rotary position embeddings (Su et al. 2021), with the scalings of long-context checkpoints."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def rope_frequencies(
    head_width: int, theta: float, scaling: dict[str, Any] | None, context: int
) -> tuple[Tensor, float]:
    """Angular frequencies (head_width/2,) in radians per position, and the factor on cos and sin.

    Scalings: `linear` (Chen et al. 2023), `llama3` (by wavelength, as released with Llama 3.1), `yarn`
    (Peng et al. 2023, eq. 17-23). All in float32, as the checkpoints were trained.
    """
    exponents = torch.arange(0, head_width, 2, dtype=torch.float32) / head_width
    frequencies = 1.0 / theta**exponents
    if scaling is None:
        return frequencies, 1.0
    factor = float(scaling["factor"])
    if scaling["rope_type"] == "linear":
        return frequencies / factor, 1.0
    if scaling["rope_type"] == "llama3":
        return _llama3(frequencies, factor, scaling), 1.0
    return _yarn(frequencies, factor, scaling, head_width, theta, context)


def _llama3(frequencies: Tensor, factor: float, scaling: dict[str, Any]) -> Tensor:
    """Long wavelengths are stretched by `factor`, short ones kept, those between blended."""
    trained = float(scaling["original_max_position_embeddings"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    turns = trained * frequencies / (2 * math.pi)
    blend = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return frequencies * (blend + (1 - blend) / factor)


def _yarn(
    frequencies: Tensor, factor: float, scaling: dict[str, Any], head_width: int, theta: float, context: int
) -> tuple[Tensor, float]:
    """Dimensions that turn often are kept, those that turn rarely are stretched; attention is tempered by `mscale`."""
    trained = float(scaling.get("original_max_position_embeddings") or context)

    def dimension_of(turns: float) -> float:
        return head_width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(dimension_of(float(scaling.get("beta_fast") or 32))), 0)
    high = min(math.ceil(dimension_of(float(scaling.get("beta_slow") or 1))), head_width - 1)
    ramp = ((torch.arange(head_width // 2) - low) / max(high - low, 0.001)).clamp(0.0, 1.0)
    stretched = frequencies / factor * ramp + frequencies * (1 - ramp)

    def mscale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    attention = scaling.get("attention_factor")
    if attention is None:
        over, under = scaling.get("mscale"), scaling.get("mscale_all_dim")
        attention = mscale(float(over)) / mscale(float(under)) if over and under else mscale(1.0)
    return stretched, float(attention)
