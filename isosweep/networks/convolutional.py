"""Convolutional layers and their initialisations.

Delta-orthogonal (Xiao et al. 2018): the kernel is zero but at its centre, where it is a Haar matrix with orthonormal
columns, so that on the critical line every place is mapped as a dense orthogonal layer maps a vector. It needs at least
as many output channels as input channels.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from isosweep.draws import generator
from isosweep.networks.initializations import haar_orthogonal

__all__ = ["KERNELS", "convolution", "delta_orthogonal", "gaussian_kernel"]


def delta_orthogonal(seed: int, layer: int, rows: int, columns: int, edge: int) -> Tensor:
    """A (rows, columns, edge, edge) float64 kernel: `haar_orthogonal` at its centre, 0 elsewhere.

    Raises:
        ValueError: fewer output channels (rows) than input channels (columns), or an even edge.
    """
    if rows < columns:
        raise ValueError(
            f"a delta-orthogonal kernel needs at least as many output channels as input channels, got {rows} and "
            f"{columns}"
        )
    if edge % 2 == 0:
        raise ValueError(f"a delta-orthogonal kernel needs a centre: an odd edge, got {edge}")
    kernel = torch.zeros(rows, columns, edge, edge, dtype=torch.float64)
    kernel[:, :, edge // 2, edge // 2] = haar_orthogonal(seed, layer, rows, columns)
    return kernel


def gaussian_kernel(seed: int, layer: int, rows: int, columns: int, edge: int) -> Tensor:
    """A (rows, columns, edge, edge) float64 kernel of independent normal entries of variance 1/(columns · edge²)."""
    draw = generator(seed, "kernel/gaussian", layer).standard_normal((rows, columns, edge, edge))
    return torch.from_numpy(draw / math.sqrt(columns * edge * edge))


KERNELS = {"orthogonal": delta_orthogonal, "gaussian": gaussian_kernel}


def convolution(
    kernel: Tensor, bias: Tensor | None, padding: Literal["circular", "zeros"], dtype: torch.dtype
) -> nn.Conv2d:
    """A convolution that keeps the image's size."""
    rows, columns, edge, _ = kernel.shape
    layer = nn.Conv2d(
        columns,
        rows,
        edge,
        padding=edge // 2,
        padding_mode=padding,
        bias=bias is not None,
        device="meta",
        dtype=dtype,
    )
    layer.weight = nn.Parameter(kernel.to(dtype))
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype))
    return layer
