"""φ = erf(h) and φ = erf(√π h/2). φ' = (2/√π) e^(−h²) and e^(−πh²/4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise
from isosweep.networks.activations import Erf, ScaledErf

__all__ = ["RULE"]


class Erfs(Elementwise):
    types = (Erf, ScaledErf)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        if isinstance(module, ScaledErf):
            return torch.exp(-(math.pi / 4) * inputs.square())
        return (2 / math.sqrt(math.pi)) * torch.exp(-inputs.square())


RULE = Erfs()
