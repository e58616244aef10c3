"""Gradient descent with heavy-ball momentum, in the plain space or along a manifold.

m ← μ m + grad; θ ← retraction of −η m at θ; m carried along. Weight decay adds λθ to the gradient. As
`torch.optim.SGD` without dampening, and on manifolds Bonnabel 2013, "Stochastic gradient descent on Riemannian
manifolds".
"""

from __future__ import annotations

from torch import Tensor

from isosweep.sweep.train_settings import TrainSettings
from isosweep.training.manifolds import Manifold
from isosweep.training.optimizers.optimizer import Optimizer

__all__ = ["OPTIMIZER", "Sgd"]


class Sgd(Optimizer):
    names = ("sgd", "riemannian_sgd")
    moments = {"momentum": True}  # noqa: RUF012

    def __init__(self, settings: TrainSettings) -> None:
        self.momentum = settings.momentum or 0.0

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
        if decay:
            gradient = gradient.add(point, alpha=decay)
        gradient = on.project(point, gradient)
        if self.momentum == 0:
            on.move(point, gradient, -rate)
            return
        momentum = moments["momentum"].mul_(self.momentum).add_(gradient)
        on.move(point, momentum, -rate, carry=True)


OPTIMIZER = Sgd
