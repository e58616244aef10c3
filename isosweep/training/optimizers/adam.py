"""Adam (Kingma and Ba 2015), in the plain space or along a manifold (Bécigneul and Ganea 2019).

m ← β1 m + (1 − β1) g; v ← β2 v + (1 − β2)⟨g, g⟩ over each component of the manifold (each entry in the plain space,
each row on the oblique manifold, each matrix on the Stiefel manifold); the step is −η m̂/(√v̂ + ε), m̂ and v̂ without
the bias of their start at zero, and m is carried along. Weight decay adds λθ to the gradient. As `torch.optim.Adam`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isosweep.sweep.train_settings import TrainSettings
from isosweep.training.manifolds import Manifold
from isosweep.training.optimizers.optimizer import Optimizer

__all__ = ["OPTIMIZER", "Adam"]


class Adam(Optimizer):
    names: tuple[str, ...] = ("adam", "riemannian_adam")
    moments = {"mean": True, "square": False}  # noqa: RUF012

    def __init__(self, settings: TrainSettings) -> None:
        assert settings.beta1 is not None
        assert settings.beta2 is not None
        assert settings.eps is not None
        self.beta1, self.beta2, self.eps = settings.beta1, settings.beta2, settings.eps

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
            gradient = self.decayed(point, gradient, rate, decay)
        gradient = on.project(point, gradient)
        mean = moments["mean"].lerp_(gradient, 1 - self.beta1)
        square = moments["square"].mul_(self.beta2).add_(on.square(point, gradient), alpha=1 - self.beta2)
        # both biases in the two numbers: η m/(1 − β1ᵗ) / (√v/√(1 − β2ᵗ) + ε)
        denominator = torch.sqrt(square).div_(math.sqrt(1 - self.beta2**count)).add_(self.eps)
        on.move(point, mean, -rate / (1 - self.beta1**count), denominator, carry=True)

    def decayed(self, point: Tensor, gradient: Tensor, rate: float, decay: float) -> Tensor:
        """The gradient with the weight decay."""
        return gradient.add(point, alpha=decay)


OPTIMIZER = Adam
