"""What finite width does to the Jacobian, where it is known: exact zeros, and the growth of one vector or of all.

Zeros: a layer passes at most as many directions as it has units with φ' ≠ 0, so the rank is the smallest of L counts,
binomial ones at independent units. Growth: for Gaussian weights ‖Ju‖² is a product of independent χ² variables, whose
logarithms add up (Cohen & Newman 1984).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.slope_law import SlopeLaw

__all__ = [
    "LogGrowth",
    "active_shares",
    "gaussian_log_growth",
    "growth_variance",
    "log_growth",
    "lyapunov_exponents",
    "zero_mass",
]


def _of_layers(width: int, active: float | tuple[float, ...], depth: int) -> tuple[float, ...]:
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth are 1 or more, not {width} and {depth}")
    each = active if isinstance(active, tuple) else (active,) * depth
    if len(each) != depth:
        raise ValueError(f"{depth} layers have as many probabilities, not {len(each)}")
    for p in each:
        if not 0 <= p <= 1:
            raise ValueError(f"a probability is between 0 and 1, not {p!r}")
    return each


@lru_cache(maxsize=4096)
def zero_mass(width: int, active: float | tuple[float, ...], depth: int) -> float:
    """The expected share of exact zeros: 1 − E min of `depth` counts, binomial (width, active), over the width.

    Args:
        active: the probability that φ' ≠ 0, ½ for ReLU, erf(1/√(2q)) for hard-tanh; or one for each layer.

    Raises:
        ValueError: width or depth below 1, a probability outside [0, 1], or not as many as layers.
    """
    each = _of_layers(width, active, depth)
    if min(each) == 1:
        return 0.0
    from scipy.special import bdtrc

    # E min = Σ_{k≥1} P(min ≥ k) = Σ_k Π_l P(count_l ≥ k)
    at_least = np.ones(width)
    for p, times in Counter(each).items():
        if p < 1:
            at_least = at_least * bdtrc(np.arange(width), width, p) ** times
    return float(1 - np.sum(at_least) / width)


@lru_cache(maxsize=1024)
def active_shares(width: int, active: float | tuple[float, ...], depth: int) -> tuple[float, ...]:
    """The expected shares of active units of `depth` layers, in increasing order: binomial order statistics.

    E of the k-th smallest count is Σ_j P(at least L − k + 1 of the L counts reach j). The layers of one network differ
    by about 1/√width, and it is these shares, rather than their common mean, that a product of projections sees.

    Args:
        active: as in `zero_mass`.

    Raises:
        ValueError: as `zero_mass`.
    """
    each = _of_layers(width, active, depth)
    if set(each) <= {0, 1}:
        return tuple(sorted(float(p) for p in each))
    from scipy.special import bdtrc

    def reach(p: float) -> NDArray[np.float64]:
        """P(one count > j), j = 0 … N−1."""
        result: NDArray[np.float64] = np.clip(bdtrc(np.arange(width), width, p), 0.0, 1.0) if p < 1 else np.ones(width)
        return result

    if len(set(each)) == 1:
        one = reach(each[0])
        return tuple(float(np.sum(bdtrc(depth - k, depth, one))) / width for k in range(1, depth + 1))
    # how many of the layers reach j, one layer after the other
    number = np.zeros((depth + 1, width))
    number[0] = 1.0
    for p in each:
        passed = reach(p)
        number[1:] = number[1:] * (1 - passed) + number[:-1] * passed
        number[0] *= 1 - passed
    at_least = np.cumsum(number[::-1], 0)[::-1]
    return tuple(float(np.sum(at_least[depth - k + 1])) / width for k in range(1, depth + 1))


@dataclass(frozen=True)
class LogGrowth:
    """Mean and variance over seeds of ln‖Ju‖² for a unit vector u; `exact`, or to leading order in 1/width."""

    mean: float
    variance: float
    exact: bool


def gaussian_log_growth(width: int, depth: int, sigma_w: float = 1.0) -> LogGrowth:
    """Linear Gaussian networks: mean L[ln σ_w² + ψ(N/2) − ln(N/2)], variance L ψ'(N/2), exactly."""
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth are 1 or more, not {width} and {depth}")
    from scipy.special import digamma, polygamma

    half = width / 2
    mean = depth * (2 * math.log(sigma_w) + float(digamma(half)) - math.log(half))
    return LogGrowth(mean, depth * float(polygamma(1, half)), True)


def log_growth(law: SlopeLaw, width: int, depth: int, sigma_w: float, init: str = "gaussian") -> LogGrowth:
    """Any activation, to leading order in 1/N: each layer multiplies ‖u‖² by σ_w²/N Σ φ'² g², g Gaussian.

    The relative variance of that factor is v = (3μ_2/μ_1² − 1)/N, for orthogonal weights (3μ_2/μ_1² − 3)/N as Σ g² is
    fixed there; then the mean is L(ln χ − v/2) and the variance L v.
    """
    if law.sup == law.inf:
        if init == "gaussian":
            return gaussian_log_growth(width, depth, sigma_w * math.sqrt(law.sup))
        return LogGrowth(depth * math.log(sigma_w**2 * law.sup), 0.0, True)
    variance = growth_variance(depth * law.moments[1] / law.moments[0] ** 2, width, depth, init)
    return LogGrowth(depth * math.log(sigma_w**2 * law.moments[0]) - variance / 2, variance, False)


def growth_variance(ratios: float, width: int, depth: int, init: str) -> float:
    """The variance over seeds of ln‖Ju‖² to leading order in 1/N: (3Σ_l μ_2/μ_1² − L)/N, for orthogonal weights
    (3Σ_l μ_2/μ_1² − 3L)/N.

    Args:
        ratios: Σ_l μ_2/μ_1² over the layers, each at its own variance.
    """
    return max(0.0, 3 * ratios - (1 if init == "gaussian" else 3) * depth) / width


def lyapunov_exponents(width: int, sigma_w: float = 1.0) -> NDArray[np.float64]:
    """ln s_i per layer of a long product of square Gaussian matrices, largest first: ½[ln(2σ_w²/N) + ψ((N − i + 1)/2)]
    (Newman 1986).
    """
    if width < 1:
        raise ValueError(f"width is 1 or more, not {width}")
    from scipy.special import digamma

    i = np.arange(1, width + 1)
    result: NDArray[np.float64] = (math.log(2 * sigma_w**2 / width) + digamma((width - i + 1) / 2)) / 2
    return result
