"""Muon (Jordan et al. 2024) for the hidden weights, Adam for biases and readout.

Of a hidden layer: m ← μ m + g; u = g + μ m (Nesterov); θ ← θ − η √max(1, rows/columns) · NS(u), NS five steps of the
quintic Newton–Schulz iteration, which bring every singular value of u near 1: X ← aX + (bA + cA²)X with A = XXᵀ. It
runs in the training's own floating type, on whole stacks. Weight decay is decoupled, θ ← θ − ηλθ; its rate is
`learning_rate_manifold`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.sweep.train_settings import TrainSettings
from isosweep.training.manifolds import Manifold
from isosweep.training.optimizers.adam import Adam
from isosweep.training.optimizers.optimizer import Optimizer

__all__ = ["OPTIMIZER", "Muon", "newton_schulz"]

# Jordan's coefficients: a p(x) = ax + bx³ + cx⁵ of steep slope at 0 that keeps [0, 1] within about [0.7, 1.2].
_QUINTIC = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_EPS = 1e-7


def newton_schulz(stack: Tensor) -> Tensor:
    """Matrices (layers, rows, columns) with the same singular vectors and singular values near 1."""
    a, b, c = _QUINTIC
    tall = stack.shape[-2] > stack.shape[-1]
    x = stack.mT if tall else stack
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + _EPS)
    for _ in range(_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


class _OfMatrices(Optimizer):
    names = ()
    moments = {"momentum": True}  # noqa: RUF012

    def __init__(self, settings: TrainSettings) -> None:
        assert settings.momentum is not None
        self.momentum = settings.momentum

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
        momentum = moments["momentum"].mul_(self.momentum).add_(gradient)
        update = newton_schulz(torch.add(gradient, momentum, alpha=self.momentum))
        if decay:
            point.mul_(1 - rate * decay)
        point.add_(update, alpha=-rate * max(1.0, point.shape[-2] / point.shape[-1]) ** 0.5)


class Muon(Adam):
    names = ("muon",)
    moves_matrices = True

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__(settings)
        self._matrices = _OfMatrices(settings)

    def matrices(self) -> Optimizer:
        return self._matrices


OPTIMIZER = Muon
