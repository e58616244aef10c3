"""φ = sin h, φ' = cos h."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise
from isosweep.networks.activations import Sin

__all__ = ["RULE"]


class Sine(Elementwise):
    types = (Sin,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return torch.cos(inputs)


RULE = Sine()
