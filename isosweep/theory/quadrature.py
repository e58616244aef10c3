"""Averages over a standard Gaussian, E f(z), to rounding, for functions with a feature at 0 and kinks elsewhere.

One composite Gauss-Legendre grid serves every variance q: its panels shrink by halves towards z = 0, where φ(√q z)
varies fastest when q is large, and are 0.5 wide further out, where the Gaussian itself sets the scale. A panel never
straddles a kink: without that split the error of a kinked function falls only as the square of the panel width.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["REACH", "Grid", "gaussian_grid"]

Array = NDArray[np.float64]
Grid = tuple[Array, Array]

REACH = 12.0
"""Where the Gaussian is cut off, in standard deviations: its density there is 2e-32."""

_NODES = 16
_FINE = -13  # the innermost panel is [0, 2^-13]: resolves features of φ(√q z) up to q = 1e8
_FINER = -40  # and this one up to q = 1e24
_WIDE = 0.5


@lru_cache(maxsize=4)
def _legendre(n: int) -> Grid:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return nodes, weights


def _half_line(finest: int) -> list[float]:
    dyadic = [2.0**k for k in range(finest, 0)]
    return [0.0, *dyadic, *np.arange(2 * _WIDE, REACH + _WIDE / 2, _WIDE)]


@lru_cache(maxsize=256)
def gaussian_grid(breaks: tuple[float, ...] = (), fine: bool = False, bisections: int = 0) -> Grid:
    """Nodes z and weights w with Σ w f(z) = E f(z) for f analytic between the breaks.

    Args:
        breaks: further panel boundaries, in units of z; those beyond the cut-off are ignored.
        fine: panels that shrink to 2^-40 instead of 2^-13 at 0, for variances beyond 1e8.
        bisections: how often each panel is halved; comparing 0 with 1 tests convergence.

    Returns:
        two read-only vectors of equal length, nodes in increasing order.
    """
    half = _half_line(_FINER if fine else _FINE)
    edges = np.unique([*(-x for x in half), *half, *(b for b in breaks if abs(b) < REACH)])
    for _ in range(bisections):
        edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))
    t, v = _legendre(_NODES)
    middle, radius = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    z = (middle[:, None] + radius[:, None] * t).ravel()
    w = (radius[:, None] * v).ravel() * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    z.flags.writeable = False
    w.flags.writeable = False
    return z, w
