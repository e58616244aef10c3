"""How the C-fold largest Fisher eigenvalue splits at finite width.

In the wide limit the gradients of different outputs are orthogonal and of one length. At width N their Gram matrix,
summed over the layers as T_2 is, fluctuates about the identity: a layer whose φ' is D passes the product of two
outputs' cotangents on with relative variance r/N, r = E m⁴/(E m²)² for the mean m of φ' over the inputs (for
orthogonal weights (r − 1)/N, as the weights keep the product and only D does not), and what it adds is common to all
layers below it, which have the share W of T_2. The matrix is thus about 1 + √v G, v = Σ_l W_l² r_l/N and G of the
Gaussian orthogonal ensemble of size C; the product over many layers makes it exp(√v G). Derived here, to first order
in 1/N; it agrees with simulated networks of width 1000 to 2 % up to 8 layers and to 6 % at 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.network import Network
from isosweep.theory.propagation import propagate
from isosweep.theory.quadrature import gaussian_grid

__all__ = ["OutlierSplit", "outlier_split"]

Array = NDArray[np.float64]

_DRAWS = 2000
_INNER, _INNER_WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_INNER_WEIGHTS = _INNER_WEIGHTS / _INNER_WEIGHTS.sum()


@dataclass(frozen=True)
class OutlierSplit:
    """The C largest eigenvalues as shares of their mean.

    Attributes:
        spread: √v, the standard deviation of the product of two outputs' gradients over their squared length.
        largest, smallest: the expected first and C-th.
    """

    spread: float
    largest: float
    smallest: float


@lru_cache(maxsize=64)
def _ensemble(outputs: int) -> Array:
    """(draws, C) eigenvalues of Gaussian orthogonal matrices, variance 1 off the diagonal; the same ones each time."""
    generator = np.random.Generator(np.random.Philox(key=[outputs, 0]))
    a = generator.standard_normal((_DRAWS, outputs, outputs))
    result: Array = np.asarray(np.linalg.eigvalsh((a + a.swapaxes(1, 2)) / math.sqrt(2)), np.float64)
    return result


@lru_cache(maxsize=4096)
def _concentration(activation: Activation, q: float, c: float) -> float:
    """r = E m⁴/(E m²)², m the mean of φ' over inputs of correlation c at variance q, given what they have in common."""
    shared, weights = gaussian_grid((), False)
    own = math.sqrt(1 - c)
    root = math.sqrt(q)
    if activation.kinks and own > 1e-6 and activation.piecewise_linear:
        from scipy.special import ndtr

        ends = [-math.inf, *(k / root for k in activation.kinks), math.inf]
        inside = [activation.kinks[0] - 1, *activation.kinks, activation.kinks[-1] + 1]
        middles = (np.array(inside[:-1]) + np.array(inside[1:])) / 2
        slopes = activation.phi_prime(middles).tolist()
        at = math.sqrt(c) * shared
        mean = sum(
            slope * (ndtr((b - at) / own) - ndtr((a - at) / own))
            for a, b, slope in zip(ends[:-1], ends[1:], slopes, strict=True)
        )
    else:
        mean = activation.phi_prime(root * (math.sqrt(c) * shared[:, None] + own * _INNER)) @ _INNER_WEIGHTS
    return float((weights * mean**4).sum() / (weights * mean**2).sum() ** 2)


@lru_cache(maxsize=4096)
def outlier_split(network: Network) -> OutlierSplit:
    """Of the network's Fisher matrix under a Gaussian likelihood, where it has outliers at all.

    Raises:
        ValueError, OverflowError: as `propagate`.
    """
    n = network
    n.check_counts()
    signal = propagate(n.activation, n.sigma_w, n.sigma_b, n.depth, n.mean_square, n.correlation)
    below = np.array([n.input_dimension] + [n.width] * n.depth)
    terms = (below * signal.x_pair + 1) * signal.back_pair
    share = np.cumsum(terms) / terms.sum()
    variance = 0.0
    for layer in range(n.depth):
        q = float(signal.q[layer])
        c = min(max(float(signal.q_pair[layer]) / q, 0.0), 1.0)
        r = _concentration(n.activation, q, round(c, 6))
        variance += share[layer] ** 2 * (r - (1 if n.init == "orthogonal" else 0)) / n.width
    spread = math.sqrt(max(variance, 0.0))
    grown = np.exp(spread * _ensemble(n.outputs))
    grown = grown / grown.mean(1, keepdims=True)
    return OutlierSplit(spread, float(grown[:, -1].mean()), float(grown[:, 0].mean()))
