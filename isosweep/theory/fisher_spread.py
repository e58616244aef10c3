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
from isosweep.theory.propagation import propagate

__all__ = ["fisher_spread"]

Array = NDArray[np.float64]

_SHARED, _SHARED_WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
_SHARED_WEIGHTS = _SHARED_WEIGHTS / _SHARED_WEIGHTS.sum()
_OWN = np.linspace(-7.0, 7.0, 281)  # kinks forbid a Gauss rule
_REACH, _COARSEST, _FINEST = 7.2, 0.8, 0.05
_STILL = 1e-6  # halving the step squares the error of an analytic function's sum
_STEP = 1e-4


_GRID = 0.02  # of ln q and of c, to which layers are alike for what first order in 1/N needs of them


@dataclass(frozen=True)
class _Response:
    """One layer at variance q and shared variance s, to first order.

    Attributes:
        by_q, by_s: (3) derivatives of (E φ², P, S) in q and in s.
        noise: (3, 3) covariance over units of (E φ², m², d²).
        by_shared: (3) their covariances with g² − 1, g what a unit's inputs share, of variance 1.
        fourth: E d⁴/(E d²)².
    """

    by_q: tuple[float, float, float]
    by_s: tuple[float, float, float]
    noise: tuple[tuple[float, float, float], ...]
    by_shared: tuple[float, float, float]
    fourth: float


@lru_cache(maxsize=16384)
def _response(activation: Activation, q: float, c: float) -> _Response:
    s = c * q
    value, slope = pair_averages(activation, q, q, [c, 1.0, c * (1 - _STEP)])
    here = np.array([value[1], value[0], slope[0]])
    by_s = (here - np.array([value[1], value[2], slope[2]])) / (s * _STEP)
    value, slope = pair_averages(activation, q * (1 + _STEP), q * (1 + _STEP), [c / (1 + _STEP), 1.0])
    by_q = (np.array([value[1], value[0], slope[0]]) - here) / (q * _STEP)
    units = _units(activation, math.sqrt(s), math.sqrt(max(q - s, 0.0)))
    means = units @ _SHARED_WEIGHTS
    centred = units - means[:, None]
    weighted = centred * _SHARED_WEIGHTS
    return _Response(
        tuple(by_q.tolist()),
        tuple(by_s.tolist()),
        tuple(tuple(row) for row in (weighted @ centred.T).tolist()),
        tuple((weighted @ (_SHARED**2 - 1)).tolist()),
        float((units[2] ** 2) @ _SHARED_WEIGHTS / means[2] ** 2),
    )


def _units(activation: Activation, shared: float, own: float) -> Array:
    """(3, 40) E φ², (E φ)² and (E φ')² over what is a unit's own, at each value of what its inputs share."""
    sums: Array = np.zeros((3, len(_SHARED)))
    found: Array = np.full((3, len(_SHARED)), math.inf)
    total, step, at = 0.0, _COARSEST, np.arange(-_REACH, _REACH + _COARSEST / 2, _COARSEST)
    if activation.kinks:
        step, at = _FINEST, _OWN
    while True:
        weights = np.exp(-(at**2) / 2)
        h = shared * _SHARED[:, None] + own * at
        phi = activation.phi(h)
        sums = sums + np.stack([phi**2 @ weights, phi @ weights, activation.phi_prime(h) @ weights])
        total += float(weights.sum())
        before, found = found, sums / total
        if step <= _FINEST or np.all(np.abs(found - before).max(1) <= _STILL * np.abs(found).max(1)):
            break
        at = np.arange(-_REACH + step / 2, _REACH, step)
        step /= 2
    found[1:] **= 2
    return found


_ALIKE = 1e-3  # inputs of a correlation nearer to 1 than this are taken to be as far from it


def _rounded(q: float, c: float) -> tuple[float, float]:
    """A layer's variance and correlation on the grid; a correlation near 0 or 1 by its logarithm, or that of 1 − c."""

    def near(x: float) -> float:
        return math.exp(_GRID * round(math.log(x) / _GRID)) if x > 0 else 0.0

    return near(q), near(c) if c <= 0.5 else 1 - near(max(1 - c, _ALIKE))


@lru_cache(maxsize=16384)
def fisher_spread(network: Network) -> float:
    """The standard deviation over networks of the mean of the C largest Fisher eigenvalues, as a share of it; for a
    Gaussian likelihood.

    Raises:
        ValueError: a count below 1, or what `propagate` refuses.
        OverflowError: as `propagate`; or the gradients leave float64.
    """
    network.check_counts()
    n, gain, orthogonal = network, network.sigma_w**2, network.init == "orthogonal"
    # over all pairs, an input's with itself among them
    alike = max((1 + (n.samples - 1) * n.correlation) / n.samples, 1e-9)
    signal = propagate(n.activation, n.sigma_w, n.sigma_b, n.depth, n.mean_square, alike)
    below = np.array([n.input_dimension] + [n.width] * n.depth)
    with np.errstate(over="ignore", invalid="ignore"):
        terms = (below * signal.x_pair + 1) * signal.back_pair
        total = float(terms.sum())
    if not (0 < total < math.inf):
        raise OverflowError("the gradients leave float64")
    # d ln λ by the noise of each layer's (mean φ², P, S), from the last layer down
    added = (np.cumsum(terms) / total).tolist()
    direct = (below * signal.back_pair / total).tolist()
    by_square, by_product, variance = 0.0, direct[n.depth], 0.0
    for k in reversed(range(n.depth)):
        q, c = float(signal.q[k]), min(float(signal.q_pair[k] / signal.q[k]), 1.0)
        layer = _response(n.activation, *_rounded(q, c))
        a, p, s = by_square, by_product, added[k] / max(float(signal.slope_pair[k]), 1e-300)
        (aa, ap, as_), (_, pp, ps), (_, _, ss) = layer.noise
        variance += a * a * aa + p * p * pp + s * s * ss + 2 * (a * p * ap + a * s * as_ + p * s * ps)
        own = layer.fourth
        if orthogonal:
            x, y, z = layer.by_shared
            passed = 1 - n.sigma_b**2 / float(signal.q_pair[k])  # of the shared variance, what is not biases
            variance -= ((a * x + p * y + s * z) * passed) ** 2 / 2
            own -= 1
        variance += 2 * own / n.outputs * added[k] ** 2
        by_square = gain * (a * layer.by_q[0] + p * layer.by_q[1] + s * layer.by_q[2])
        by_product = gain * (a * layer.by_s[0] + p * layer.by_s[1] + s * layer.by_s[2]) + direct[k]
    return math.sqrt(max(variance, 0.0) / n.width)
