"""Moments of free products from the moments of their factors, by power series: no density, no quadrature.

With P(z) = Π 1/S_i(z) over the factors, M⁻¹(z) = ((1+z)/z) P(z), and Lagrange's inversion gives E λ^k = (1/k)[z^{k−1}]
((1+z) P(z))^k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["inverse_s_series", "product_moments"]

Array = NDArray[np.float64]


def _multiply(a: Array, b: Array) -> Array:
    result: Array = np.convolve(a, b)[: len(a)]
    return result


def _reciprocal(a: Array) -> Array:
    out = np.zeros_like(a)
    out[0] = 1 / a[0]
    for n in range(1, len(a)):
        out[n] = -float(a[1 : n + 1] @ out[n - 1 :: -1][:n]) / a[0]
    return out


def _power(a: Array, exponent: float) -> Array:
    """a^exponent for a series with a_0 ≠ 0, by the recurrence of Euler: one pass for any exponent."""
    out = np.zeros_like(a)
    out[0] = a[0] ** exponent
    for n in range(1, len(a)):
        k = np.arange(1, n + 1)
        out[n] = float(((exponent + 1) * k / n - 1) @ (a[1 : n + 1] * out[n - 1 :: -1][:n])) / a[0]
    return out


def inverse_s_series(moments: Sequence[float], order: int) -> Array:
    """1/S(z) = z M⁻¹(z)/(1+z) as a power series of `order` terms, from E y, E y², … (at least `order` of them).

    Raises:
        ValueError: too few moments, or a mean of 0, for which S does not exist.
    """
    if len(moments) < order:
        raise ValueError(f"{order} terms of the S-transform need {order} moments, not {len(moments)}")
    if moments[0] == 0:
        raise ValueError("the S-transform needs a mean above 0")
    # u/M(u) as a series; the reversion u(z) of z = M(u) has coefficients (1/n)[u^{n−1}] (u/M(u))^n.
    ratio = _reciprocal(np.array(moments[:order], float))
    reverted = np.array([_power(ratio, n)[n - 1] / n for n in range(1, order + 1)])  # u(z)/z
    alternating: Array = np.asarray((-1.0) ** np.arange(order), float)
    return _multiply(_reciprocal(reverted), alternating)


def product_moments(inverse_s: Array, count: int) -> list[float]:
    """E λ, E λ², … of the law whose 1/S-transform has this power series (at least `count` terms)."""
    if len(inverse_s) < count:
        raise ValueError(f"{count} moments need {count} terms, not {len(inverse_s)}")
    scale = float(inverse_s[0])
    scaled: Array = np.asarray(inverse_s[:count] / scale, float)
    lifted = _multiply(scaled, linear_factor(1.0, 1.0, count))
    return [float(_power(lifted, k)[k - 1]) / k * math.pow(scale, k) for k in range(1, count + 1)]


def linear_factor(at_zero: float, slope: float, order: int) -> Array:
    """at_zero + slope·z as a series."""
    series = np.zeros(order)
    series[0] = at_zero
    if order > 1:
        series[1] = slope
    return series


def series_product(factors: Sequence[tuple[Array, float]]) -> Array:
    """Π factor^exponent; exponents may be negative, or not whole, where the series begins above 0."""
    result = np.zeros_like(factors[0][0])
    result[0] = 1.0
    for series, exponent in factors:
        result = _multiply(result, _power(series, exponent))
    return result
