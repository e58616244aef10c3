"""Weights at initialisation, drawn without their gain.

Every layer has Var W_ij = σ_w²/N_{l−1}. The draws here have σ_w = 1; the caller multiplies. So a layer's weights for
two gains are the same numbers, scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from isosweep.draws import generator

__all__ = ["INITIALIZATIONS", "gaussian", "haar_orthogonal"]


def gaussian(seed: int, layer: int, rows: int, columns: int) -> Tensor:
    """A (rows, columns) float64 matrix of independent normal entries of variance 1/columns."""
    draw = generator(seed, "weight/gaussian", layer).standard_normal((rows, columns))
    return torch.from_numpy(draw / math.sqrt(columns))


def haar_orthogonal(seed: int, layer: int, rows: int, columns: int) -> Tensor:
    """A (rows, columns) float64 matrix √max(1, rows/columns)·Q, Q Haar with orthonormal rows (if wide) or columns.

    Q is that of a QR decomposition of a Gaussian matrix, its columns' signs set by R's diagonal: without that the law
    would be LAPACK's convention, not Haar's (Mezzadri 2007). LAPACK runs on one thread, for the bits.
    """
    tall, short = max(rows, columns), min(rows, columns)
    draw = torch.from_numpy(generator(seed, "weight/orthogonal", layer).standard_normal((tall, short)))
    q, r = torch.linalg.qr(draw)
    q = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q.dtype)
    matrix = q if rows >= columns else q.T
    scaled: Tensor = matrix * math.sqrt(max(1.0, rows / columns))
    return scaled.contiguous()


def standard_biases(seed: int, layer: int, units: int) -> Tensor:
    """(units,) independent standard normal numbers in float64, to be multiplied by σ_b."""
    return torch.from_numpy(np.asarray(generator(seed, "bias", layer).standard_normal(units)))


INITIALIZATIONS: dict[str, Callable[[int, int, int, int], Tensor]] = {
    "orthogonal": haar_orthogonal,
    "gaussian": gaussian,
}
