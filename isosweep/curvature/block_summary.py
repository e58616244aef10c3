"""λ_max, trace and numerical rank of one layer's dual matrix, without its spectrum.

λ_max by Lanczos to rounding, from the top vector of the layer before, which is close. The rank, the number of
eigenvalues above R·ε·λ_max, by Sylvester's law of inertia: as many as K − R·ε·λ_max·I has positive ones. A Cholesky
factorisation that goes through says that it has R; otherwise those of the block-diagonal D in LDLᵀ (Bunch and
Kaufman) are counted. Both cost R³/3 operations in place of the 4R³/3 of an eigendecomposition. The threshold is about
a hundred times the rounding errors of either, so the count equals that of the eigenvalues unless one is within those
errors of the threshold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.curvature.lanczos import largest_eigenvalue

__all__ = ["BlockSummarizer", "inertia_rank", "rank_threshold"]

# Krylov dimension after which the eigenvalues themselves are cheaper than more steps.
MOST_STEPS = 150
_TINY = 1e-140


def rank_threshold(lambda_max: float, rows: int, dtype: torch.dtype) -> float:
    """R·ε·λ_max: an eigenvalue counts towards the rank if it is larger."""
    return rows * torch.finfo(dtype).eps * lambda_max


def inertia_rank(matrix: Tensor, threshold: float, may_be_definite: bool = True) -> int:
    """How many eigenvalues of the symmetric `matrix` (R, R) exceed `threshold` ≥ 0, by the inertia of a
    factorisation; on a GPU, where LDLᵀ is no faster, from the eigenvalues themselves.
    """
    if matrix.is_cuda:
        return int((torch.linalg.eigvalsh(matrix) > threshold).sum())
    shifted = matrix.clone()
    shifted.diagonal().sub_(threshold)
    if may_be_definite:
        _, failed = torch.linalg.cholesky_ex(shifted)
        if not failed:
            return matrix.shape[0]
    # _ex, since a pivot of exactly 0 (a saturated softmax) is no failure: it counts as not positive.
    factor, pivots, _ = torch.linalg.ldl_factor_ex(shifted)
    # A 2 × 2 pivot block is marked by two negative entries and is indefinite: one positive, one negative eigenvalue.
    single = pivots > 0
    return int((factor.diagonal()[single] > 0).sum()) + int((~single).sum()) // 2


class BlockSummarizer:
    """Summaries of a network's layers, one after the other: each starts from the top vector of the one before."""

    def __init__(self) -> None:
        self._start: Tensor | None = None
        self._last_was_full = True

    def largest(self, matrix: Tensor) -> float:
        """λ_max of a positive semi-definite matrix (R, R), both triangles valid."""
        rows = matrix.shape[0]
        if rows == 0 or float(matrix.diagonal().sum()) <= 0:
            return 0.0
        start = self._start if self._start is not None else matrix.sum(dim=1) + matrix.diagonal()
        ramp = torch.linspace(0.5, 1.5, rows, dtype=matrix.dtype, device=matrix.device)
        # The ramp gives every eigenvector a share, also where the earlier top vector is orthogonal to it.
        start = start / start.norm().clamp(min=1e-300) + 0.1 * ramp / ramp.norm()
        lambda_max, error, vector = largest_eigenvalue(lambda v: matrix @ v, start, MOST_STEPS)
        if error > 4 * torch.finfo(matrix.dtype).eps * lambda_max:
            return float(torch.linalg.eigvalsh(matrix)[-1])
        self._start = vector
        return lambda_max

    def __call__(self, matrix: Tensor) -> tuple[float, float, int]:
        """λ_max, trace and rank of a positive semi-definite matrix (R, R), both triangles valid."""
        trace = float(matrix.diagonal().sum())
        if trace <= 0:
            return 0.0, 0.0, 0
        if trace < _TINY:
            # below it squares and thresholds underflow; the scaled matrix has the same rank
            lambda_max, _, rank = self(matrix / trace)
            return lambda_max * trace, trace, rank
        lambda_max, rows = self.largest(matrix), matrix.shape[0]
        # A layer next to one of lower rank seldom has full rank: the attempt at a Cholesky factorisation is saved.
        rank = inertia_rank(matrix, rank_threshold(lambda_max, rows, matrix.dtype), self._last_was_full)
        self._last_was_full = rank == rows
        return lambda_max, trace, rank
