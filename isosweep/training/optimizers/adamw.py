"""Adam with decoupled weight decay (Loshchilov and Hutter 2019): θ ← θ − ηλθ beside Adam's own step."""

from __future__ import annotations

from torch import Tensor

from isosweep.training.optimizers.adam import Adam

__all__ = ["OPTIMIZER", "AdamW"]


class AdamW(Adam):
    names = ("adamw",)

    def decayed(self, point: Tensor, gradient: Tensor, rate: float, decay: float) -> Tensor:
        point.mul_(1 - rate * decay)
        return gradient


OPTIMIZER = AdamW
