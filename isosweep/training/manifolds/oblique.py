"""The oblique manifold: every row on the unit sphere (Absil and Gallivan 2006), moved along great circles.

The transport of a tangent vector is its projection at the new point, as for the Stiefel manifold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.training.manifolds.manifold import Manifold, frobenius_scales

__all__ = ["MANIFOLD", "Oblique"]


class Oblique(Manifold):
    name = "oblique"

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        return torch.addcmul(z, x, (x * z).sum(dim=-1, keepdim=True), value=-1)

    def square(self, x: Tensor, u: Tensor) -> Tensor:
        """One number a row: each lies on a sphere of its own."""
        return (u * u).sum(dim=-1, keepdim=True)

    def move(
        self, x: Tensor, tangent: Tensor, rate: float, divisor: Tensor | None = None, *, carry: bool = False
    ) -> None:
        # exp_x(u) = cos|u| x + (sin|u|/|u|) u; sinc has the limit at 0, in units of π
        by: Tensor | float = rate if divisor is None else rate / divisor
        length = torch.linalg.vector_norm(tangent, dim=-1, keepdim=True).mul_(abs(by))
        x.mul_(torch.cos(length)).addcmul_(tangent, torch.sinc(length / torch.pi).mul_(by))
        # rounding would leave the sphere by a random walk, one ulp a step
        x.div_(torch.linalg.vector_norm(x, dim=-1, keepdim=True))
        if carry:
            tangent.addcmul_(x, (x * tangent).sum(dim=-1, keepdim=True), value=-1)

    def start(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        return frobenius_scales(weights), weights / torch.linalg.vector_norm(weights, dim=-1, keepdim=True)

    def deviation(self, x: Tensor) -> Tensor:
        """max over rows of ||x|² − 1|."""
        return ((x * x).sum(dim=-1) - 1).abs().amax(dim=-1)


MANIFOLD = Oblique()
