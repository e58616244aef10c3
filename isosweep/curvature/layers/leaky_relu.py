"""φ = h above 0, a·h below. φ' is a at h = 0, as torch has it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class LeakyRelu(Elementwise):
    types = (nn.LeakyReLU,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        slope = cast(nn.LeakyReLU, module).negative_slope
        return torch.full_like(inputs, slope).masked_fill_(inputs > 0, 1.0)


RULE = LeakyRelu()
