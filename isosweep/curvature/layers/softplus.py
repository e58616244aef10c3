"""φ = ln(1 + e^(βh))/β. φ' = 1/(1 + e^(−βh)), and exactly 1 above torch's threshold, where torch's φ is h."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Softplus(Elementwise):
    types = (nn.Softplus,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        module = cast(nn.Softplus, module)
        scaled = inputs * module.beta
        return torch.sigmoid(scaled).masked_fill_(scaled > module.threshold, 1.0)


RULE = Softplus()
