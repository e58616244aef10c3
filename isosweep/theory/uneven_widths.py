"""The Jacobian's law where every layer has a width of its own: its variance and its upper edge.

JJᵀ is a free product of rectangular factors. Its non-zero eigenvalues are those of any cyclic order of the factors, so
that t = Σ_i λ_i/(w − λ_i), without a division by the dimension, is common to all of them; a factor of dimension N_l
sees z_l = t/N_l. With S-transforms as in `jacobian_relation` (Pennington, Schoenholz & Ganguli 2017; rectangular
products as in Burda et al. 2010, "Eigenvalues and singular values of products of rectangular Gaussian random
matrices"):

    λ(t) = ((1 + z_0)/z_0) Π_l [z_l w_l/(1 + z_l)] · σ_w² f_l,   z_l = E[φ'²/(w_l − φ'²)],

where f_l = (N_l + t)/N_{l−1} for a Gaussian W^l, and for an orthogonal one N_l/N_{l−1} where it widens and
(N_l + t)/(N_{l−1} + t) · max(1, N_l/N_{l−1}) where it narrows. The upper edge is the minimum of λ(t) that is met first
from t = 0.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from isosweep.theory.activations import Activation
from isosweep.theory.averages import slope_moment
from isosweep.theory.network import Init
from isosweep.theory.roots import bracketed_root
from isosweep.theory.slope_law import SlopeLaw, slope_law

__all__ = ["uneven_edge", "uneven_growth_variance", "uneven_mean", "uneven_variance"]

_GRID = np.linspace(-7.0, 13.0, 201)
"""log₁₀ of t over the smallest width, where the minimum is looked for."""

_CLOSEST = 34.0  # −ln of w/sup − 1 that still has digits


def _ratios(activation: Activation, variances: tuple[float, ...], widths: tuple[int, ...]) -> list[tuple[float, float]]:
    """(μ_1, μ_2/μ_1²) of layers 1 … L."""
    if len(variances) != len(widths) - 1:
        raise ValueError(f"{len(widths) - 1} layers have as many variances, not {len(variances)}")
    found = []
    for q in variances:
        first = slope_moment(activation, q)
        found.append((first, slope_moment(activation, q, 2) / first**2))
    return found


def uneven_mean(activation: Activation, variances: tuple[float, ...], sigma_w: float, widths: tuple[int, ...]) -> float:
    """Mean of λ over the min(N_0, N_L) singular values.

    Args:
        variances: of h^1 … h^L.
        widths: N_0 … N_L.
    """
    product = math.prod(sigma_w**2 * first for first, _ in _ratios(activation, variances, widths))
    return product * max(1.0, widths[-1] / widths[0])


def uneven_variance(
    activation: Activation, variances: tuple[float, ...], sigma_w: float, widths: tuple[int, ...], init: Init
) -> float:
    """Variance of λ over the min(N_0, N_L) singular values, zeros among them.

    Over N_0 of them E λ²/(E λ)² − 1 is Σ_l (N_0/N_l)(μ_2/μ_1² − 1) of the D², plus Σ_l N_0/N_l of Gaussian W^l, or
    Σ_l max(0, N_0/N_l − N_0/N_{l−1}) of orthogonal ones.
    """
    ratios = _ratios(activation, variances, widths)
    before = widths[0]
    relative = 0.0
    for (_, ratio), here, below in zip(ratios, widths[1:], widths[:-1], strict=True):
        relative += before / here * (ratio - 1)
        relative += before / here if init == "gaussian" else max(0.0, before / here - before / below)
    # E over N_0, to the counted ones: those beyond them are zeros, or there are none
    counted = min(widths[0], widths[-1]) / before
    mean = uneven_mean(activation, variances, sigma_w, widths) * counted
    return mean**2 * ((1 + relative) / counted - 1 / counted**2)


def uneven_growth_variance(
    activation: Activation, variances: tuple[float, ...], widths: tuple[int, ...], init: Init
) -> float:
    """The variance over seeds of ln‖Ju‖² to leading order in 1/N, as `finite_width.growth_variance`."""
    less = 1 if init == "gaussian" else 3
    ratios = _ratios(activation, variances, widths)
    return sum(max(0.0, 3 * ratio - less) / here for (_, ratio), here in zip(ratios, widths[1:], strict=True))


def _log_factor(law: SlopeLaw, z: float) -> float:
    """ln of z w/(1 + z), the inverse S-transform of φ'² at z > 0; NaN where no w above the support has this z."""
    if law.sup == law.inf:
        return math.log(law.sup)

    def excess(v: float) -> float:
        return math.log(float(np.real(law.transform(math.log(law.sup) + float(np.logaddexp(0.0, v)))[0]))) - math.log(z)

    high = max(5.0, 5.0 - math.log(z))
    if excess(-_CLOSEST) < 0:
        return math.nan
    v = bracketed_root(excess, -_CLOSEST, high)
    return math.log(z) - math.log1p(z) + math.log(law.sup) + float(np.logaddexp(0.0, v))


def _log_eigenvalue(
    laws: list[tuple[SlopeLaw, int]], sigma_w: float, widths: tuple[int, ...], init: Init, t: float
) -> float:
    first = t / widths[0]
    total = math.log1p(first) - math.log(first)
    for (law, here), below in zip(laws, widths[:-1], strict=True):
        if init == "gaussian":
            of_weight = (here + t) / below
        else:
            of_weight = here / below if here >= below else (here + t) / (below + t)
        total += 2 * math.log(sigma_w) + math.log(of_weight) + _log_factor(law, t / here)
    return total


@lru_cache(maxsize=1024)
def uneven_edge(
    activation: Activation, variances: tuple[float, ...], sigma_w: float, widths: tuple[int, ...], init: Init
) -> float:
    """λ_max, the upper end of the law of the squared singular values of ∂x^L/∂x^0.

    Args:
        variances: of h^1 … h^L.
        widths: N_0 … N_L.

    Raises:
        ValueError: as many variances as layers missing; a law that `slope_law` refuses.
        OverflowError: λ_max leaves float64.
    """
    if len(variances) != len(widths) - 1:
        raise ValueError(f"{len(widths) - 1} layers have as many variances, not {len(variances)}")
    homogeneous = 1.0 if activation.homogeneous else None
    laws = [(slope_law(activation, homogeneous or q), here) for q, here in zip(variances, widths[1:], strict=True)]

    def log_eigenvalue(log_t: float) -> float:
        return _log_eigenvalue(laws, sigma_w, widths, init, math.exp(log_t))

    places = [math.log(min(widths)) + math.log(10) * float(step) for step in _GRID]
    lowest, at = math.inf, places[0]
    for place in places:
        value = log_eigenvalue(place)
        if math.isnan(value) or value > lowest + 1e-13:
            break
        lowest, at = value, place
    low, high = at - math.log(10) / 10, at + math.log(10) / 10
    for _ in range(30):  # ternary search: the minimum is flat, its value is known to rounding long before its place
        left, right = low + (high - low) / 3, high - (high - low) / 3
        a, b = log_eigenvalue(left), log_eigenvalue(right)
        low, high = (low, right) if math.isnan(b) or a < b else (left, high)
    return math.exp(min(lowest, log_eigenvalue(low)))
