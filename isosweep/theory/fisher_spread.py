"""How much the largest Fisher eigenvalues vary from network to network at finite width.

The mean of the C largest is Σ_l (N_{l−1} P_{l−1} + 1) B_l: P the mean product of two inputs' signals over all pairs, B
that of their back-propagated gradients. Both are means over N units, so that each layer adds noise of order 1/N, which
the layers above pass on in the signals (they set the next layer's variance and covariance) and those below in the
gradients. Given what all inputs share in a unit, its mean activation is m and its mean slope d, and the noise of
(mean φ², P, S) is the covariance of (E φ², m², d²) over units, over N. Orthogonal weights keep the sum over units of
the shared pre-activation's square, and so leave only what does not vary with it. A gradient's own direction adds
2E d⁴/(E d²)²/(C N), the C outputs being independent, less 2/(C N) where the weights are orthogonal. To first order in
1/N; derived here. Simulated networks of width 150 and 1000 vary so to a tenth or two (250 and 40 of each kind).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.correlation import pair_averages
from isosweep.theory.network import Network

__all__ = ["fisher_spread"]

Array = NDArray[np.float64]

_SHARED, _SHARED_WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
_SHARED_WEIGHTS = _SHARED_WEIGHTS / _SHARED_WEIGHTS.sum()
_OWN = np.linspace(-7.0, 7.0, 281)  # kinks of piecewise linear functions forbid a Gauss rule
_OWN_WEIGHTS = np.exp(-(_OWN**2) / 2)
_OWN_WEIGHTS = _OWN_WEIGHTS / _OWN_WEIGHTS.sum()
_STEP = 1e-4


@dataclass(frozen=True)
class _Layer:
    """One layer at variance q and shared variance s.

    Attributes:
        square, product, slope: E φ², P and S.
        by_q, by_s: (3) their derivatives in q and in s.
        noise: (3, 3) covariance over units of (E φ², m², d²).
        by_shared: (3) their covariances with g² − 1, g what a unit's inputs share, of variance 1.
        fourth: E d⁴.
    """

    square: float
    product: float
    slope: float
    by_q: tuple[float, float, float]
    by_s: tuple[float, float, float]
    noise: tuple[tuple[float, float, float], ...]
    by_shared: tuple[float, float, float]
    fourth: float


@lru_cache(maxsize=65536)
def _layer(activation: Activation, q: float, s: float) -> _Layer:
    def averages(q: float, s: float) -> Array:
        value, slope = pair_averages(activation, q, q, [min(s / q, 1.0), 1.0])
        return np.array([value[1], value[0], slope[0]])

    here = averages(q, s)
    by_q = (averages(q * (1 + _STEP), s) - here) / (q * _STEP)
    by_s = (here - averages(q, s * (1 - _STEP))) / (s * _STEP)
    h = math.sqrt(s) * _SHARED[:, None] + math.sqrt(max(q - s, 0.0)) * _OWN
    phi = activation.phi(h)
    units = np.stack([phi**2 @ _OWN_WEIGHTS, (phi @ _OWN_WEIGHTS) ** 2, (activation.phi_prime(h) @ _OWN_WEIGHTS) ** 2])
    centred = units - (units @ _SHARED_WEIGHTS)[:, None]
    weighted = centred * _SHARED_WEIGHTS
    with np.errstate(over="ignore", invalid="ignore"):  # the network's sums are refused then
        noise = (weighted @ centred.T).tolist()
    return _Layer(
        float(here[0]),
        float(here[1]),
        float(here[2]),
        tuple(by_q.tolist()),
        tuple(by_s.tolist()),
        tuple(tuple(row) for row in noise),
        tuple((weighted @ (_SHARED**2 - 1)).tolist()),
        float((units[2] ** 2) @ _SHARED_WEIGHTS),
    )


@lru_cache(maxsize=16384)
def fisher_spread(network: Network) -> float:
    """The standard deviation over networks of the mean of the C largest Fisher eigenvalues, as a share of it; for a
    Gaussian likelihood.

    Raises:
        ValueError: a count below 1; or a discontinuous activation.
        OverflowError: the signal or the gradients leave float64.
    """
    network.check_counts()
    n, samples = network, network.samples
    if n.activation.discontinuous:
        raise ValueError(f"{n.activation.label} is discontinuous: gradients have no finite mean square")
    gain, bias, orthogonal = n.sigma_w**2, n.sigma_b**2, n.init == "orthogonal"
    square = n.mean_square
    product = square * max((1 + (samples - 1) * n.correlation) / samples, 1e-12)
    layers, shares, products = [], [], [product]
    for _ in range(n.depth):
        q, s = gain * square + bias, gain * product + bias
        if not (1e-290 < s <= q * (1 + 1e-9) < 1e290):
            raise OverflowError("the signal leaves float64")
        layer = _layer(n.activation, q, min(s, q))
        layers.append(layer)
        shares.append(1 - bias / s)  # of the shared variance, what the weights pass on
        square, product = layer.square, layer.product
        products.append(product)
    slopes = np.array([gain * layer.slope for layer in layers])
    back = np.append(np.cumprod(slopes[::-1])[::-1], 1.0)
    below = np.array([n.input_dimension] + [n.width] * n.depth)
    terms = (below * np.array(products) + 1) * back
    total = float(terms.sum())
    if not (0 < total < math.inf):
        raise OverflowError("the gradients leave float64")
    # d ln λ by the noise of each layer's (mean φ², P, S), from the last layer down
    added = (np.cumsum(terms) / total).tolist()
    direct = (below * back / total).tolist()
    by_square, by_product, variance = 0.0, float(n.width * back[n.depth] / total), 0.0
    for k in reversed(range(n.depth)):
        layer = layers[k]
        a, p, s = by_square, by_product, added[k] / layer.slope
        (aa, ap, as_), (_, pp, ps), (_, _, ss) = layer.noise
        variance += a * a * aa + p * p * pp + s * s * ss + 2 * (a * p * ap + a * s * as_ + p * s * ps)
        own = layer.fourth / layer.slope**2
        if orthogonal:
            x, y, z = layer.by_shared
            variance -= ((a * x + p * y + s * z) * shares[k]) ** 2 / 2
            own -= 1
        variance += 2 * own / n.outputs * added[k] ** 2
        by_square = gain * (a * layer.by_q[0] + p * layer.by_q[1] + s * layer.by_q[2])
        by_product = gain * (a * layer.by_s[0] + p * layer.by_s[1] + s * layer.by_s[2]) + direct[k]
    return math.sqrt(max(variance, 0.0) / n.width)
