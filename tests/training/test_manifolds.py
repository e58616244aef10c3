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
from isosweep.training.parameters import RESTORED

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


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(0, 5), st.floats(1e-9, 30), st.integers(0, 99))


def plain_stiefel(x: np.ndarray, z: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """One matrix with orthonormal columns: tangent part, QR with signs, transport by projection; from the formulas."""

    def tangent(at: np.ndarray, vector: np.ndarray) -> np.ndarray:
        product = at.T @ vector
        return vector - at @ (product + product.T) / 2

    u = tangent(x, z)
    q, r = np.linalg.qr(x + rate * u)
    q = q * np.sign(np.diag(r))
    return q, tangent(q, u)


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_stiefel_as_one_matrix_at_a_time(shape: tuple[int, int, int, float, int]) -> None:
    layers, rows, more, size, seed = shape
    x = point("stiefel", layers, rows, rows + more, seed=seed)
    z = noise(x, 1.0, seed + 100)
    wanted = [plain_stiefel(x[i].T.numpy(), z[i].T.numpy(), size) for i in range(layers)]
    on = manifold("stiefel")
    moved, tangent = x.clone(), on.project(x, z)
    on.move(moved, tangent, size, carry=True)
    for i, (q, transported) in enumerate(wanted):
        # entries of Q are conditioned by the step's own size
        np.testing.assert_allclose(moved[i].T.numpy(), q, atol=1e-12 * (1 + size) ** 2)
        np.testing.assert_allclose(tangent[i].T.numpy(), transported, atol=1e-11 * (1 + size) ** 2)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from([torch.float32, torch.float64]))
def test_square_matrices_as_one_matrix_at_a_time(shape: tuple[int, int, int, float, int], dtype: torch.dtype) -> None:
    """The group's coordinates against the formulas of the manifold around it in float64, at every length of a step."""
    layers, rows, _, size, seed = shape
    on = manifold("stiefel").of_shape(rows, rows)
    assert on is not manifold("stiefel")
    x = point("stiefel", layers, rows, rows, seed=seed)
    z = noise(x, 1.0, seed + 100)
    moved, omega = x.to(dtype, copy=True), on.project(x.to(dtype), z.to(dtype))
    # a divisor as Adam's: one number a matrix
    divisor = torch.linspace(1, 2, layers, dtype=dtype)[:, None, None]
    assert torch.equal(omega, -omega.mT)
    on.move(moved, omega, -size, divisor, carry=True)
    assert torch.equal(omega, -omega.mT)
    unit = 10 * torch.finfo(dtype).eps * rows * (1 + size) ** 2
    for i in range(layers):
        q, transported = plain_stiefel(x[i].T.numpy(), z[i].T.numpy(), -size / float(divisor[i]))
        np.testing.assert_allclose(moved[i].T.numpy(), q, rtol=0, atol=unit)
        found = (omega[i].double() @ torch.from_numpy(q).mT).T.numpy()
        np.testing.assert_allclose(found, transported, rtol=0, atol=10 * unit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_left_out_of_a_small_step_is_below_rounding(dtype: torch.dtype) -> None:
    """Steps on both sides of each bound, 24 rows: no jump in the error against QR in float64."""
    unit = torch.finfo(dtype).eps / 2
    on = manifold("stiefel").of_shape(24, 24)
    x = point("stiefel", 1, 24, 24)
    omega = on.project(x, noise(x, 1.0, 1))
    omega /= omega.norm()
    for length, limit in (((unit / 2) ** 0.5, 8 * unit), ((unit / 2) ** (1 / 3), 8 * unit), (1.0, 16 * unit)):
        for near in (0.99, 1.01):
            rotation, tangent = torch.eye(24, dtype=dtype)[None].clone(), omega.to(dtype, copy=True)
            on.move(rotation, tangent, near * length, carry=True)
            q, transported = plain_stiefel(np.eye(24), -omega[0].numpy(), near * length)
            assert np.abs(rotation[0].double().T.numpy() - q).max() < limit
            found = (tangent[0].double() @ torch.from_numpy(q).mT).T.numpy()
            assert np.abs(found - transported).max() < limit


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_oblique_as_one_row_at_a_time(shape: tuple[int, int, int, float, int]) -> None:
    layers, rows, more, size, seed = shape
    x = point("oblique", layers, rows, 2 + more, seed=seed)
    on = manifold("oblique")
    tangent = on.project(x, noise(x, 1.0, seed + 100))
    moved, transported = x.clone(), tangent.clone()
    on.move(moved, transported, -size, carry=True)
    for i in range(layers):
        for j in range(rows):
            a, c = x[i, j].numpy(), tangent[i, j].numpy()
            assert abs(a @ c) < 1e-12
            u = -size * c
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
    z = noise(x, 1.0, 1)

    def turned(m: Tensor) -> Tensor:
        return m.mT if transpose else m

    tangent = on.project(x, z)
    torch.testing.assert_close(turned(tangent), theirs.proju(turned(x), turned(z)), rtol=0, atol=1e-13)
    moved, transported = x.clone(), tangent.clone()
    on.move(moved, transported, 0.7, carry=True)
    wanted = theirs.retr(turned(x), 0.7 * turned(tangent)) if transpose else theirs.expmap(x, 0.7 * tangent)
    torch.testing.assert_close(turned(moved), wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        turned(transported), theirs.transp(turned(x), wanted, turned(tangent)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-9, 1e-4, 3e-3, 0.3, 20.0, 1e6])
@pytest.mark.parametrize(("name", "columns"), [("stiefel", 40), ("stiefel", 30), ("oblique", 40)])
def test_many_steps_stay_on_the_manifold(name: str, columns: int, size: float, dtype: torch.dtype) -> None:
    on = manifold(name).of_shape(30, columns)
    x = point(name, 2, 30, columns, dtype)
    for step in range(1, 3 * RESTORED):
        tangent = on.project(x, noise(x, 1.0, step // 8))  # the same way for a while: no luck of a random walk
        on.move(x, tangent, size, on.square(x, tangent).sqrt())
        if step % RESTORED == 0:
            on.restore(x)
        assert float(on.deviation(x).max()) < LIMIT[dtype]


@pytest.mark.parametrize(("name", "columns"), [("stiefel", 31), ("stiefel", 24), ("oblique", 31)])
def test_a_stack_may_be_cut_between_layers(name: str, columns: int) -> None:
    on = manifold(name).of_shape(24, columns)
    x = point(name, 5, 24, columns, torch.float32)
    tangent = on.project(x, noise(x, 1.0, 1))
    lengths = torch.tensor([1e-6, 1e-3, 0.1, 30.0, 1e-6])[:, None, None]  # each in its own way
    divisor = on.square(x, tangent).sqrt() / lengths
    whole, whole_carried, parts, parts_carried = x.clone(), tangent.clone(), x.clone(), tangent.clone()
    on.move(whole, whole_carried, 1.0, divisor, carry=True)
    for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
        on.move(parts[part], parts_carried[part], 1.0, divisor[part], carry=True)
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


@pytest.mark.parametrize("columns", [4, 5])
def test_what_is_not_finite_stays_so(columns: int) -> None:
    on = manifold("stiefel").of_shape(4, columns)
    x = point("stiefel", 2, 4, columns)
    tangent = torch.zeros_like(x)
    tangent[1, 0, 0] = torch.inf
    on.move(x, tangent, 1.0, carry=True)
    assert torch.isfinite(x[0]).all()
    assert torch.isnan(x[1]).any()


def test_there_is_no_other_manifold() -> None:
    assert set(manifolds()) == {"euclidean", "stiefel", "oblique"}
    with pytest.raises(KeyError, match="no manifold 'sphere'"):
        manifold("sphere")
