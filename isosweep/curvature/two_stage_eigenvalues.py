"""All eigenvalues of a large symmetric matrix in two stages: full to banded by tiles, banded to tridiagonal by LAPACK.

The usual reduction to tridiagonal form spends half of its 4R³/3 operations in matrix-vector products, which wait for
memory. Reduced to a band of width b instead, nearly all are in matrix-matrix products (Bischof, Lang and Sun 2000, "A
framework for symmetric band reduction"), which several workers share; the band costs 6bR² more, in cache (scipy's
`eig_banded`).

A panel A[k+b:, k:k+b] = QR, Q = 1 − V T Vᵀ; with S = A V T and W = S − ½ V (Tᵀ Vᵀ S) the rest becomes
Qᵀ A Q = A − V Wᵀ − W Vᵀ. Only the lower triangle is kept, in rows of tiles at fixed places; tiles on the diagonal are
full. The next panel is brought up to date before the rest, and factored by one worker while the others do the rest.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from isosweep.curvature.products import multiply
from isosweep.threads import Workers

__all__ = ["TWO_STAGE_ROWS", "two_stage_eigenvalues"]

# From this size on the two stages are faster than one with two workers, and as fast with one.
TWO_STAGE_ROWS = 1800
# The width of the band, by the number of rows from which on each holds. A wider band makes the products faster, but its
# own reduction and a panel's factors, which one worker does, slower: with 48 instead of 72, 1,800 rows take 0.30 s
# instead of 0.32 and 3,600 1.55 instead of 1.68; at 9,000 rows 72 is faster. Not 63, whose columns lie a power of two
# apart in memory: LAPACK's reduction takes three times as long.
BANDS = ((0, 48), (6000, 72))
TILE = 384


def two_stage_eigenvalues(matrix: Tensor, workers: Workers) -> Tensor:
    """The eigenvalues, ascending, of a symmetric matrix.

    Args:
        matrix: (R, R) float64 on the CPU, its lower triangle valid. It is overwritten.
        workers: who shares the products; the bits do not depend on them.

    Returns:
        (R,) float64, each within a few ε·‖A‖ of an eigenvalue (the reduction is orthogonal).
    """
    size = matrix.shape[0]
    band = band_of(size)
    for start in range(0, size, TILE):
        tile = matrix[start : start + TILE, start : start + TILE]
        tile.copy_(torch.tril(tile) + torch.tril(tile, -1).T)
    panels = range(0, size - band - 1, band)
    reflectors = _factor_panel(matrix, 0, band) if panels else None
    for panel in panels:
        assert reflectors is not None
        reflectors = _apply(matrix, panel, band, reflectors, panel + band in panels, workers)
    diagonals = np.zeros((min(band, size - 1) + 1, size))
    for offset in range(len(diagonals)):
        diagonals[offset, : size - offset] = matrix.diagonal(-offset).numpy()
    values = scipy.linalg.eig_banded(
        diagonals, lower=True, eigvals_only=True, check_finite=False, overwrite_a_band=True
    )
    return torch.from_numpy(values)


def band_of(size: int) -> int:
    """The width of the band to which a matrix of so many rows is reduced."""
    return next(band for least, band in reversed(BANDS) if size >= least)


def _factor_panel(matrix: Tensor, panel: int, band: int) -> tuple[Tensor, Tensor]:
    """A[k+b:, k:k+b] → R, in place; V and T of its Q."""
    start = panel + band
    packed, tau = torch.geqrf(matrix[start:, panel:start])
    count = len(tau)
    matrix[start : start + count, panel:start] = packed[:count].triu()
    return _compact(packed[:, :count], tau)


def _apply(
    matrix: Tensor, panel: int, band: int, reflectors: tuple[Tensor, Tensor], more: bool, workers: Workers
) -> tuple[Tensor, Tensor] | None:
    """Applies a panel's Q to the rest from both sides; where there are more panels, factors the next one."""
    v, t = reflectors
    # Products of the rest and V are formed transposed: the matrix product packs its right side once, V's few rows often
    # (41 instead of 32 GFLOP/s a core with 64 of them).
    v_rows = v.T.contiguous()
    start, size = panel + band, matrix.shape[0]
    # Rows of tiles of the rest, by their places in the whole matrix.
    edges = [start, *range((start // TILE + 1) * TILE, size, TILE), size]
    rows = list(itertools.pairwise(edges))
    y_rows = torch.empty_like(v_rows)

    def times_v(row: tuple[int, int]) -> None:
        first, last = row
        out = y_rows[:, first - start : last - start]
        multiply(v_rows[:, : last - start], matrix[first:last, start:last].T, out)
        if last < size:
            below = torch.empty(out.shape, dtype=out.dtype)
            multiply(v_rows[:, last - start :], matrix[last:, first:last], below)
            out += below

    workers.run(times_v, rows)
    s = y_rows.T @ t
    w = torch.addmm(s, v, t.T @ (v.T @ s), alpha=-0.5)
    left, right = torch.cat([v, w], dim=1), torch.cat([w, v], dim=1)
    ahead = band if more else 0

    def advance() -> tuple[Tensor, Tensor] | None:
        if not more:
            return None
        matrix[start:, start : start + band].addmm_(left, right[:band].T, alpha=-1)
        return _factor_panel(matrix, start, band)

    def update(row: tuple[int, int] | None) -> tuple[Tensor, Tensor] | None:
        if row is None:
            return advance()
        first, last = row
        part = left[first - start : last - start]
        matrix[first:last, start + ahead : last].addmm_(part, right[ahead : last - start].T, alpha=-1)
        return None

    return workers.run(update, [None, *rows[::-1]])[0]


def _compact(packed: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """V (unit lower trapezoidal) and T (upper triangular) with Q = 1 − V T Vᵀ, from Householder vectors."""
    v = packed.tril(-1)
    v.diagonal().fill_(1.0)
    # τ = 0 stands for no reflection.
    v[:, tau == 0] = 0.0
    # T⁻¹ + T⁻ᵀ = VᵀV, so T⁻¹ has VᵀV above its diagonal and 1/τ on it.
    inverse = (v.T @ v).triu(1)
    inverse.diagonal().copy_(torch.where(tau == 0, 1.0, 1 / tau))
    identity = torch.eye(len(tau), dtype=packed.dtype)
    return v, torch.linalg.solve_triangular(inverse, identity, upper=True)
