"""What an optimizer must know of the manifold that weights move on.

A new manifold is one new file in this folder with an instance in a module-level name `MANIFOLD`.

Points are stacks (layers, rows, columns), or for the Euclidean one of any shape; every matrix moves on its own, so a
stack may be cut between layers. A layer's weights are scale · X with X on the manifold. How a tangent vector is written
is the manifold's affair, so long as it is a tensor of the point's shape, linear in the vector and of the same length.
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

    def of_shape(self, rows: int, columns: int) -> Manifold:
        """The same manifold as it is best computed for matrices of this shape."""
        return self

    @abstractmethod
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The part of z that is tangent at x: of the loss's gradient, the Riemannian gradient. May return z itself."""

    @abstractmethod
    def square(self, x: Tensor, u: Tensor) -> Tensor:
        """⟨u, u⟩ of each component, of a shape that broadcasts against u: what adaptive optimizers average."""

    @abstractmethod
    def move(
        self, x: Tensor, tangent: Tensor, rate: float, divisor: Tensor | None = None, *, carry: bool = False
    ) -> None:
        """Moves x in place along rate · tangent / divisor.

        Args:
            tangent: at x; not changed without `carry`.
            rate: how far, with its sign.
            divisor: one number for each component (of the shape of `square`); None: 1.
            carry: whether `tangent` is transported to the new x, in place.
        """

    def restore(self, x: Tensor) -> None:  # noqa: B027  # most have nothing to do
        """Puts x, in place, back onto the manifold that rounding takes it from.

        Called once in `isosweep.training.parameters.RESTORED` steps; for manifolds that do so in every `move`, nothing.
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
