"""What an optimizer must know of the manifold that weights move on.

A new manifold is one new file in this folder with an instance in a module-level name `MANIFOLD`.

Points are stacks (layers, rows, columns), or for the Euclidean one of any shape; every matrix moves on its own, so a
stack may be cut between layers without changing a bit of it. A layer's weights are scale · X with X on the manifold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Manifold", "ManifoldError"]


class ManifoldError(Exception):
    """Weights that are not on their manifold and cannot be put there."""


class Manifold(ABC):
    """A manifold of matrices with the metric of the space around it.

    Attributes:
        name: as in the sweep file.
    """

    name: str

    @abstractmethod
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The part of z that is tangent at x: of the loss's gradient, the Riemannian gradient. May return z itself."""

    @abstractmethod
    def square(self, x: Tensor, u: Tensor) -> Tensor:
        """⟨u, u⟩ of each component, of a shape that broadcasts against u: what adaptive optimizers average."""

    @abstractmethod
    def move(self, x: Tensor, step: Tensor, carried: Tensor | None = None) -> None:
        """Moves x in place along the tangent `step`, and `carried`, a tangent at the old x, to the new one.

        `step` is not used after, and may be overwritten.
        """

    @abstractmethod
    def start(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(scales (layers,), X) of stacked weights W: s_l = ‖W_l‖_F/√rows, and X the point that s·X is W.

        Where W is near the manifold but not on it, X is the nearest point.

        Raises:
            ManifoldError: the weights are not near the manifold.
        """

    @abstractmethod
    def deviation(self, x: Tensor) -> Tensor:
        """The largest violation of the manifold's equations by each matrix, (layers,)."""


def frobenius_scales(weights: Tensor) -> Tensor:
    """‖W_l‖_F/√rows of stacked weights: σ_w where rows have the norm that Var W = σ_w²/columns gives them."""
    scales: Tensor = torch.linalg.matrix_norm(weights) / weights.shape[1] ** 0.5
    if not bool((scales > 0).all()):
        raise ManifoldError("a layer's weights are all zero: there is no point of the manifold to start from")
    return scales
