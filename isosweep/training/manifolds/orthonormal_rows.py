"""What matrices with orthonormal rows, XXᵀ = I, have in common however a step on them is computed."""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.training.manifolds.manifold import Manifold, ManifoldError, frobenius_scales

__all__ = ["OrthonormalRows", "orthonormalise"]

# Weights this far from orthonormal rows are of another kind than those that rounding moved.
_NEAR = 1e-3


def orthonormalise(a: Tensor) -> None:
    """a ← L⁻¹a in place, LLᵀ = aaᵀ, (layers, rows, columns). What is not finite or of full rank becomes NaN."""
    factor, failed = torch.linalg.cholesky_ex(a @ a.mT)
    factor = torch.where((failed != 0)[:, None, None], torch.nan, factor)
    torch.linalg.solve_triangular(factor, a, upper=False, out=a)


class OrthonormalRows(Manifold):
    name = "stiefel"

    def start(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        scales = frobenius_scales(weights)
        x = weights / scales[:, None, None]
        off = float(self.deviation(x).max())
        if not off <= _NEAR:
            raise ManifoldError(
                f"the weights' rows are not orthonormal up to one scale (|XXᵀ − I| reaches {off:.3g}), as the Stiefel "
                "manifold needs: start from init: orthogonal in layers with no more rows than columns"
            )
        for _ in range(2):
            orthonormalise(x)
        return scales, x

    def deviation(self, x: Tensor) -> Tensor:
        """max over entries of |XXᵀ − I|."""
        gram = x @ x.mT
        gram.diagonal(dim1=-2, dim2=-1).sub_(1)
        return gram.abs().amax(dim=(-2, -1))
