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

from itertools import groupby

import torch
from torch import Tensor

from isosweep.training.manifolds.orthonormal_rows import OrthonormalRows

__all__ = ["ORTHOGONAL_GROUP", "OrthogonalGroup"]


def _skew(a: Tensor) -> Tensor:
    return torch.sub(a, a.mT).mul_(0.5)


def _by_cholesky(steps: Tensor) -> Tensor:
    """T of steps W with ‖W‖_F ≤ 1, (layers, n, n)."""
    eye = torch.eye(steps.shape[-1], dtype=steps.dtype, device=steps.device)
    factors = torch.linalg.cholesky(steps @ steps.mT + eye)
    rotations: Tensor = torch.linalg.solve_triangular(factors, steps + eye, upper=False)
    return rotations


def _by_reflections(steps: Tensor) -> Tensor:
    """T of steps of any length, (layers, n, n); NaN where W is not finite, which LAPACK must not see."""
    eye = torch.eye(steps.shape[-1], dtype=steps.dtype, device=steps.device)
    finite = torch.isfinite(steps).all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    q, r = torch.linalg.qr((torch.where(finite, steps, 0.0) + eye).mT)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(q.dtype)
    return torch.where(finite, (q * signs[:, None, :]).mT, torch.nan)


class OrthogonalGroup(OrthonormalRows):
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

        def way(length: float) -> int:
            w = abs(length)
            return 0 if w**2 <= half else 1 if w**3 <= half else 2 if w <= 1 else 3

        # every matrix goes its own way, those next to each other that go the same way together
        first = 0
        for chosen, group in groupby(map(way, (lengths * by).flatten().tolist())):
            part = slice(first, first + len(list(group)))
            first = part.stop
            self._move(x[part], tangent[part], by[part], chosen, carry)

    def _move(self, x: Tensor, tangent: Tensor, by: Tensor, way: int, carry: bool) -> None:
        """The four ways of the file's beginning."""
        if way == 0:
            x.addcmul_(tangent @ x, by)
            return
        steps = tangent * by
        if way == 1:
            phi = torch.tril(steps @ steps.mT)
            phi.diagonal(dim1=-2, dim2=-1).mul_(0.5)
            x.add_(torch.sub(steps, phi) @ x)
            if carry:
                tangent.sub_(_skew(phi @ tangent))
            return
        rotations = _by_cholesky(steps) if way == 2 else _by_reflections(steps)
        x.copy_(rotations @ x)
        if carry:
            tangent.copy_(_skew(tangent @ rotations.mT))

    def restore(self, x: Tensor) -> None:
        """X ← X − ½(XXᵀ − I)X: the nearest orthogonal matrix, up to the square of the deviation."""
        gram = x @ x.mT
        gram.diagonal(dim1=-2, dim2=-1).sub_(1)
        x.sub_(torch.bmm(gram, x).mul_(0.5))


ORTHOGONAL_GROUP = OrthogonalGroup()
