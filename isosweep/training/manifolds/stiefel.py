"""The Stiefel manifold of matrices with orthonormal rows, XXᵀ = I, under the metric of the space around it.

Tangent part of Z: Z − sym(ZXᵀ)X. Retraction: the Q of the QR decomposition of (X + U)ᵀ, with the signs that make R's
diagonal positive (Absil, Mahony, Sepulchre 2008, example 4.1.3). Transport: the tangent part at the new point.

That Q is found as L⁻¹(X + U) with LLᵀ = (X + U)(X + U)ᵀ, the Cholesky factor (whose diagonal is positive, so R = Lᵀ).
CholeskyQR loses orthogonality as the squared condition number, which here is at most 1 + ‖U‖², since a tangent U gives
(X + U)(X + U)ᵀ = I + UUᵀ. Where ‖U‖_F² exceeds `SMALL` it is done twice (CholeskyQR2; Yamamoto et al. 2015); beyond
`LARGE`, where the Cholesky factor would lose its digits, that matrix is decomposed by Householder reflections.

Tangent vectors are written as they are. Square matrices have a file of their own, `orthogonal_group`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.training.manifolds.manifold import Manifold
from isosweep.training.manifolds.orthogonal_group import ORTHOGONAL_GROUP
from isosweep.training.manifolds.orthonormal_rows import OrthonormalRows, orthonormalise

__all__ = ["LARGE", "MANIFOLD", "SMALL", "Stiefel"]

# ‖U‖_F²: κ² ≤ 1 + ‖U‖_F² must stay below 1/ε of float32 with room to spare.
SMALL, LARGE = 1.0, 1e4


def _by_reflections(a: Tensor) -> None:
    """The same by LAPACK's QR, at any condition number."""
    if not bool(torch.isfinite(a).all()):
        a.fill_(torch.nan)
        return
    q, r = torch.linalg.qr(a.mT)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(q.dtype)
    a.copy_((q * signs[:, None, :]).mT)


class Stiefel(OrthonormalRows):
    def of_shape(self, rows: int, columns: int) -> Manifold:
        """Square ones are the orthogonal group, where the same step takes fewer products."""
        return ORTHOGONAL_GROUP if rows == columns else self

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        product = z @ x.mT
        return torch.baddbmm(z, product + product.mT, x, alpha=-0.5)

    def square(self, x: Tensor, u: Tensor) -> Tensor:
        """One number a matrix: each is one component of the product of manifolds."""
        return (u * u).sum(dim=(-2, -1), keepdim=True)

    def move(
        self, x: Tensor, tangent: Tensor, rate: float, divisor: Tensor | None = None, *, carry: bool = False
    ) -> None:
        step = tangent * (rate if divisor is None else rate / divisor)
        lengths = (step * step).sum(dim=(-2, -1))
        x.add_(step)
        # every matrix decides for itself, so that a stack may be cut anywhere
        for layer in torch.nonzero(~(lengths <= LARGE)).flatten().tolist():
            _by_reflections(x[layer : layer + 1])
        orthonormalise(x)
        for layer in torch.nonzero((lengths > SMALL) & (lengths <= LARGE)).flatten().tolist():
            orthonormalise(x[layer : layer + 1])
        if carry:
            tangent.copy_(self.project(x, tangent))


MANIFOLD = Stiefel()
