"""A clipped ReLU on a uniform grid: its coarse derivative is 1 on [0, α] and 0 elsewhere, as torch has it for clamp."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise
from isosweep.networks.quantized import QuantizedReLU

__all__ = ["RULE"]


class QuantizedRelu(Elementwise):
    types = (QuantizedReLU,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return ((inputs >= 0) & (inputs <= cast(QuantizedReLU, module).clip)).to(inputs.dtype)


RULE = QuantizedRelu()
