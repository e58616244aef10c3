"""Gaussian averages that have a closed form: V(q) = E φ², μ_k(q) = E φ'^{2k} and q μ_1 − V, for one variance q.

Every one of them is tested against quadrature. An activation that is missing here has none, or none that is worth its
cancellation. Sources: ReLU and the error functions, Williams 1997 and Cho & Saul 2009; hard-tanh and the rest by direct
integration.
"""

from __future__ import annotations

import math

from isosweep.theory.activations import Activation

__all__ = ["bias_gap", "second_moment", "slope_moment"]


def _error_scale(activation: Activation) -> float | None:
    """a where φ(x) = erf(a x)."""
    return {"erf": 1.0, "scaled_erf": math.sqrt(math.pi) / 2}.get(activation.name)


def _slope(activation: Activation) -> float | None:
    """The slope below 0 of a rectifier."""
    if activation.name == "relu":
        return 0.0
    return activation.negative_slope if activation.name == "leaky_relu" else None


def second_moment(activation: Activation, q: float) -> float | None:
    """V(q) = E φ(√q z)², or None."""
    if activation.name == "linear":
        return q
    slope = _slope(activation)
    if slope is not None:
        return q * (1 + slope**2) / 2
    scale = _error_scale(activation)
    if scale is not None:
        s = 2 * scale**2 * q
        return (
            2 / math.pi * math.asin(s / (1 + s)) if s < 1e8 else 1 - 4 / math.pi * math.asin(math.sqrt(0.5 / (1 + s)))
        )
    if activation.name == "sin":
        return -math.expm1(-2 * q) / 2
    if activation.name == "hard_tanh":
        if q == 0:
            return 0.0
        if q > 1e3:
            return None  # here the terms below cancel; quadrature does not
        a = 1 / math.sqrt(2 * q)
        return q * math.erf(a) - math.sqrt(2 * q / math.pi) * math.exp(-a * a) + math.erfc(a)
    return None


def slope_moment(activation: Activation, q: float, k: int = 1) -> float | None:
    """μ_k(q) = E φ'(√q z)^{2k}, or None."""
    if activation.name == "linear":
        return 1.0
    slope = _slope(activation)
    if slope is not None:
        return (1 + math.pow(slope, 2 * k)) / 2
    scale = _error_scale(activation)
    if scale is not None:
        return math.pow(2 * scale / math.sqrt(math.pi), 2 * k) / math.sqrt(1 + 4 * k * scale**2 * q)
    if activation.name == "sin":
        # cos^{2k} = 4^{-k} Σ_j binom(2k, j) cos(2(k−j)x), and E cos(mx) = e^{−m²q/2}
        return math.fsum(math.comb(2 * k, j) * math.exp(-2 * (k - j) ** 2 * q) for j in range(2 * k + 1)) / 4.0**k
    if activation.name == "hard_tanh":
        return math.erf(1 / math.sqrt(2 * q)) if q > 0 else 1.0
    return None


def bias_gap(activation: Activation, q: float) -> float | None:
    """q μ_1(q) − V(q), where a closed form keeps its digits; on the critical line σ_b² is this over μ_1. None
    elsewhere.
    """
    if activation.homogeneous:
        return 0.0
    if activation.name == "hard_tanh" and 0 < q <= 1e8:
        a = 1 / math.sqrt(2 * q)
        if a > 26:
            return 0.0  # below the smallest normal float: e^{−676}
        return math.exp(-a * a) / (a * math.sqrt(math.pi)) - math.erfc(a)
    if activation.name == "sin":
        if q < 0.5:  # e^{−q}(q cosh q − sinh q) by its series, all terms positive
            total, term, j = 0.0, q**3 / 3, 1
            while term > 1e-18 * total:
                total += term
                term *= q * q * (j + 1) / (j * (2 * j + 2) * (2 * j + 3))
                j += 1
            return math.exp(-q) * total
        return (q * (1 + math.exp(-2 * q)) + math.expm1(-2 * q)) / 2
    return None
