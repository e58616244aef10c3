"""A convolution of images, h = W * x + b, with zero or circular padding.

With p the places of the output and x_i(p) the patch under the kernel there, the gradient of cotangent c at sample i is
Σ_p c_i(p) x_i(p)ᵀ for W and Σ_p c_i(p) for b. Weights are shared by all places, so that the dual does not factor into
samples and cotangents as a dense layer's. Of two ways the one with fewer operations is taken, by shapes alone:

- the gradients are formed, R × P of the layer, and multiplied: R² P operations; some output channels at a time, so that
  at most `PART_BYTES` of them are there at once;
- Σ over pairs of places of (x_i(p)·x_j(p') + 1)(c_ia(p)·c_jb(p')), as if every place were a dense layer of its own with
  shared weights: R² p² (channels + 1). Small images of many channels, as a deep network ends with, are cheaper so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, unfold
from torch.nn.grad import conv2d_input

from isosweep.curvature.layers.rule import GramTerm, LaterTerm, Parameters, Rule, Term

__all__ = ["PART_BYTES", "RULE", "Conv2d"]

# Of gradients that are formed together: the tiles' products are as fast, and memory is bounded.
PART_BYTES = 64 * 2**20
# What a product of two places costs beside its channels: the element-wise product with the samples' factor.
_PLACE_COST = 16


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
    ) -> Sequence[Term]:
        layer = cast(nn.Conv2d, module)
        rows = cotangents.shape[0] * cotangents.shape[1]
        channels = layer.out_channels // layer.groups
        a_channel = rows * layer.groups * layer.weight[0].numel() * cotangents.element_size()
        count = min(channels, -(-channels * a_channel // PART_BYTES))
        edges = [channels * part // count for part in range(count + 1)]

        def part(first: int, last: int) -> LaterTerm:
            return LaterTerm(lambda: _gradients(layer, saved, cotangents, first, last), a_channel * (last - first))

        terms: list[Term] = [part(first, last) for first, last in pairwise(edges)]
        if parameters == "all" and layer.bias is not None:
            terms.append(GramTerm(None, 1.0, cotangents.flatten(3).sum(dim=3)))
        return terms

    def gram_uses(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> Sequence[Sequence[Term]]:
        layer = cast(nn.Conv2d, module)
        places = cotangents.shape[3:].numel()
        if layer.groups > 1 or places**2 * (layer.out_channels + _PLACE_COST) >= layer.weight.numel():
            return [self.gram_terms(module, saved, cotangents, parameters)]
        offset = 1.0 if parameters == "all" and layer.bias is not None else 0.0
        under = _patches(layer, saved).permute(2, 0, 1).contiguous()  # (p, n, in · kernel)
        at = cotangents.flatten(3).permute(3, 0, 1, 2).contiguous()  # (p, k, n, out)
        return [[GramTerm(under[place], offset, at[place])] for place in range(places)]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        layer = cast(nn.Conv2d, module)
        k, n = cotangents.shape[:2]
        g, places = layer.groups, cotangents.flatten(3)
        # all samples' places side by side: (groups, k · out, n · p) times (groups, n · p, in · kernel)
        left = places.view(k, n, g, -1, places.shape[3]).permute(2, 0, 3, 1, 4).reshape(g, -1, n * places.shape[3])
        under = _patches(layer, saved)
        right = under.view(n, g, -1, under.shape[2]).permute(1, 0, 3, 2).reshape(g, n * under.shape[2], -1)
        products = (left @ right).view(g, k, -1, right.shape[2])
        weights: Tensor = products.transpose(0, 1).reshape(k, -1)
        if parameters == "weights" or layer.bias is None:
            return weights
        return torch.cat([weights, places.sum(dim=(1, 3))], dim=1)

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

    def term_width(self, module: nn.Module, rows: int, itemsize: int) -> int:
        layer = cast(nn.Conv2d, module)
        return min(layer.weight.numel(), max(layer.groups * layer.weight[0].numel(), PART_BYTES // (rows * itemsize)))

    def check(self, module: nn.Module) -> str | None:
        mode = cast(nn.Conv2d, module).padding_mode
        return None if mode in ("zeros", "circular") else f"Conv2d with padding_mode={mode!r} (zeros or circular are)"

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        channels = cast(nn.Conv2d, module).in_channels
        fits = len(shape) == 3 and shape[0] == channels
        return None if fits else f"images of {channels} channels, (channels, height, width)"


def _patches(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """What lies under the kernel at every place of the output: (n, in · kernel, p)."""
    padded = _pad(images, layer)
    return unfold(padded, _pair(layer.kernel_size), _pair(layer.dilation), 0, _pair(layer.stride))


def _gradients(layer: nn.Conv2d, saved: Tensor, cotangents: Tensor, first: int, last: int) -> Tensor:
    """Every sample's gradient by the kernels of the output channels [first, last) of each group: (k, n, ·)."""
    under = _patches(layer, saved)
    k, n = cotangents.shape[:2]
    places = cotangents.flatten(3)
    g, p = layer.groups, places.shape[3]
    grouped = places.reshape(k, n, g, -1, p)[:, :, :, first:last].permute(1, 2, 0, 3, 4)  # (n, groups, k, out, p)
    under = under.view(n, g, -1, p)  # (n, groups, in · kernel, p)
    products = grouped.flatten(2, 3) @ under.mT
    weights: Tensor = products.view(n, g, k, -1, under.shape[2]).permute(2, 0, 1, 3, 4).reshape(k, n, -1)
    return weights


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
