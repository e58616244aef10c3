"""φ = hσ(h). φ' = σ(h)(1 + hσ(−h)): σ(−h) stands for 1 − σ(h), which would cancel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Silu(Elementwise):
    types = (nn.SiLU,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return torch.sigmoid(inputs) * (1 + inputs * torch.sigmoid(-inputs))


RULE = Silu()
