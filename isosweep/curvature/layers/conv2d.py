"""A convolution of images, h = W * x + b, with zero or circular padding.

With p the places of the output and x_i(p) the patch under the kernel there, the gradient of cotangent c at sample i is
Σ_p c_i(p) x_i(p)ᵀ for W and Σ_p c_i(p) for b. Weights are shared by all places, so that the dual does not factor into
samples and cotangents as a dense layer's: these gradients are formed, R × P of the layer, and multiplied.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, unfold
from torch.nn.grad import conv2d_input

from isosweep.curvature.layers.rule import GramTerm, Parameters, Rule

__all__ = ["RULE", "Conv2d"]


class Conv2d(Rule):
    types = (nn.Conv2d,)
    counts = True

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        return outputs, inputs

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        layer = cast(nn.Conv2d, module)
        flat = cotangents.flatten(0, 1)
        left, right, top, bottom = _padding(layer)
        channels, height, width = saved.shape[1:]
        padded = (len(flat), channels, height + top + bottom, width + left + right)
        back: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            padded, layer.weight, flat, layer.stride, 0, layer.dilation, layer.groups
        )
        out.view(-1, channels, height, width).copy_(_unpad(back, layer, height, width))

    def gram_terms(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> list[GramTerm]:
        return [GramTerm(None, 1.0, self._sample_gradients(cast(nn.Conv2d, module), saved, cotangents, parameters))]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        return self._sample_gradients(cast(nn.Conv2d, module), saved, cotangents, parameters).sum(dim=1)

    def _sample_gradients(self, layer: nn.Conv2d, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        """(k, n, P) in the order of the module's parameters."""
        patches = unfold(_pad(saved, layer), _pair(layer.kernel_size), _pair(layer.dilation), 0, _pair(layer.stride))
        k, n = cotangents.shape[:2]
        places = cotangents.flatten(3)
        g, p = layer.groups, places.shape[3]
        grouped = places.reshape(k, n, g, -1, p).permute(1, 2, 0, 3, 4)  # (n, groups, k, out, p)
        under = patches.view(n, g, -1, p)  # (n, groups, in · kernel, p)
        products = grouped.flatten(2, 3) @ under.mT
        weights: Tensor = products.view(n, g, k, -1, under.shape[2]).permute(2, 0, 1, 3, 4).reshape(k, n, -1)
        if parameters == "weights" or layer.bias is None:
            return weights
        return torch.cat([weights, places.sum(dim=3)], dim=2)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        layer = cast(nn.Conv2d, module)
        return _convolved(layer, tangents, layer.weight)

    def push_parameters(self, module: nn.Module, saved: Tensor, direction: Tensor, parameters: Parameters) -> Tensor:
        layer = cast(nn.Conv2d, module)
        count = layer.weight.numel()
        change = _convolved(layer, saved, direction[:count].view_as(layer.weight))
        return change + direction[count:, None, None] if len(direction) > count else change

    def parameter_count(self, module: nn.Module, parameters: Parameters) -> int:
        layer = cast(nn.Conv2d, module)
        with_bias = parameters == "all" and layer.bias is not None
        return layer.weight.numel() + (layer.out_channels if with_bias else 0)

    def check(self, module: nn.Module) -> str | None:
        mode = cast(nn.Conv2d, module).padding_mode
        return None if mode in ("zeros", "circular") else f"Conv2d with padding_mode={mode!r} (zeros or circular are)"

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        channels = cast(nn.Conv2d, module).in_channels
        fits = len(shape) == 3 and shape[0] == channels
        return None if fits else f"images of {channels} channels, (channels, height, width)"


def _pair(size: tuple[int, ...]) -> tuple[int, int]:
    return size[0], size[1]


def _padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    return left, right, top, bottom


def _pad(images: Tensor, layer: nn.Conv2d) -> Tensor:
    sides = _padding(layer)
    if not any(sides):
        return images
    return pad(images, sides, mode="circular" if layer.padding_mode == "circular" else "constant")


def _unpad(padded: Tensor, layer: nn.Conv2d, height: int, width: int) -> Tensor:
    """The transpose of `_pad`: what lies in a margin is dropped, or added where it was copied from."""
    left, right, top, bottom = _padding(layer)
    if layer.padding_mode != "circular":
        return padded[..., top : top + height, left : left + width]
    rows = padded[..., top : top + height, :].clone()
    if top:
        rows[..., height - top :, :] += padded[..., :top, :]
    if bottom:
        rows[..., :bottom, :] += padded[..., top + height :, :]
    inner = rows[..., left : left + width].clone()
    if left:
        inner[..., width - left :] += rows[..., :left]
    if right:
        inner[..., :right] += rows[..., left + width :]
    return inner


def _convolved(layer: nn.Conv2d, images: Tensor, weight: Tensor) -> Tensor:
    return conv2d(_pad(images, layer), weight, None, _pair(layer.stride), 0, _pair(layer.dilation), layer.groups)


RULE = Conv2d()
