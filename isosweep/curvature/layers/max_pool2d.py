"""Maximum pooling of images. Where several entries are largest, the derivative is torch's: one of them counts."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Rule

__all__ = ["RULE", "MaxPool2d"]


class MaxPool2d(Rule):
    types = (nn.MaxPool2d,)

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        layer = cast(nn.MaxPool2d, module)
        size, stride, padding, dilation = map(_pair, (layer.kernel_size, layer.stride, layer.padding, layer.dilation))
        outputs, places = nn.functional.max_pool2d_with_indices(
            inputs, size, stride, padding, dilation, layer.ceil_mode
        )
        return outputs, places

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        k = len(cotangents)
        out.zero_()
        places = saved.flatten(2).expand(k, *saved.shape[:2], -1)
        out.flatten(3).scatter_add_(3, places, cotangents.flatten(3))

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return tangents.flatten(2).gather(2, saved.flatten(2)).view(saved.shape)

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        n, (channels, height, width) = len(saved), shape
        plane = torch.arange(channels, device=saved.device)[:, None, None] * (height * width)
        # ones and zeros, exact in every dtype; the product takes its neighbour's
        matrix = torch.zeros(n, saved[0].numel(), shape.numel(), dtype=torch.float64, device=saved.device)
        return matrix.scatter_(2, (saved + plane).reshape(n, -1, 1), 1.0)

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        return None if len(shape) == 3 else "images, (channels, height, width)"


def _pair(size: int | tuple[int, ...]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


RULE = MaxPool2d()
