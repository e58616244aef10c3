"""φ = h above 0, α(eʰ − 1) below; φ' = αeʰ below."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Elu(Elementwise):
    types = (nn.ELU,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        alpha = cast(nn.ELU, module).alpha
        return torch.where(inputs > 0, torch.ones_like(inputs), alpha * torch.exp(inputs.clamp(max=0)))


RULE = Elu()
