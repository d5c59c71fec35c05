"""The transformer: a decoder of the Llama/Qwen family in one readable file.

Pre-norm blocks with RMSNorm, rotary positions, grouped-query attention and SwiGLU (Touvron et al. 2023). Modules carry
the names of the Hugging Face checkpoints, so a state dict is a checkpoint. Axes in tensor names: B rows, T positions,
D width, V vocabulary, H heads, G key-value heads, W width of a head, S key positions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chatwright.model.cache import KVCache
from chatwright.model.rope import rope_frequencies
from chatwright.model.shape import Shape


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (Zhang & Sennrich 2019), computed in float32 whatever comes in."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not x.is_cuda:
            return _Normalised.apply(x, self.weight, self.eps)
        if x.dtype == torch.float32:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return self.weight.to(x.dtype) * F.rms_norm(x.float(), self.weight.shape, None, self.eps).to(x.dtype)


class _Normalised(torch.autograd.Function):
    """RMSNorm with its gradient in few passes: on a CPU torch derives it step by step, in twice the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(weight.dtype)
        scale = torch.linalg.vecdot(wide, wide).div_(x.shape[-1]).add_(eps).rsqrt_()[..., None]
        unit = (wide * scale).to(x.dtype)
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """dx = scale (g w - u mean(g w u)) and dw = sum g u, with u = x scale."""
        unit, scale, weight = ctx.saved_tensors
        grad, unit = grads[0].to(weight.dtype), unit.to(weight.dtype)
        both = (grad * unit).flatten(0, -2)
        mean = (both @ weight).view(scale.shape[:-1]).div_(-unit.shape[-1])[..., None]
        grad_x = (grad * weight).addcmul_(unit, mean).mul_(scale)
        return grad_x.to(grads[0].dtype), both.sum(0), None


class Linear(nn.Linear):
    """A linear layer that works in the dtype of its input: weights stay float32 for the optimiser."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class Attention(nn.Module):
    """Causal self-attention with rotary positions and shared key-value heads."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width, self.layer = shape.heads, shape.kv_heads, shape.head_width, layer
        self.q_proj = Linear(shape.width, shape.heads * shape.head_width, bias=shape.qkv_bias)
        self.k_proj = Linear(shape.width, shape.kv_heads * shape.head_width, bias=shape.qkv_bias)
        self.v_proj = Linear(shape.width, shape.kv_heads * shape.head_width, bias=shape.qkv_bias)
        self.o_proj = Linear(shape.heads * shape.head_width, shape.width, bias=False)
        if shape.qk_norm:
            self.q_norm = RMSNorm(shape.head_width, shape.norm_eps)
            self.k_norm = RMSNorm(shape.head_width, shape.norm_eps)
        self.qk_norm = shape.qk_norm

    def forward(self, x_BTD: Tensor, rope: Rotation, mask: Tensor | None, cache: KVCache | None) -> Tensor:
        B, T, _ = x_BTD.shape
        q = self.q_proj(x_BTD).view(B, T, self.heads, self.head_width)
        k = self.k_proj(x_BTD).view(B, T, self.kv_heads, self.head_width)
        v = self.v_proj(x_BTD).view(B, T, self.kv_heads, self.head_width)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, rope), rotate(k, rope)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # B H T W
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        out = attend(q, k, v, mask)
        return self.o_proj(out.transpose(1, 2).reshape(B, T, self.heads * self.head_width))


SHORT = 512
"""On a CPU, rows up to this many tokens attend by plain matrix products: with bfloat16 twice as fast as the kernel."""


def attend(q_BHTW: Tensor, k_BGSW: Tensor, v_BGSW: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(W) + mask) v, B H T W. `mask` holds 0 or -inf; without it plain causality, T = S."""
    groups = q_BHTW.shape[1] // k_BGSW.shape[1]
    if mask is None or not 1 < q_BHTW.shape[2] <= SHORT or q_BHTW.is_cuda:
        causal = mask is None and q_BHTW.shape[2] > 1
        return F.scaled_dot_product_attention(
            q_BHTW, k_BGSW, v_BGSW, attn_mask=mask, is_causal=causal, enable_gqa=groups > 1
        )
    if groups > 1:
        k_BGSW, v_BGSW = k_BGSW.repeat_interleave(groups, 1), v_BGSW.repeat_interleave(groups, 1)
    scores = (q_BHTW * q_BHTW.shape[-1] ** -0.5) @ k_BGSW.mT
    scores += mask
    return scores.softmax(-1) @ v_BGSW


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.width, shape.mlp_width, bias=False)
        self.up_proj = Linear(shape.width, shape.mlp_width, bias=False)
        self.down_proj = Linear(shape.mlp_width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.width, shape.norm_eps)
        self.self_attn = Attention(shape, layer)
        self.post_attention_layernorm = RMSNorm(shape.width, shape.norm_eps)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, rope: Rotation, mask: Tensor | None, cache: KVCache | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Embeddings, blocks and final norm: tokens to hidden states."""

    frequencies: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.width)
        self.layers = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.norm_eps)
        frequencies, self.rope_factor = rope_frequencies(
            shape.head_width, shape.rope_theta, shape.rope_scaling, shape.context
        )
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Hidden states B T D after the final norm, in `dtype`.

        `positions_BT` default to 0..T-1 in each row. `mask` (broadcastable to B 1 T S, True = may look) replaces plain
        causality; without it a query sees every earlier position of its row.
        """
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
        if mask is None and cache is None and (window := self.shape.sliding_window) is not None:
            mask = causal_mask(positions_BT, positions_BT, window)
        if mask is not None:
            mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
        rope = rotation(positions_BT, self.frequencies, self.rope_factor, dtype)
        x = self.embed_tokens(tokens_BT).to(dtype)
        for block in self.layers:
            x = block(x, rope, mask, cache)
        return self.norm(x)


class Decoder(nn.Module):
    """A causal language model: `model` makes hidden states, `lm_head` (perhaps tied) makes logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        if not shape.tie_embeddings:
            self.lm_head = Linear(shape.width, shape.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, **where: Tensor | None) -> Tensor:
        """Logits B T V in float32."""
        return self.logits(self.model(tokens_BT, **where))

    @property
    def head(self) -> Tensor:
        """The unembedding matrix V D."""
        return self.model.embed_tokens.weight if self.shape.tie_embeddings else self.lm_head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.head.to(hidden.dtype)).float()


Rotation = tuple[Tensor, Tensor]


def rotation(positions_BT: Tensor, frequencies: Tensor, factor: float, dtype: torch.dtype) -> Rotation:
    """cos and sin, each B T 1 W: the half frequencies stand twice, as the checkpoints expect."""
    angles = positions_BT[..., None].float() * frequencies
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(2)
    return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)


def rotate(x_BTHW: Tensor, rope: Rotation) -> Tensor:
    """Turns the pairs (i, i + W/2) of each head by the angle of its position."""
    cos, sin = rope
    first, second = x_BTHW.chunk(2, dim=-1)
    return x_BTHW * cos + torch.cat((-second, first), dim=-1) * sin


def causal_mask(
    queries_BT: Tensor,
    keys_BS: Tensor,
    window: int | None = None,
    query_documents: Tensor | None = None,
    key_documents: Tensor | None = None,
    query_openings: Tensor | None = None,
) -> Tensor:
    """True where a query may look, B 1 T S: at positions not after its own, within the window, in its own document or
    the one it opens with."""
    distance = queries_BT[:, :, None] - keys_BS[:, None, :]
    mask = distance >= 0
    if window is not None:
        mask &= distance < window
    if query_documents is not None and key_documents is not None:
        own = query_documents[:, :, None] == key_documents[:, None, :]
        if query_openings is not None:
            own |= query_openings[:, :, None] == key_documents[:, None, :]
        mask &= own
    return mask[:, None]


EMBEDDING_STD = 0.5
"""Standard deviation of fresh input embeddings that are not the output matrix too."""


def initialise(model: Decoder, seed: int) -> Decoder:
    """Fresh weights: normal embeddings, uniform fan-in matrices, zeros where a block writes to the stream.

    Input embeddings have deviation EMBEDDING_STD, output matrices 0.02, and so has one that is both. Zero output
    projections make every block the identity at first (as nanochat and muP do), which lets Muon start at its full
    learning rate.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")) or name.endswith("bias"):
                weight.zero_()
            elif "embed_tokens" in name and not model.shape.tie_embeddings:
                weight.normal_(0.0, EMBEDDING_STD, generator=generator)
            elif "embed_tokens" in name or "lm_head" in name:
                weight.normal_(0.0, 0.02, generator=generator)
            elif weight.ndim == 2:
                bound = 3**0.5 / weight.shape[1] ** 0.5
                weight.uniform_(-bound, bound, generator=generator)
            else:
                weight.fill_(1.0)
    return model
