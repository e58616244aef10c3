"""What training must know of an optimizer.

A new optimizer is one new file in this folder, with a subclass of `Optimizer` in a module-level name `OPTIMIZER`, and
one line in `isosweep.sweep.train_settings.OPTIMIZER_OPTIONS` for the options it takes.

The same class moves every group of parameters: on plain ones and scales the manifold is the Euclidean one, where
projecting, squaring and moving are what they are in a plain optimizer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from isosweep.sweep.train_settings import TrainSettings
from isosweep.training.manifolds import Manifold, manifold

__all__ = ["Optimizer"]


class Optimizer(ABC):
    """An update rule without memory of its own: its moments are handed in, so that they can be saved and cut.

    Attributes:
        names: as in the sweep file.
        moments: name → whether it has an entry for every entry of the point (True), or for every component of its
            manifold (False: the shape of `Manifold.square`). All begin at zero.
        moves_matrices: whether hidden weights are moved as whole matrices although they are on no manifold.
    """

    names: tuple[str, ...]
    moments: dict[str, bool]
    moves_matrices: bool = False

    @abstractmethod
    def __init__(self, settings: TrainSettings) -> None:
        """With the options of the settings, none of its own being None."""

    @abstractmethod
    def step(
        self,
        point: Tensor,
        gradient: Tensor,
        moments: dict[str, Tensor],
        on: Manifold,
        rate: float,
        count: int,
        decay: float,
    ) -> None:
        """Moves `point` and `moments` in place.

        Args:
            point: any shape on the Euclidean manifold, else (layers, rows, columns).
            gradient: ∂loss/∂point in the space around the manifold; may be overwritten.
            moments: one tensor for each of `moments`.
            on: the manifold.
            rate: the learning rate of this step.
            count: 1 in the first step.
            decay: the weight decay; 0 for what has none (scales, and weights of fixed norm).
        """

    def matrices(self) -> Optimizer:
        """The rule for hidden weights, where `moves_matrices`: by default this one."""
        return self


def euclidean() -> Manifold:
    """The plain space."""
    return manifold("euclidean")
