"""φ = 1/(1 + e^(−h)). φ' = e^(−|h|)/(1 + e^(−|h|))², without the cancellation of φ(1 − φ)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Sigmoid(Elementwise):
    types = (nn.Sigmoid,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        decay = torch.exp(-inputs.abs())
        return decay / (1 + decay).square_()


RULE = Sigmoid()
