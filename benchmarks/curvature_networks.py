"""The networks of the benchmarks: deep Gaussian tanh networks and Gaussian inputs, float64, from a fixed seed."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

__all__ = ["chaotic_tanh", "gaussian_inputs"]


def chaotic_tanh(depth: int, width: int, outputs: int, gain: float = 1.3, bias_std: float = 0.1) -> nn.Sequential:
    """`depth` hidden tanh layers of this width with Gaussian weights, and a linear readout."""
    generator = torch.Generator().manual_seed(0)
    widths = [width] * (depth + 1) + [outputs]
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layer = nn.Linear(before, after, dtype=torch.float64)
        with torch.no_grad():
            weight = torch.randn(after, before, generator=generator, dtype=torch.float64)
            layer.weight.copy_(gain / math.sqrt(before) * weight)
            layer.bias.copy_(bias_std * torch.randn(after, generator=generator, dtype=torch.float64))
        modules += [layer, nn.Tanh()]
    return nn.Sequential(*modules[:-1])


def gaussian_inputs(samples: int, width: int) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
