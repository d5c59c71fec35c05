"""Muon for the matrices inside the blocks, AdamW for everything else (or for all), one trapezoid schedule for both.

Muon (Jordan 2024) replaces a matrix gradient by the nearest orthogonal matrix of its momentum. The polar factor is
found by five steps of Polar Express (Amsel et al. 2025), which needs only multiplications; matrices of one shape go
through together, in bfloat16 where the activations are. `torch.optim.Muon` uses it whatever the machine, which is ten
times slower on CPUs without it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from chatwright.config import OptimConfig
from chatwright.model.decoder import EMBEDDING_STD

# Coefficients (a, b, c) of p(X) = aX + bXX'X + c(XX')^2 X, optimal for five steps from singular values >= 1e-3.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)


SAFETY = 1.01
"""All steps but the last aim this much lower, or bfloat16 carries a singular value so high that the next step
diverges: without it a starter base model in bfloat16 reached 0.52 to 0.63 bits per byte instead of 0.36 to 0.38."""


def orthogonalise(matrices: Tensor) -> Tensor:
    """The polar factor of each matrix (batch rows columns): singular values near 1, same singular vectors."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-7)
    for a, b, c in (*((a / SAFETY, b / SAFETY**3, c / SAFETY**5) for a, b, c in POLAR_EXPRESS[:-1]), POLAR_EXPRESS[-1]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # a x + (b g + c g g) x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, Nesterov, orthogonalised in `dtype`; the step of an m x n matrix is scaled by sqrt(max(1, m/n))."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                directions = [self._direction(p, group["momentum"]) for p in parameters]
                updates = orthogonalise(torch.stack(directions).to(self.dtype))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    if group["weight_decay"]:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(_like(update, parameter), alpha=scale)

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov momentum of the gradient, whole even where the parameter is sharded over ranks."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer, grad = state["momentum"], parameter.grad
        assert grad is not None
        buffer.lerp_(grad, 1 - momentum)
        return _whole(grad.lerp(buffer, momentum))


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[attr-defined]


def _like(update: Tensor, parameter: Tensor) -> Tensor:
    """`update` sharded as `parameter` is."""
    if not hasattr(parameter, "device_mesh"):
        return update
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(update, parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]


def build_optimizers(
    model: nn.Module, config: OptimConfig, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """[Muon over the block matrices, AdamW over embeddings, heads, norms, biases and adapters]; frozen weights in none.

    With `matrices="adamw"` AdamW takes the block matrices too, at its own rate. Weight decay shrinks only these.
    Where the shape does not tie them, input embeddings have a rate of their own: a row is only moved by the tokens that
    show it, and may be moved far (nanochat does the same). The rate is meant for embeddings as large as ours are at
    first; an imported model whose embeddings are smaller gets as much less.
    """
    matrices, rest, embeddings = [], [], []
    tied = bool(getattr(getattr(model, "shape", None), "tie_embeddings", True))
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if ".layers." in f".{name}" and parameter.ndim == 2 and ".lora_" not in name:
            matrices.append(parameter)
        elif "embed_tokens" in name and config.embed_lr and not tied:
            embeddings.append(parameter)
        else:
            rest.append(parameter)
    groups = [{"params": rest}, *({"params": [e], "lr": config.embed_lr * _size(e)} for e in embeddings)]
    muon = matrices and config.matrices == "muon"
    if matrices and not muon:
        groups.append({"params": matrices, "weight_decay": config.weight_decay})
    betas = (config.adam_beta1, 0.95)
    adam = torch.optim.AdamW(groups, lr=config.adam_lr, betas=betas, eps=1e-8, weight_decay=0.0, fused=True)
    optimizers: list[torch.optim.Optimizer] = [adam]
    if muon:
        optimizers.insert(0, Muon(matrices, config.muon_lr, config.muon_momentum, config.weight_decay, dtype))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def _size(embeddings: Tensor) -> float:
    """Root mean square of the embeddings in units of what `initialise` gives, at most 1."""
    return min(1.0, float(_whole(embeddings.detach()).float().square().mean().sqrt()) / EMBEDDING_STD)


def lr_factor(progress: float, config: OptimConfig) -> float:
    """The trapezoid: linear up over `warmup`, flat, linear down to `final_lr` over `decay`. `progress` in 0..1."""
    if progress < config.warmup:
        return progress / config.warmup
    left = 1.0 - progress
    if config.decay and left < config.decay:
        return config.final_lr + (1.0 - config.final_lr) * max(left, 0.0) / config.decay
    return 1.0
