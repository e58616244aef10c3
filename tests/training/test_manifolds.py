"""Manifolds: the stacked moves against one matrix at a time, and how far rounding takes weights from them."""

from __future__ import annotations

import geoopt  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isosweep.training.manifolds import manifold, manifolds
from isosweep.training.manifolds.manifold import ManifoldError

LIMIT = {torch.float32: 1e-5, torch.float64: 1e-12}


def point(name: str, layers: int, rows: int, columns: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    draw = torch.randn(layers, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if name == "stiefel":
        draw = torch.linalg.qr(draw.mT).Q.mT.contiguous()
    if name == "oblique":
        draw /= draw.norm(dim=-1, keepdim=True)
    return draw.to(dtype)


def noise(like: Tensor, size: float, seed: int) -> Tensor:
    draw = torch.randn(like.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (draw * size).to(like.dtype)


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(0, 5), st.floats(1e-6, 30), st.integers(0, 99))


def plain_stiefel(x: np.ndarray, z: np.ndarray, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One matrix with orthonormal columns: tangent part, QR with signs, transport by projection; from the formulas."""

    def tangent(at: np.ndarray, vector: np.ndarray) -> np.ndarray:
        product = at.T @ vector
        return vector - at @ (product + product.T) / 2

    q, r = np.linalg.qr(x + tangent(x, z))
    q = q * np.sign(np.diag(r))
    return q, tangent(q, carried)


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_stiefel_as_one_matrix_at_a_time(shape: tuple[int, int, int, float, int]) -> None:
    layers, rows, more, size, seed = shape
    x = point("stiefel", layers, rows, rows + more, seed=seed)
    z, carried = noise(x, size, seed + 100), noise(x, 1.0, seed + 200)
    wanted = [plain_stiefel(*(m[i].T.numpy() for m in (x, z, carried))) for i in range(layers)]
    on = manifold("stiefel")
    moved, transported = x.clone(), carried.clone()
    on.move(moved, on.project(x, z), transported)
    for i, (q, tangent) in enumerate(wanted):
        # entries of Q are conditioned by the step's own size
        np.testing.assert_allclose(moved[i].T.numpy(), q, atol=1e-12 * (1 + size) ** 2)
        np.testing.assert_allclose(transported[i].T.numpy(), tangent, atol=1e-11 * (1 + size) ** 2)


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_oblique_as_one_row_at_a_time(shape: tuple[int, int, int, float, int]) -> None:
    layers, rows, more, size, seed = shape
    x = point("oblique", layers, rows, 2 + more, seed=seed)
    z, carried = noise(x, size, seed + 100), noise(x, 1.0, seed + 200)
    on = manifold("oblique")
    step = on.project(x, z)
    moved, transported = x.clone(), carried.clone()
    on.move(moved, step.clone(), transported)
    for i in range(layers):
        for j in range(rows):
            a, u, c = x[i, j].numpy(), step[i, j].numpy(), carried[i, j].numpy()
            assert abs(a @ u) < 1e-12 * (1 + size)
            length = np.linalg.norm(u)
            wanted = np.cos(length) * a + (np.sin(length) / length * u if length else 0)
            np.testing.assert_allclose(moved[i, j].numpy(), wanted, atol=1e-12 * (1 + size))
            np.testing.assert_allclose(transported[i, j].numpy(), c - (c @ wanted) * wanted, atol=1e-11 * (1 + size))


@pytest.mark.parametrize(
    ("name", "theirs"), [("stiefel", geoopt.EuclideanStiefel()), ("oblique", geoopt.SphereExact())]
)
def test_as_geoopt(name: str, theirs: geoopt.Manifold) -> None:
    on, transpose = manifold(name), name == "stiefel"
    x = point(name, 4, 5, 8)
    z, carried = noise(x, 0.7, 1), noise(x, 1.0, 2)

    def turned(m: Tensor) -> Tensor:
        return m.mT if transpose else m

    tangent = on.project(x, z)
    torch.testing.assert_close(turned(tangent), theirs.proju(turned(x), turned(z)), rtol=0, atol=1e-13)
    moved, transported = x.clone(), carried.clone()
    on.move(moved, tangent.clone(), transported)
    wanted = theirs.retr(turned(x), turned(tangent)) if transpose else theirs.expmap(x, tangent)
    torch.testing.assert_close(turned(moved), wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        turned(transported), theirs.transp(turned(x), wanted, turned(carried)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-4, 0.3, 20.0, 1e6])
@pytest.mark.parametrize("name", ["stiefel", "oblique"])
def test_many_steps_stay_on_the_manifold(name: str, size: float, dtype: torch.dtype) -> None:
    on = manifold(name)
    x = point(name, 2, 30, 40, dtype)
    for step in range(40):
        on.move(x, on.project(x, noise(x, size, step)))
        assert float(on.deviation(x).max()) < LIMIT[dtype]


@pytest.mark.parametrize("name", ["stiefel", "oblique"])
def test_a_stack_may_be_cut_between_layers(name: str) -> None:
    on = manifold(name)
    x = point(name, 5, 24, 31, torch.float32)
    step, carried = on.project(x, noise(x, 0.1, 1)), noise(x, 1.0, 2)
    step[3] *= 100  # one that needs a second pass
    whole, whole_carried, parts, parts_carried = x.clone(), carried.clone(), x.clone(), carried.clone()
    on.move(whole, step.clone(), whole_carried)
    for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
        on.move(parts[part], step[part].clone(), parts_carried[part])
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(parts_carried, whole_carried, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["euclidean", "stiefel", "oblique"])
def test_weights_are_scale_times_point(name: str) -> None:
    weights = 1.7 * point(name if name != "euclidean" else "stiefel", 3, 6, 9)
    scales, x = manifold(name).start(weights)
    torch.testing.assert_close(scales[:, None, None] * x, weights, rtol=1e-12, atol=1e-14)
    assert float(manifold(name).deviation(x).max()) < 1e-12


def test_weights_far_from_the_manifold_are_refused() -> None:
    draw = noise(point("stiefel", 2, 5, 8), 1.0, 3)
    with pytest.raises(ManifoldError, match=r"rows are not orthonormal.*init: orthogonal"):
        manifold("stiefel").start(draw)
    with pytest.raises(ManifoldError, match="rows are not orthonormal"):
        manifold("stiefel").start(point("stiefel", 1, 5, 8).mT.contiguous())
    with pytest.raises(ManifoldError, match="all zero"):
        manifold("oblique").start(torch.zeros(1, 2, 3))
    x = manifold("oblique").start(draw)[1]
    torch.testing.assert_close(x.norm(dim=-1), torch.ones(2, 5, dtype=torch.float64))


def test_what_is_not_finite_stays_so() -> None:
    on = manifold("stiefel")
    x = point("stiefel", 2, 4, 4)
    step = torch.zeros_like(x)
    step[1, 0, 0] = torch.inf
    on.move(x, step)
    assert torch.isfinite(x[0]).all()
    assert torch.isnan(x[1]).any()


def test_there_is_no_other_manifold() -> None:
    assert set(manifolds()) == {"euclidean", "stiefel", "oblique"}
    with pytest.raises(KeyError, match="no manifold 'sphere'"):
        manifold("sphere")
