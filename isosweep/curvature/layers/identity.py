"""φ(h) = h."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Elementwise

__all__ = ["RULE"]


class Identity(Elementwise):
    types = (nn.Identity,)
    is_identity = True

    def derivative(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return torch.ones_like(inputs)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        if out is not cotangents and out.data_ptr() != cotangents.data_ptr():
            out.copy_(cotangents)


RULE = Identity()
