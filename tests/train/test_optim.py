"""Muon and its schedule against plain linear algebra in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.model.small import random_decoder

from chatwright.config import OptimConfig
from chatwright.train.optim import Muon, build_optimizers, lr_factor, orthogonalise


@pytest.mark.parametrize("shape", [(16, 16), (24, 64), (64, 24), (5, 100), (1, 7)])
def test_orthogonalised_matrix_is_near_the_polar_factor(shape: tuple[int, int]) -> None:
    """Five steps bring every singular value above 1/200 of the norm into [0.7, 1.15]; U V^T comes from numpy."""
    matrix = np.random.default_rng(sum(shape)).standard_normal(shape)
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    got = orthogonalise(torch.tensor(matrix, dtype=torch.float32)[None])[0].double().numpy()
    values = np.linalg.svd(got, compute_uv=False)
    assert values.min() > 0.7
    assert values.max() < 1.15
    # Same singular vectors: in their basis the result is diagonal.
    inside = u.T @ got @ vt.T
    assert np.abs(inside - np.diag(np.diag(inside))).max() < 1e-3
    assert np.abs(got - u @ vt).max() < 0.3


def test_singular_values_down_to_a_thousandth_are_lifted() -> None:
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.standard_normal((32, 32)))
    v, _ = np.linalg.qr(rng.standard_normal((32, 32)))
    wanted = np.geomspace(1.0, 3e-3, 32)
    got = orthogonalise(torch.tensor(u @ np.diag(wanted) @ v.T, dtype=torch.float32)[None])[0]
    values = torch.linalg.svdvals(got)
    assert float(values.min()) > 0.7
    assert float(values.max()) < 1.15


def test_stacked_matrices_are_independent() -> None:
    stack = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        orthogonalise(stack), torch.cat([orthogonalise(m[None]) for m in stack]), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(orthogonalise(stack * 1e-3), orthogonalise(stack), atol=1e-3, rtol=0)
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


# Copied from Amsel et al. 2025, appendix, "optimal coefficients for 5 steps": the oracle shares no code.
PAPER = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
]


def naive_direction(matrix: np.ndarray) -> np.ndarray:
    """The polynomial applied to the singular values themselves, in float64."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.linalg.norm(matrix) * 1.02)
    for a, b, c in PAPER[:-1]:
        s = a * (s / 1.01) + b * (s / 1.01) ** 3 + c * (s / 1.01) ** 5
    a, b, c = PAPER[-1]
    s = a * s + b * s**3 + c * s**5
    return u @ np.diag(s) @ vt


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_two_steps_of_muon_by_hand(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    weight, gradients = rng.standard_normal(shape), [rng.standard_normal(shape) for _ in range(2)]
    parameter = torch.nn.Parameter(torch.tensor(weight, dtype=torch.float32))
    optimizer = Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.01)
    momentum = np.zeros(shape)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        direction = naive_direction(0.9 * momentum + 0.1 * gradient)
        weight = weight * (1 - 0.1 * 0.01) - 0.1 * max(1.0, shape[0] / shape[1]) ** 0.5 * direction
    np.testing.assert_allclose(parameter.detach().numpy(), weight, atol=1e-4)


@pytest.mark.parametrize("smallest", [1.0, 0.01])
def test_muon_in_bfloat16_keeps_the_small_singular_values(smallest: float) -> None:
    rng = np.random.default_rng(5)
    u, v = (np.linalg.qr(rng.standard_normal((n, 24)))[0] for n in (24, 40))
    gradient = u @ np.diag(np.geomspace(1.0, smallest, 24)) @ v.T
    parameter = torch.nn.Parameter(torch.zeros(24, 40))
    parameter.grad = torch.tensor(gradient, dtype=torch.float32)
    Muon([parameter], lr=1.0, momentum=0.0, dtype=torch.bfloat16).step()
    step = -parameter.detach().double().numpy()
    assert parameter.dtype == torch.float32
    np.testing.assert_allclose(np.diag(u.T @ step @ v), np.diag(u.T @ naive_direction(gradient) @ v), atol=0.12)
    np.testing.assert_allclose(step, naive_direction(gradient), atol=0.12)


def test_every_parameter_has_one_optimiser() -> None:
    model = random_decoder(tie_embeddings=False, family="qwen3", qk_norm=True)
    muon, adam = build_optimizers(model, OptimConfig(muon_lr=0.5, adam_lr=0.25, weight_decay=0.125))
    names = {id(p): name for name, p in model.named_parameters()}
    of_muon = {names[id(p)] for g in muon.param_groups for p in g["params"]}
    of_adam = {names[id(p)] for g in adam.param_groups for p in g["params"]}
    assert of_muon | of_adam == set(names.values())
    assert not of_muon & of_adam
    assert all("proj.weight" in name for name in of_muon)
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= of_adam
    assert any("q_norm" in name for name in of_adam)
    assert muon.param_groups[0]["peak_lr"] == 0.5
    assert adam.param_groups[0]["peak_lr"] == 0.25
    assert adam.param_groups[0]["weight_decay"] == 0.0


def test_adamw_takes_the_matrices_too_where_it_is_told() -> None:
    model = random_decoder()
    (adam,) = build_optimizers(model, OptimConfig(matrices="adamw", adam_lr=0.25, weight_decay=0.125))
    names = {id(p): name for name, p in model.named_parameters()}
    assert isinstance(adam, torch.optim.AdamW)
    assert sorted(names[id(p)] for g in adam.param_groups for p in g["params"]) == sorted(names.values())
    shrunk = {names[id(p)] for g in adam.param_groups if g["weight_decay"] for p in g["params"]}
    assert shrunk == {name for name in names.values() if name.endswith("proj.weight")}
    assert {g["peak_lr"] for g in adam.param_groups} == {0.25}


def test_embeddings_have_a_rate_of_their_own_only_where_they_are_not_the_head() -> None:
    config = OptimConfig(adam_lr=0.25, embed_lr=0.75, muon_momentum=0.8, adam_beta1=0.6)
    for tied, rates in ((False, {"model.embed_tokens.weight": 0.75, "lm_head.weight": 0.25}),
                        (True, {"model.embed_tokens.weight": 0.25})):  # fmt: skip
        model = random_decoder(tie_embeddings=tied)
        with torch.no_grad():
            model.model.embed_tokens.weight.mul_(10)
        muon, adam = build_optimizers(model, config)
        names = {id(p): name for name, p in model.named_parameters()}
        found = {names[id(p)]: g["peak_lr"] for g in adam.param_groups for p in g["params"]}
        assert rates.items() <= found.items()
        assert {rate for name, rate in found.items() if name not in rates} == {0.25}
        assert {g["betas"][0] for g in adam.param_groups} == {0.6}
        assert muon.param_groups[0]["momentum"] == 0.8
    (_, alike) = build_optimizers(random_decoder(tie_embeddings=False), OptimConfig(adam_lr=0.25))
    assert [g["peak_lr"] for g in alike.param_groups] == [0.25]


def test_learning_rate_is_a_trapezoid() -> None:
    config = OptimConfig(warmup=0.1, decay=0.4, final_lr=0.2)
    points = {0.0: 0.0, 0.05: 0.5, 0.1: 1.0, 0.3: 1.0, 0.6: 1.0, 0.8: 0.6, 1.0: 0.2, 1.1: 0.2}
    for progress, factor in points.items():
        assert lr_factor(progress, config) == pytest.approx(factor), progress
    flat = OptimConfig(warmup=0.0, decay=0.0)
    assert [lr_factor(p, flat) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("deviation", "share"), [(0.5, 1.0), (2.0, 1.0), (0.02, 0.04)])
def test_small_embeddings_of_an_imported_model_are_moved_as_much_less(deviation: float, share: float) -> None:
    model = random_decoder(1, tie_embeddings=False)
    with torch.no_grad():
        weight = model.model.embed_tokens.weight
        weight.mul_(deviation / weight.square().mean().sqrt())
    adam = build_optimizers(model, OptimConfig(adam_lr=0.001, embed_lr=0.3))[1]
    assert [group["lr"] for group in adam.param_groups] == pytest.approx([0.001, 0.3 * share])
