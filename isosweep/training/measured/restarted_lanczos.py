"""Lanczos in a basis of bounded size, for the algebraically largest eigenvalues of a symmetric operator.

Thick restarts (Wu and Simon 2000, "Thick-restart Lanczos method for large symmetric eigenvalue problems"): when the
basis is full, the leading Ritz vectors and the residual's direction become the beginning of the next. Every new vector
is orthogonalised twice against the whole basis, and the operator's restriction is kept as a dense matrix, which needs
no case of its own for the vectors that were kept.

Guarantees: holds `dimension` vectors and two more; a Ritz value with residual r is within r of an eigenvalue, whether
it has converged or not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

__all__ = ["restarted_lanczos"]

# Columns of the basis that a restart combines at a time: a constant, so that no second basis is held.
_COLUMNS = 1 << 16


def restarted_lanczos(
    operator: Callable[[Tensor], Tensor],
    start: Tensor,
    count: int,
    dimension: int,
    products: int,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(Ritz values, residuals) of the `count` algebraically largest eigenvalues, largest first, float64.

    Args:
        operator: v ↦ Av, (R,) → (R,).
        start: (R,), not zero.
        count: how many, at least 1.
        dimension: of the basis, at least count + 2.
        products: with A, at most.
        tolerance: ends where all residuals are below it, as a share of the largest Ritz value in size.
    """
    assert dimension >= count + 2
    dimension = min(dimension, start.numel())
    basis = start.new_empty(dimension, start.numel())
    basis[0] = start / start.norm()
    restriction = np.zeros((dimension, dimension))
    kept, done, scale = 0, 0, 0.0
    while True:
        for j in range(kept, dimension):
            w = operator(basis[j])
            done += 1
            held = basis[: j + 1]
            overlap = held @ w
            w = torch.addmv(w, held.T, overlap, alpha=-1)
            correction = held @ w
            w = torch.addmv(w, held.T, correction, alpha=-1)
            restriction[: j + 1, j] = restriction[j, : j + 1] = (overlap + correction).cpu().numpy()
            coupling = float(w.norm())
            size = j + 1
            invariant = coupling <= torch.finfo(start.dtype).eps * max(scale, float(abs(restriction[:size, j]).max()))
            if invariant or size == dimension or done >= products:
                break
            basis[size] = w / coupling
        values, vectors = scipy.linalg.eigh(restriction[:size, :size])
        scale = max(scale, float(abs(values).max()))
        residuals = np.zeros(size) if invariant else abs(coupling * vectors[-1])
        if invariant or done >= products or bool((residuals[-count:] <= tolerance * scale).all()):
            return values[::-1][:count].copy(), residuals[::-1][:count].copy()
        kept = count + (dimension - count) // 3
        leading = torch.as_tensor(vectors[:, -kept:].T.copy(), dtype=start.dtype, device=start.device)
        for columns in torch.split(basis, _COLUMNS, dim=1):
            columns[:kept] = leading @ columns
        basis[kept] = w / coupling
        restriction[:] = 0
        restriction[np.arange(kept), np.arange(kept)] = values[-kept:]
