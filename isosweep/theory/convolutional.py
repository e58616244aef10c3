"""Mean field of convolutional networks, place by place (Xiao et al. 2018, "Dynamical isometry and a mean field theory
of CNNs").

At infinitely many channels the pre-activations at a place p have the variance

    q^{l+1}(p) = σ_w² mean_β V(q^l(p + β)) + σ_b²,

β over the places under the kernel, those in a zero padding counting as 0. With circular padding a uniform image stays
uniform, and q*, χ and the critical line are those of the dense network; with zero padding the places at the edges have
less, and no uniform fixed point exists. A delta-orthogonal kernel reads its own place alone: every place is a dense
network of its own, and the padding has no part in it.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.averages import second_moment
from isosweep.theory.network import Init

__all__ = ["propagate_places"]

Array = NDArray[np.float64]


def propagate_places(
    activation: Activation,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    squares: Array,
    init: Init = "gaussian",
    padding: Literal["circular", "zeros"] = "circular",
    kernel: int = 3,
) -> Array:
    """q^1 … q^L at every place of one image, (L, height, width).

    Args:
        squares: (height, width), the mean over the image's channels of x(p)².

    Raises:
        ValueError: a depth below 1, an even kernel, squares that are negative or no image, a variance that overflows.
    """
    if depth < 1:
        raise ValueError(f"a network has at least one layer, got depth {depth}")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"a kernel that keeps the image's size has an odd edge, got {kernel}")
    x = np.asarray(squares, float)
    if x.ndim != 2 or not np.all(x >= 0):
        raise ValueError(f"expected (height, width) of squares, 0 or above, got shape {x.shape}")
    layers = []
    for layer in range(1, depth + 1):
        seen = x if init == "orthogonal" else _under_kernel(x, kernel, padding)
        q = sigma_w**2 * seen + sigma_b**2
        if not np.all(np.isfinite(q)):
            raise ValueError(f"the variance overflows in layer {layer}")
        layers.append(q)
        values, places = np.unique(q, return_inverse=True)
        x = np.array([second_moment(activation, float(v)) for v in values])[places].reshape(q.shape)
    return np.stack(layers)


def _under_kernel(x: Array, kernel: int, padding: str) -> Array:
    """The mean of x over the kernel² places under the kernel."""
    reach = kernel // 2
    padded = np.pad(x, reach, mode="wrap" if padding == "circular" else "constant")
    height, width = x.shape
    parts = [padded[i : i + height, j : j + width] for i in range(kernel) for j in range(kernel)]
    # one order of summation for all places: a uniform image stays uniform to the last bit
    return np.array([math.fsum(column) for column in np.array(parts).reshape(len(parts), -1).T]).reshape(x.shape) / (
        kernel * kernel
    )
