"""Two inputs in one wide network: E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for jointly Gaussian pre-activations u, v of
correlation c.

Closed forms where there are some (rectifiers: Cho & Saul 2009; error functions: Williams 1997; sine). A piecewise
linear function, such as hard-tanh, has d²/dc² E[φφ] = Σ over pairs of kinks of a bivariate density, which is integrated
from c = 0. All others go by their Hermite coefficients, E[φφ] = Σ a_k(q_u) a_k(q_v) c^k (Mehler), with the mass beyond
the last one put at the degree that makes value and slope at c = 1 exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.averages import mean_slope, mean_value, second_moment, slope_moment
from isosweep.theory.quadrature import gaussian_grid
from isosweep.theory.roots import bracketed_root

__all__ = [
    "HermiteSeries",
    "correlation_fixed_point",
    "correlation_map",
    "correlation_slope",
    "hermite_coefficients",
    "pair_averages",
]

Array = NDArray[np.float64]

_COUNTS = (48, 128, 400)  # Hermite coefficients: the first set that holds the whole of V and μ_1, or the last


@lru_cache(maxsize=8)
def _hermite_rows(count: int, half: bool, fine: bool, breaks: tuple[float, ...] = ()) -> Array:
    """Weighted orthonormal Hermite polynomials w h_k on the Gaussian grid; the odd ones on its positive half, doubled,
    if `half`.
    """
    z, w = gaussian_grid(breaks, fine)
    if half:
        z, w = z[len(z) // 2 :], 2 * w[len(w) // 2 :]
    rows = np.empty((count, len(z)))
    rows[0] = 1.0
    rows[1] = z
    for k in range(1, count - 1):
        rows[k + 1] = (z * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1)
    return rows * w


@dataclass(frozen=True)
class HermiteSeries:
    """φ(√q z) and φ'(√q z) in the orthonormal Hermite basis.

    Attributes:
        value, slope: coefficients of φ and of φ', each of degree 0, 1, 2, ….
        value_tail, slope_tail: (mass, degree) of what E φ² and E φ'² have beyond them.
    """

    value: Array
    slope: Array
    value_tail: tuple[float, float]
    slope_tail: tuple[float, float]


def _tail(total: float, coefficients: Array) -> tuple[float, float]:
    """The mass beyond the last coefficient; its degree from a decay like k^{-5/2}, whose mean degree is three times the
    first.
    """
    mass = total - float(coefficients @ coefficients)
    return (mass, 3.0 * len(coefficients)) if mass > 1e-13 * total else (0.0, 1.0)


@lru_cache(maxsize=4096)
def _hermite(activation: Activation, q: float) -> HermiteSeries:
    breaks: tuple[float, ...] = ()
    if q > 0:
        breaks = tuple(sorted(k / math.sqrt(q) for k in activation.kinks if k != 0))
    half = activation.odd and not breaks
    z, w = gaussian_grid(breaks, q > 1e8)
    if half:
        z, w = z[len(z) // 2 :], 2 * w[len(w) // 2 :]
    h = math.sqrt(q) * z
    f, g = activation.phi(h), activation.phi_prime(h)
    v, mu = float(w @ f**2), float(w @ g**2)
    for count in _COUNTS:
        if half:
            # φ is odd and φ' even; the rows of the other parity vanish on the whole line.
            rows = _hermite_rows(count, True, q > 1e8)
            a, b = np.zeros(count), np.zeros(count)
            a[1::2] = rows[1::2] @ f
            b[0::2] = rows[0::2] @ g
        else:
            rows = _hermite_rows(count, False, q > 1e8, breaks)
            a, b = rows @ f, rows @ g
        value_tail, slope_tail = _tail(v, a), _tail(mu, b)
        if slope_tail[0] == 0:
            break
    # K'(1) = q μ_1 fixes the degree of the value's tail.
    if value_tail[0] > 0:
        rest = q * mu - float(np.arange(len(a)) @ a**2)
        value_tail = (value_tail[0], max(rest / value_tail[0], float(len(a))))
    return HermiteSeries(a, b, value_tail, slope_tail)


def _powers(value: Array, slope: Array, c: Array) -> tuple[Array, Array]:
    """Σ p_k c^k of both; one matrix product for a few correlations, Horner's scheme for many."""
    if c.size <= 64:
        powers = np.empty((*c.shape, max(len(value), len(slope))))
        powers[..., 0], powers[..., 1:] = 1.0, c[..., None]
        np.cumprod(powers, axis=-1, out=powers)
        return powers[..., : len(value)] @ value, powers[..., : len(slope)] @ slope
    of = np.polynomial.polynomial.polyval
    return np.asarray(of(c, value), float), np.asarray(of(c, slope), float)


_OCTAVE_NODES = np.cos(np.pi * (np.arange(16) + 0.5) / 16)
_OCTAVE_WEIGHTS = (-1.0) ** np.arange(16) * np.sin(np.pi * (np.arange(16) + 0.5) / 16)


@lru_cache(maxsize=512)
def _octave(activation: Activation, index: int) -> Array:
    """Everything that `_equal_powers` needs at 16 Chebyshev points of log₂ q in [index, index + 1]: one row each."""
    series = [_hermite(activation, float(2.0 ** (index + (t + 1) / 2))) for t in _OCTAVE_NODES]
    count = max(len(s.value) for s in series)
    rows = np.zeros((len(series), 2 * count + 4))
    for row, s in zip(rows, series, strict=True):
        row[: len(s.value)] = s.value**2
        row[count : count + len(s.slope)] = s.slope**2
        row[-4:] = s.value_tail[0], s.value_tail[0] * s.value_tail[1], s.slope_tail[0], s.slope_tail[1]
    return rows


@lru_cache(maxsize=4096)
def _equal_powers(activation: Activation, q: float) -> tuple[Array, Array, tuple[float, float], tuple[float, float]]:
    """a_k² of φ and of φ' at the variance q, and their tails, interpolated: they are analytic in log q.

    Deep networks off their fixed point have a new variance in every layer; one octave of them costs 16 projections.
    """
    position = math.log2(q)
    index = math.floor(position)
    rows = _octave(activation, index)
    gaps = 2 * (position - index) - 1 - _OCTAVE_NODES
    nearest = int(np.argmin(np.abs(gaps)))
    if gaps[nearest] == 0:
        row = rows[nearest]
    else:
        weights = _OCTAVE_WEIGHTS / gaps
        row = weights @ rows / weights.sum()
    count = (len(row) - 4) // 2
    mass, moment, slope_mass, slope_degree = row[-4:].tolist()
    tail = (mass, moment / mass) if mass > 0 and moment > 0 else (0.0, 1.0)
    return row[:count], row[count:-4], tail, (slope_mass, slope_degree) if slope_mass > 0 else (0.0, 1.0)


def _by_series(activation: Activation, qu: float, qv: float, c: Array) -> tuple[Array, Array]:
    if qu == qv:
        value_powers, slope_powers, (mass, degree), (slope_mass, slope_degree) = _equal_powers(activation, qu)
        value, slope = _powers(value_powers, slope_powers, c)
        if mass > 0:
            value = value + mass * np.abs(c) ** degree
        if slope_mass > 0:
            slope = slope + slope_mass * np.abs(c) ** slope_degree
        return value, slope
    u, v = _hermite(activation, qu), _hermite(activation, qv)
    n, m = min(len(u.value), len(v.value)), min(len(u.slope), len(v.slope))
    return _powers(u.value[:n] * v.value[:n], u.slope[:m] * v.slope[:m], c)


def _rectifier(below: float, qu: Array, qv: Array, c: Array) -> tuple[Array, Array]:
    a, b = (1 + below) / 2, (1 - below) / 2  # φ = a x + b |x|
    angle = np.arcsin(c)
    absolute = 2 / math.pi * (np.sqrt(np.maximum(1 - c * c, 0)) + c * angle)
    return np.sqrt(qu) * np.sqrt(qv) * (a * a * c + b * b * absolute), a * a + b * b * 2 / math.pi * angle


def _error_function(scale: float, qu: Array, qv: Array, c: Array) -> tuple[Array, Array]:
    s = 2 * scale**2
    du, dv, cross = 1 + s * qu, 1 + s * qv, s * np.sqrt(qu) * np.sqrt(qv) * c
    value = 2 / math.pi * np.arcsin(cross / np.sqrt(du * dv))
    return value, 2 * s / math.pi / np.sqrt(du * dv - cross**2)


def _sine(qu: Array, qv: Array, c: Array) -> tuple[Array, Array]:
    middle, cross = (qu + qv) / 2, np.sqrt(qu) * np.sqrt(qv) * c
    plus, minus = np.exp(cross - middle), np.exp(-cross - middle)
    return (plus - minus) / 2, (plus + minus) / 2


_ARC_NODES, _ARC_WEIGHTS = np.polynomial.legendre.leggauss(96)


def _piecewise_linear(activation: Activation, qu: Array, qv: Array, c: Array) -> tuple[Array, Array]:
    """From c = 0 by d²K/dc² = q_u q_v E[φ''φ''], a sum over pairs of kinks; x = sin t takes the 1/√(1−x²) of the
    densities away.
    """
    qu, qv, c = np.broadcast_arrays(qu, qv, c)
    end = np.arcsin(c)[..., None]
    t = end * (_ARC_NODES + 1) / 2
    weight = end * _ARC_WEIGHTS / 2
    x, cosine = np.sin(t), np.maximum(np.cos(t), 1e-150)
    su, sv = np.sqrt(qu)[..., None], np.sqrt(qv)[..., None]
    # All pairs of kinks, along the last axis. The exponent as two squares, which cannot cancel: ((a − b)² + 2(1 − x) a
    # b)/cos², with (1 − x)/cos² = 1/(1 + x).
    kinks, jumps = np.array(activation.kinks), np.array(activation.slope_jumps)
    a, b = np.repeat(kinks, len(kinks)) / su[..., None], np.tile(kinks, len(kinks)) / sv[..., None]
    exponent = ((a - b) / cosine[..., None]) ** 2 / 2 + a * b / (1 + x[..., None])
    density = np.exp(-exponent) @ np.outer(jumps, jumps).ravel() / (2 * math.pi)

    def table(f: Callable[[Activation, float], float], q: Array) -> Array:
        levels, back = np.unique(q, return_inverse=True)
        result: Array = np.array([f(activation, float(level)) for level in levels])[back].reshape(q.shape)
        return result

    root = np.sqrt(qu) * np.sqrt(qv)
    slope_at_zero = table(mean_slope, qu) * table(mean_slope, qv)
    value = table(mean_value, qu) * table(mean_value, qv) + root * slope_at_zero * c
    value = value + root * np.sum(weight * density * (c[..., None] - x), axis=-1)
    return value, slope_at_zero + np.sum(weight * density, axis=-1)


def _has_series(activation: Activation) -> bool:
    """Whether pair averages go by Hermite coefficients: there is no closed form."""
    named = activation.name in ("linear", "relu", "leaky_relu", "erf", "scaled_erf", "sin")
    return not (named or activation.piecewise_linear)


def pair_averages(activation: Activation, qu: ArrayLike, qv: ArrayLike, c: ArrayLike) -> tuple[Array, Array]:
    """E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for Gaussian u, v with variances `qu`, `qv` and correlation `c`, element by
    element.

    Args:
        qu, qv: variances above 0, broadcast against `c`.
        c: correlations in [−1, 1]; values beyond by rounding are clipped.

    Returns:
        two arrays of the broadcast shape.

    Raises:
        ValueError: the activation is discontinuous (E φ'φ' is a density then, not an average), or a variance is not
            above 0.
    """
    if activation.discontinuous:
        raise ValueError(f"{activation.label} is discontinuous: E φ'φ' does not exist as an average")
    if isinstance(qu, float) and isinstance(qv, float) and 0 < qu == qv < math.inf and _has_series(activation):
        # the many calls of a chain
        return _by_series(activation, qu, qu, np.minimum(np.maximum(np.asarray(c, float), -1.0), 1.0))
    u, v, k = np.broadcast_arrays(np.asarray(qu, float), np.asarray(qv, float), np.clip(np.asarray(c, float), -1, 1))
    if not (np.all(u > 0) and np.all(v > 0) and np.all(np.isfinite(u)) and np.all(np.isfinite(v))):
        raise ValueError("variances must be finite and above 0")
    name = activation.name
    if name == "linear":
        return np.sqrt(u) * np.sqrt(v) * k, np.ones_like(k)
    if name in ("relu", "leaky_relu"):
        return _rectifier(activation.negative_slope or 0.0, u, v, k)
    if name in ("erf", "scaled_erf"):
        return _error_function(1.0 if name == "erf" else math.sqrt(math.pi) / 2, u, v, k)
    if name == "sin":
        return _sine(u, v, k)
    if activation.piecewise_linear and activation.kinks:
        return _piecewise_linear(activation, u, v, k)
    if np.ndim(qu) == 0 and np.ndim(qv) == 0:
        return _by_series(activation, float(u.flat[0]), float(v.flat[0]), k)
    value, slope = np.empty(k.shape), np.empty(k.shape)
    for a in np.unique(u):
        for b in np.unique(v[u == a]):
            here = (u == a) & (v == b)
            value[here], slope[here] = _by_series(activation, float(a), float(b), k[here])
    return value, slope


def correlation_map(activation: Activation, q: float, c: ArrayLike, sigma_w: float, sigma_b: float) -> Array:
    """c ↦ (σ_w² E[φ(u)φ(v)] + σ_b²)/(σ_w² V(q) + σ_b²), the next layer's correlation at equal variances `q`.

    At a fixed point q* the denominator is q*.
    """
    value, _ = pair_averages(activation, q, q, c)
    next_q = sigma_w**2 * second_moment(activation, q) + sigma_b**2
    result: Array = (sigma_w**2 * value + sigma_b**2) / next_q
    return result


def correlation_slope(activation: Activation, q: float, c: ArrayLike, sigma_w: float) -> Array:
    """σ_w² E[φ'(u)φ'(v)]: the correlation map's derivative at a fixed point q: χ at c = 1, e^{−1/ξ_c} at c*."""
    _, slope = pair_averages(activation, q, q, c)
    result: Array = sigma_w**2 * slope
    return result


@lru_cache(maxsize=65536)
def correlation_fixed_point(activation: Activation, q: float, sigma_w: float, sigma_b: float) -> float:
    """c*, the stable fixed point of the correlation map on [0, 1] at the fixed variance `q`.

    The map is a power series in c with coefficients above 0, hence convex there, and 1 is a fixed point: c* is 1 unless
    χ > 1, and then the one other crossing (0 if the map vanishes at 0).
    """
    chi = sigma_w**2 * slope_moment(activation, q)
    if chi <= 1 + 1e-9:
        return 1.0

    next_q = sigma_w**2 * second_moment(activation, q) + sigma_b**2

    def excess(c: float) -> float:
        value, _ = pair_averages(activation, q, q, c)
        return float((sigma_w**2 * value + sigma_b**2) / next_q) - c

    at_zero = (sigma_w * mean_value(activation, q)) ** 2 + sigma_b**2
    if at_zero <= 1e-15 * q:
        return 0.0
    # Near criticality 1 − c* is of the size of χ − 1; the other end of the bracket stays well inside it, and outside
    # rounding.
    for inside in (1e-3, 0.1, 0.5):
        high = 1 - inside * (1 - math.exp(-(chi - 1)))
        if high < 1 and excess(high) < 0:
            return bracketed_root(excess, 0.0, high)
    return 1.0


def hermite_coefficients(activation: Activation, q: Array) -> tuple[Array, Array] | None:
    """(n, K) coefficients of φ and φ' at each variance, padded with zeros; None where pair averages have a closed form
    instead.
    """
    if activation.homogeneous or activation.name in ("erf", "scaled_erf", "sin") or activation.piecewise_linear:
        return None
    series = [_hermite(activation, float(x)) for x in q]
    count = max(len(s.value) for s in series)
    value, slope = np.zeros((len(q), count)), np.zeros((len(q), count))
    for i, s in enumerate(series):
        value[i, : len(s.value)] = s.value
        slope[i, : len(s.slope)] = s.slope
    return value, slope
