"""Average pooling of images: linear, without parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Rule

__all__ = ["RULE", "AvgPool2d"]


class AvgPool2d(Rule):
    types = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        return outputs, inputs.new_empty(len(inputs), 0)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        images = out.flatten(0, 1)
        with torch.enable_grad():
            at = torch.zeros_like(images, requires_grad=True)
            (back,) = torch.autograd.grad(module(at), at, cotangents.flatten(0, 1))
        images.copy_(back)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        outputs: Tensor = module(tangents)
        return outputs

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        return None if len(shape) == 3 else "images, (channels, height, width)"

    def check(self, module: nn.Module) -> str | None:
        ceil = isinstance(module, nn.AvgPool2d) and module.ceil_mode
        return "AvgPool2d with ceil_mode=True" if ceil else None


RULE = AvgPool2d()
