"""φ = hΦ(h), Φ the normal distribution. φ' = Φ(h) + h e^(−h²/2)/√(2π).

Φ(h) = ½ erfc(−h/√2), so that the tail keeps its digits.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Gelu(Elementwise):
    types = (nn.GELU,)

    def check(self, module: nn.Module) -> str | None:
        approximate = cast(nn.GELU, module).approximate
        return None if approximate == "none" else f"GELU(approximate={approximate!r}); only the exact one is supported"

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        density = torch.exp(-0.5 * inputs.square()) / math.sqrt(2 * math.pi)
        distribution: Tensor = 0.5 * torch.special.erfc(-inputs / math.sqrt(2))
        return distribution + inputs * density


RULE = Gelu()
