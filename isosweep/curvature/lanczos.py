"""Lanczos with full re-orthogonalisation, for a symmetric positive semi-definite operator.

Without it, converged Ritz values come back as copies and a "spectrum" of them sums to several times the trace. Here
every new vector is orthogonalised twice against all earlier ones (Parlett, The Symmetric Eigenvalue Problem, ch. 13):
the basis is orthonormal to rounding, and a Ritz value θ with residual r is within |r| of an eigenvalue, within r²/gap
where it is isolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

__all__ = ["Krylov", "krylov", "largest_eigenvalue"]

Operator = Callable[[Tensor], Tensor]


@dataclass
class Krylov:
    """A Krylov space of dimension j and the operator's restriction to it.

    Attributes:
        basis: (j, R), orthonormal rows.
        diagonal: of the tridiagonal matrix, (j,).
        off_diagonal: (j,); its last entry couples to the next vector and is 0 where the space is invariant.
        vectors: the Ritz vectors in the basis, (j, j), columns; None before `solve`.
        values: the Ritz values, ascending; None before `solve`.
    """

    basis: Tensor
    diagonal: np.ndarray
    off_diagonal: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        """‖Av − θv‖ of every Ritz pair: the last coupling times the last component."""
        residuals: np.ndarray = abs(self.off_diagonal[-1] * self.vectors[-1])
        return residuals


def krylov(
    operator: Operator, start: Tensor, steps: int, stop: Callable[[Krylov], bool] | None = None, every: int = 6
) -> Krylov:
    """The Krylov space of `start` up to dimension `steps`, less if it becomes invariant or `stop` says so.

    Args:
        operator: v ↦ Av, (R,) → (R,).
        start: (R,), not zero.
        steps: largest dimension; at most R is used.
        stop: asked after every `every` steps.
        every: see `stop`.
    """
    steps = min(steps, start.numel())
    basis = start.new_empty(steps, start.numel())
    basis[0] = start / start.norm()
    diagonal, off_diagonal = np.zeros(steps), np.zeros(steps)
    scale = 0.0
    epsilon = torch.finfo(start.dtype).eps
    for j in range(steps):
        w = operator(basis[j])
        done = basis[: j + 1]
        overlap = done @ w
        w = torch.addmv(w, done.T, overlap, alpha=-1)
        correction = done @ w
        w = torch.addmv(w, done.T, correction, alpha=-1)
        diagonal[j] = float(overlap[j] + correction[j])
        off_diagonal[j] = float(w.norm())
        scale = max(scale, abs(diagonal[j]) + off_diagonal[j])
        invariant = off_diagonal[j] <= epsilon * scale
        if invariant:
            off_diagonal[j] = 0.0
        last = invariant or j + 1 == steps
        if last or (stop is not None and (j + 1) % every == 0):
            space = _solve(done, diagonal[: j + 1], off_diagonal[: j + 1])
            if last or (stop is not None and stop(space)):
                return space
        basis[j + 1] = w / off_diagonal[j]
    raise AssertionError("unreachable: the last step returns")


def _solve(basis: Tensor, diagonal: np.ndarray, off_diagonal: np.ndarray) -> Krylov:
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1], check_finite=False)
    return Krylov(basis, diagonal.copy(), off_diagonal.copy(), values, vectors)


def largest_eigenvalue(operator: Operator, start: Tensor, steps: int) -> tuple[float, float, Tensor]:
    """λ_max of a positive semi-definite operator, to rounding if `steps` suffice.

    Returns:
        λ_max; its error estimate min(r, r²/gap); its Ritz vector (R,).
    """
    epsilon = torch.finfo(start.dtype).eps

    def converged(space: Krylov) -> bool:
        return bool(_top_error(space) <= epsilon * space.values[-1])

    space = krylov(operator, start, steps, converged)
    vector = torch.as_tensor(space.vectors[:, -1], dtype=start.dtype, device=start.device)
    return float(space.values[-1]), _top_error(space), space.basis[: len(vector)].T @ vector


def _top_error(space: Krylov) -> float:
    residual = float(space.residuals[-1])
    gap = float(space.values[-1] - space.values[-2]) if len(space.values) > 1 else 0.0
    return min(residual, residual**2 / gap) if gap > 0 else residual
