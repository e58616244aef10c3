"""Quantised dense layers and activations, through their coarse derivatives (`isosweep.networks.quantized`).

The dense one is a dense layer whose inputs' derivative is Q(W) and whose weights' derivative is that of W.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.linear import Linear
from isosweep.curvature.products import multiply
from isosweep.networks.quantized import QuantizedLinear

__all__ = ["RULE", "Quantized"]


class Quantized(Linear):
    types: tuple[type[nn.Module], ...] = (QuantizedLinear,)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        weight = cast(QuantizedLinear, module).quantized()
        multiply(cotangents.flatten(0, 1), weight, out.view(-1, weight.shape[1]))

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        return cast(QuantizedLinear, module).quantized()

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return tangents @ cast(QuantizedLinear, module).quantized().T


RULE = Quantized()
