"""Orthogonal matrices, XXᵀ = I: the Stiefel manifold of square ones, which is a group, at fewer products.

Every tangent vector at X is ΩX with a skew Ω, of the same length, and is written as Ω. In these coordinates, with the
metric, retraction and transport of `isosweep.training.manifolds.stiefel`:

- The tangent part of Z is (ZXᵀ − XZᵀ)/2: one product in place of two.
- A step W = rate · Ω has (X + WX)(X + WX)ᵀ = I + E with E = WWᵀ, whatever X is. With LLᵀ = I + E the QR retraction is
  X ← TX, T = L⁻¹(I + W).
- The transport by projection of ΩX to TX is the skew part of ΩTᵀ. ΩW is symmetric, since W is a multiple of Ω; so the
  skew part of ΩTᵀ = Ω(I − W)L⁻ᵀ is Ω up to terms of the size of E.

How much of it is computed depends on w = ‖W‖_F alone, and each leaves out what is below the rounding of the floating
type, u. Let Φ be the lower half of E with half its diagonal, so that L = I + Φ + O(w⁴) and ‖Φ‖_F ≤ w²/√2.

- w² ≤ u/2: T = I + W and Ω stays: after the projection, one product.
- w³ ≤ u/2: T = I + W − Φ, and the transport is Ω − skew(ΦΩ): three products.
- w ≤ 1: by a Cholesky factor of I + E, whose condition number is at most 2.
- else: T by Householder reflections of I + W, at any condition number.

Rounding moves X from the manifold by less than a unit of its last digit a step, and W itself is exact; so nothing looks
at XXᵀ in a step, and `restore` does from time to time. A product of n × n matrices being 2n³ operations, a step of Adam
is 4n³ where w² ≤ u/2, and 8n³ where w³ ≤ u/2; with the projection, the QR decomposition and the transport computed as
they are defined it is 10⅔ n³.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.training.manifolds.manifold import Manifold

__all__ = ["ORTHOGONAL_GROUP", "OrthogonalGroup"]


def _skew(a: Tensor) -> Tensor:
    return torch.sub(a, a.mT).mul_(0.5)


def _rotation(step: Tensor) -> Tensor:
    """T of a step W, (n, n), at any length; NaN where W is not finite."""
    eye = torch.eye(len(step), dtype=step.dtype, device=step.device)
    if not bool(torch.isfinite(step).all()):
        return torch.full_like(step, torch.nan)
    if float(torch.linalg.matrix_norm(step)) <= 1:
        factor = torch.linalg.cholesky(torch.addmm(eye, step, step.mT))
        rotation: Tensor = torch.linalg.solve_triangular(factor, eye.add_(step), upper=False)
        return rotation
    q, r = torch.linalg.qr(eye.add_(step).mT)
    signs = torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
    turned: Tensor = (q * signs).mT
    return turned


class OrthogonalGroup(Manifold):
    name = "stiefel"

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Ω of the tangent part of z, (layers, n, n)."""
        return _skew(z @ x.mT)

    def square(self, x: Tensor, u: Tensor) -> Tensor:
        """One number a matrix: each is one component of the product of manifolds."""
        norms: Tensor = torch.linalg.matrix_norm(u, keepdim=True)
        return norms.square_()

    def move(
        self, x: Tensor, tangent: Tensor, rate: float, divisor: Tensor | None = None, *, carry: bool = False
    ) -> None:
        lengths = torch.linalg.matrix_norm(tangent, keepdim=True)
        by = torch.full_like(lengths, rate) if divisor is None else rate / divisor
        half = torch.finfo(x.dtype).eps / 4  # u/2; eps is the distance from 1 to the next number, 2u
        far = [abs(w) for w in (lengths * by).flatten().tolist()]
        if all(w**2 <= half for w in far):
            x.addcmul_(tangent @ x, by)
            return
        for layer, w in enumerate(far):
            if w**2 <= half:
                x[layer].addcmul_(tangent[layer] @ x[layer], by[layer])
            else:
                self._far(x[layer], tangent[layer], tangent[layer] * by[layer], w**3 <= half, carry)

    def _far(self, x: Tensor, tangent: Tensor, step: Tensor, series: bool, carry: bool) -> None:
        """One matrix whose E is not below rounding."""
        if series:
            phi = torch.tril(step @ step.mT)
            phi.diagonal().mul_(0.5)
            x.add_(torch.sub(step, phi) @ x)
            if carry:
                tangent.sub_(_skew(phi @ tangent))
            return
        rotation = _rotation(step)
        x.copy_(rotation @ x)
        if carry:
            tangent.copy_(_skew(tangent @ rotation.mT))

    def restore(self, x: Tensor) -> None:
        """X ← X − ½(XXᵀ − I)X: the nearest orthogonal matrix, up to the square of the deviation."""
        gram = x @ x.mT
        gram.diagonal(dim1=-2, dim2=-1).sub_(1)
        x.sub_(torch.bmm(gram, x).mul_(0.5))

    def start(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("weights are brought onto the manifold by the Stiefel manifold that it belongs to")

    def deviation(self, x: Tensor) -> Tensor:
        """max over entries of |XXᵀ − I|."""
        gram = x @ x.mT
        gram.diagonal(dim1=-2, dim2=-1).sub_(1)
        return gram.abs().amax(dim=(-2, -1))


ORTHOGONAL_GROUP = OrthogonalGroup()
