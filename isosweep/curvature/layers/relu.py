"""φ = max(h, 0). φ' is 0 at h = 0, as torch has it."""

from __future__ import annotations

from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Relu(Elementwise):
    types = (nn.ReLU,)

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return (inputs > 0).to(inputs.dtype)


RULE = Relu()
