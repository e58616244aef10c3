"""φ = clip(h, a, b). φ' is 1 strictly between the two and 0 elsewhere, as torch has it."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class HardTanh(Elementwise):
    types = (nn.Hardtanh,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        module = cast(nn.Hardtanh, module)
        return ((inputs > module.min_val) & (inputs < module.max_val)).to(inputs.dtype)


RULE = HardTanh()
