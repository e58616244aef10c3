"""Generalised SignSGD (Crawshaw, Liu, Orabona, Zhang, Zhuang 2022, algorithm 1).

m ← β1 m + (1 − β1) g; v ← β2 v + (1 − β2) m², of the momentum and not of the gradient; θ ← θ − η m/√v, entry by entry.
β2 = 0 is SignSGD with momentum, θ ← θ − η sign m. Where v is 0, so is m, and nothing moves. Weight decay adds λθ to the
gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.sweep.train_settings import TrainSettings
from isosweep.training.manifolds import Manifold
from isosweep.training.optimizers.optimizer import Optimizer

__all__ = ["OPTIMIZER", "SignSgd"]


class SignSgd(Optimizer):
    names = ("sign_sgd",)
    moments = {"mean": True, "square": True}  # noqa: RUF012

    def __init__(self, settings: TrainSettings) -> None:
        assert settings.beta1 is not None
        assert settings.beta2 is not None
        self.beta1, self.beta2 = settings.beta1, settings.beta2

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
        mean = moments["mean"].lerp_(gradient, 1 - self.beta1)
        if self.beta2 == 0:
            direction = torch.sign(mean)  # m/√(m²), also where m² underflows
        else:
            square = moments["square"].mul_(self.beta2).addcmul_(mean, mean, value=1 - self.beta2)
            direction = torch.where(square > 0, mean / torch.sqrt(square), torch.zeros_like(mean))
            # a mean or square that is not a number must not be hidden by the comparison
            direction = torch.where(torch.isnan(square), square, direction)
        on.move(point, direction, -rate)


OPTIMIZER = SignSgd
