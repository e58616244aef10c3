"""The plain space: every vector is tangent, moving is adding, and every entry is a component of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.training.manifolds.manifold import Manifold, frobenius_scales

__all__ = ["MANIFOLD", "Euclidean"]


class Euclidean(Manifold):
    name = "euclidean"

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        return z

    def square(self, x: Tensor, u: Tensor) -> Tensor:
        return u * u

    def move(
        self, x: Tensor, tangent: Tensor, rate: float, divisor: Tensor | None = None, *, carry: bool = False
    ) -> None:
        if divisor is None:
            x.add_(tangent, alpha=rate)
        else:
            x.addcdiv_(tangent, divisor, value=rate)

    def start(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        scales = frobenius_scales(weights)
        return scales, weights / scales[:, None, None]

    def deviation(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), dtype=x.dtype, device=x.device)


MANIFOLD = Euclidean()
