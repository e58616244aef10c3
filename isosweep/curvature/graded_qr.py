"""The Jacobian as a graded triangular matrix: QR after every factor, the scales of its rows kept as exponents.

A_k Q_{k−1} = Q_k R_k turns the product A_L … A_1 into Q_L · R_L … R_1. The product of the triangular factors has rows
of very different size, s_1 ≫ s_2 ≫ …, and each is kept to full relative accuracy: row i is stored as 2^{e_i} times a
row of size 1, and the next factor mixes in only the later rows, which are smaller. (Graded QR, Stewart 1997, "On
graded QR decompositions of products of matrices"; here with exponents, since a depth of 200 passes the range of
float64.)

The rows of every factor are sorted by |φ'| first, the order in which Householder QR keeps small rows to their own
relative accuracy (Cox and Higham 1998). Dead units come last: their rows are exactly zero and stay so, and the number
of live units of the narrowest layer is the exact rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isosweep.curvature.compact_qr import Reflections, compact_qr
from isosweep.curvature.jacobian_factors import Factor
from isosweep.curvature.products import multiply
from isosweep.curvature.tiles import pieces

__all__ = ["ZERO_EXPONENT", "Graded", "graded_triangle"]

# The exponent of a row that is exactly zero.
ZERO_EXPONENT = -(2**40)
# The most rows and columns of a block of a product of triangular matrices.
PRODUCT_ROWS = 100
# Columns whose norms differ by more than this factor are equilibrated.
COLUMN_RANGE = 64.0


@dataclass(frozen=True)
class Graded:
    """diag(2^e) R for each sample.

    Attributes:
        rows: R, (m, q, p), upper triangular or trapezoidal, its rows of size 1 or exactly 0.
        exponents: e, (m, q), integers in float64; `ZERO_EXPONENT` for a zero row.
    """

    rows: Tensor
    exponents: Tensor


def graded_triangle(factors: list[Factor], samples: int) -> Graded:
    """A graded matrix with the singular values of the factors' product (first factor acting first), sample by
    sample.
    """
    factors = _equilibrated(factors)
    graded: Graded | None = None
    # Q of the factor before, and the order in which its rows were taken.
    reflections: Reflections | None = None
    order: Tensor | None = None
    for index, factor in enumerate(factors):
        matrix = factor.matrix
        if index == 0 and matrix.ndim == 2 and matrix.shape[0] < matrix.shape[1]:
            # A wide first matrix W = L Vᵀ: V does not change the singular values, and D L is as D W with fewer columns.
            matrix = torch.linalg.qr(matrix.mT, mode="r").R.mT
        if index == 0:
            # The largest columns first, as the rows.
            columns = torch.linalg.vector_norm(matrix, dim=-2).argsort(dim=-1, descending=True, stable=True)
            matrix = matrix.gather(-1, columns.unsqueeze(-2).expand_as(matrix))
        rows = _row_order(matrix, factor.diagonal, samples)
        batch = _permuted(matrix, rows, order)
        if reflections is not None and graded is not None:
            batch = reflections.applied_to(batch)[:, :, : graded.rows.shape[1]]
        if factor.diagonal is not None:
            batch.mul_(factor.diagonal.expand(samples, -1).gather(1, rows)[:, :, None])
        order = rows
        triangle, reflections = compact_qr(batch)
        graded = _multiply(triangle, graded)
    assert graded is not None
    return graded


def _row_order(matrix: Tensor, diagonal: Tensor | None, samples: int) -> Tensor:
    """The rows of diag(d) A by size, the largest first, (samples, out)."""
    sizes = torch.linalg.vector_norm(matrix, dim=-1).expand(samples, -1)
    if diagonal is not None:
        sizes = sizes * diagonal.abs()
    order: Tensor = sizes.argsort(dim=1, descending=True, stable=True)
    return order


def _permuted(matrix: Tensor, rows: Tensor, columns: Tensor | None) -> Tensor:
    """Each sample's matrix with its rows and columns in the given orders, (samples, out, in)."""
    if matrix.ndim == 3:
        batch = matrix.gather(1, rows[:, :, None].expand_as(matrix))
        return batch if columns is None else batch.gather(2, columns[:, None, :].expand_as(batch))
    if columns is None:
        return matrix[rows]
    # whole rows first, then one gather: half the time of indexing every entry by two numbers
    batch = torch.stack([matrix.index_select(0, order) for order in rows])
    return batch.gather(2, columns[:, None, :].expand_as(batch))


def _equilibrated(factors: list[Factor]) -> list[Factor]:
    """The same product, with columns of very different size moved as a scale of the rows of the factor before.

    A graded row survives the QR of its factor; a graded column would make the factor itself ill-conditioned. The
    scales are powers of two: nothing is rounded.
    """
    result: list[Factor] = []
    for factor in factors:
        sizes = torch.linalg.vector_norm(factor.matrix, dim=-2)
        sizes = torch.where(sizes > 0, sizes, sizes.amax(dim=-1, keepdim=True))
        if factor.matrix.ndim == 3 or not bool((sizes.amax() > COLUMN_RANGE * sizes.amin()).all()):
            result.append(factor)
            continue
        _, exponents = torch.frexp(sizes)
        scale = torch.ldexp(torch.ones_like(sizes), exponents)
        if result:
            before = result.pop()
            diagonal = scale[None] if before.diagonal is None else before.diagonal * scale
            result.append(Factor(before.matrix, diagonal))
        else:
            result.append(Factor(torch.diag(scale), None))
        result.append(Factor(factor.matrix / scale, factor.diagonal))
    return result


def _multiply(triangle: Tensor, graded: Graded | None) -> Graded:
    """`triangle` (m, q', q), which is overwritten, times the graded matrix so far."""
    if graded is None:
        return _normalise(triangle, triangle.new_zeros(triangle.shape[:2]))
    # Row i only meets rows j ≥ i, so their largest exponent is its scale: nothing overflows, and what underflows is
    # below 2^-1000 of the row.
    scales = graded.exponents.flip(1).cummax(dim=1).values.flip(1)[:, : triangle.shape[1]]
    shift = (graded.exponents[:, None, :] - scales[:, :, None]).clamp_(-1000, 0)
    return _normalise(_triangular_product(triangle.mul_(shift.exp2_()), graded.rows), scales)


def _triangular_product(left: Tensor, right: Tensor) -> Tensor:
    """The product of two upper triangular or trapezoidal matrices (m, q', q) and (m, q, p), by blocks: row i of the
    left one starts at column i, and column j of the right one ends at row j.
    """
    product = right.new_zeros(right.shape[0], left.shape[1], right.shape[2])
    columns = pieces(right.shape[2], PRODUCT_ROWS)
    for one, other, out in zip(left, right, product, strict=True):
        for start, stop in pieces(left.shape[1], PRODUCT_ROWS):
            for first, last in columns:
                if last > start:
                    multiply(one[start:stop, start:last], other[start:last, first:last], out[start:stop, first:last])
    return product


def _normalise(rows: Tensor, exponents: Tensor) -> Graded:
    """diag(2^e) R with rows of any size, which are overwritten."""
    largest = rows.abs().amax(dim=2)
    _, shift = torch.frexp(largest)
    alive = largest > 0
    shift = torch.where(alive, shift, 0)
    rows.mul_(torch.ldexp(torch.ones_like(largest), -shift)[:, :, None])
    zero = torch.full_like(exponents, ZERO_EXPONENT)
    return Graded(rows, torch.where(alive, exponents + shift, zero))
