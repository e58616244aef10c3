"""One-variable Gaussian averages of an activation: V(q), its slope, μ_k(q), and what the critical line needs of them.

Each takes the closed form where there is one and quadrature elsewhere (`method` chooses, so that tests can hold one
against the other).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isosweep.theory import closed_forms
from isosweep.theory.activations import ACTIVATIONS, Activation
from isosweep.theory.quadrature import REACH, gaussian_grid

__all__ = [
    "NotSquareIntegrableError",
    "QuadratureError",
    "bias_gap",
    "mean_slope",
    "mean_value",
    "nodes",
    "second_moment",
    "second_moment_slope",
    "slope_moment",
    "slope_moments",
]

Array = NDArray[np.float64]
Method = Literal["auto", "closed", "quadrature"]


class QuadratureError(ValueError):
    """An average of a user-given function did not converge: a kink or a narrow feature was not announced."""


class NotSquareIntegrableError(QuadratureError):
    """The function has no finite mean square under the Gaussian of this variance."""


def nodes(activation: Activation, q: float, bisections: int = 0) -> tuple[Array, Array, Array]:
    """Nodes z, weights w and pre-activations h = √q z, split at the activation's kinks.

    Raises:
        ValueError: q is negative or not finite.
    """
    if not (math.isfinite(q) and q >= 0):
        raise ValueError(f"a variance must be finite and not negative; q = {q!r}")
    root = math.sqrt(q)
    breaks: tuple[float, ...] = ()
    if root > 0:
        breaks = tuple(k / root for k in activation.kinks if k != 0)
        if not _known(activation) and root > 0.5:
            breaks += tuple(
                float(k) / root for k in range(-24, 25)
            )  # a user's function may vary anywhere, not only about 0
    z, w = gaussian_grid(breaks, q > 1e8, bisections)
    return z, w, root * z


def _known(activation: Activation) -> bool:
    return activation.name in ACTIVATIONS


def _average(activation: Activation, q: float, what: str, of: str) -> float:
    """E of the square of φ or a function like it, checked where the function is a user's."""

    def once(bisections: int) -> tuple[float, float, float]:
        z, w, h = nodes(activation, q, bisections)
        f = _INTEGRANDS[of](activation, z, h)
        terms = w * f
        ends = float(np.abs(terms[np.abs(z) > REACH - 0.5]).sum())
        return float(terms.sum()), ends, float(np.abs(terms).sum())

    with np.errstate(over="ignore", invalid="ignore"):
        value, ends, size = once(0)
        if not math.isfinite(value):
            raise NotSquareIntegrableError(f"{activation.label}: {what} is not finite at q = {q:g}")
        if not _known(activation):
            if ends > 1e-9 * size:
                raise NotSquareIntegrableError(
                    f"{activation.label} is not square-integrable at q = {q:g}: "
                    f"{what} still grows {REACH:g} standard deviations out"
                )
            finer = once(1)[0]
            if not abs(finer - value) <= 1e-9 * max(size, 1e-300):
                raise QuadratureError(
                    f"{activation.label}: {what} at q = {q:g} came out as {value:.12g} "
                    f"and, on a finer grid, as {finer:.12g}. "
                    "Either a kink was not named (kinks=…), or the function is not square-integrable"
                )
    return value


_INTEGRANDS = {
    "square": lambda a, z, h: a.phi(h) ** 2,
    "slope": lambda a, z, h: a.phi_prime(h) ** 2,
    "growth": lambda a, z, h: a.phi(h) ** 2 * (z * z - 1),
    "growth by slope": lambda a, z, h: a.phi(h) * a.phi_prime(h) * z,
}


def second_moment(activation: Activation, q: float, method: Method = "auto") -> float:
    """V(q) = E φ(√q z)².

    Args:
        method: "closed" insists on the closed form, "quadrature" on the grid, "auto" takes the closed form where there
            is one.

    Raises:
        ValueError: q negative or not finite, or no closed form where one was asked for.
        NotSquareIntegrableError: V is infinite at this q.
        QuadratureError: a user-given function was not resolved.
    """
    if not (math.isfinite(q) and q >= 0):
        raise ValueError(f"a variance must be finite and not negative; q = {q!r}")
    if method != "quadrature":
        value = closed_forms.second_moment(activation, q)
        if value is not None:
            return value
        if method == "closed":
            raise ValueError(f"{activation.label} has no closed form of V at q = {q:g}")
    return _average(activation, q, "E φ²", "square")


def slope_moment(activation: Activation, q: float, k: int = 1, method: Method = "auto") -> float:
    """μ_k(q) = E φ'(√q z)^{2k}; infinite for a discontinuous φ.

    Raises:
        ValueError: k below 1, q negative or not finite, or no closed form where one was asked for.
        QuadratureError: a user-given function was not resolved.
    """
    if k < 1:
        raise ValueError(f"μ_k needs k of 1 or more, not {k}")
    if activation.discontinuous:
        return math.inf
    if q == 0 and k == 1:
        return activation.slope_square_at_zero()
    if method != "quadrature":
        value = closed_forms.slope_moment(activation, q, k)
        if value is not None:
            return value
        if method == "closed":
            raise ValueError(f"{activation.label} has no closed form of μ_{k} at q = {q:g}")
    if k == 1:
        return _average(activation, q, "E φ'²", "slope")
    _, w, h = nodes(activation, q)
    return float(w @ activation.phi_prime(h) ** (2 * k))


def slope_moments(activation: Activation, q: float, count: int) -> tuple[float, ...]:
    """μ_1(q) … μ_count(q), as `slope_moment`, from one evaluation of φ'."""
    if activation.discontinuous or closed_forms.slope_moment(activation, q, 2) is not None or q == 0:
        return tuple(slope_moment(activation, q, k) for k in range(1, count + 1))
    _, w, h = nodes(activation, q)
    square = activation.phi_prime(h) ** 2
    power, found = square, [slope_moment(activation, q, 1)]
    for _ in range(count - 1):
        power = power * square
        found.append(float((w * power).sum()))
    return tuple(found)


def mean_value(activation: Activation, q: float) -> float:
    """E φ(√q z); exactly 0 for an odd activation."""
    if activation.odd:
        return 0.0
    _, w, h = nodes(activation, q)
    return float(w @ activation.phi(h))


def mean_slope(activation: Activation, q: float) -> float:
    """E φ'(√q z), without the delta parts that a discontinuity would add."""
    if activation.name == "hard_tanh":
        return slope_moment(activation, q)  # φ' is 0 or 1
    _, w, h = nodes(activation, q)
    return float(w @ activation.phi_prime(h))


def second_moment_slope(activation: Activation, q: float) -> float:
    """V'(q) = μ_1 + E[φ''φ], φ'' with its delta parts, computed without φ''.

    By parts E[φ'² + φ''φ] = E[φ φ' z]/√q, and for a discontinuous φ the same derivative is E[φ²(z² − 1)]/(2q): neither
    sees the deltas as separate terms, so neither can forget one.
    """
    if activation.homogeneous:
        return second_moment(activation, 1.0)
    if q == 0:
        return activation.slope_square_at_zero() if activation.at_zero() == 0 else _slope_of_growth_at_zero(activation)
    if activation.discontinuous:
        return _average(activation, q, "E φ²(z²−1)", "growth") / (2 * q)
    if activation.name == "sin":
        return math.exp(-2 * q)
    return _average(activation, q, "E φφ'z", "growth by slope") / math.sqrt(q)


def _slope_of_growth_at_zero(activation: Activation) -> float:
    zero = np.zeros(1)
    return activation.slope_square_at_zero() + float((activation.phi(zero) * activation.phi_second(zero))[0])


_LEGENDRE_NODES, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(16)
_UNIT_NODES, _UNIT_WEIGHTS = (_LEGENDRE_NODES + 1) / 2, _LEGENDRE_WEIGHTS / 2


def _remainder(activation: Activation, h: Array) -> Array:
    """φ(h) − φ(0) − φ'(0)h to relative precision: ∫_0^h (φ'(x) − φ'(0)) dx near 0, where the difference itself would
    cancel.
    """
    excess = activation.slope_excess
    assert excess is not None
    result: Array = activation.phi(h) - float(activation.phi_prime(np.zeros(1))[0]) * h
    near = np.abs(h) < 1
    x = h[near]
    result[near] = x * (excess(x[:, None] * _UNIT_NODES) @ _UNIT_WEIGHTS)
    return result


def bias_gap(activation: Activation, q: float, method: Method = "auto") -> float:
    """q μ_1(q) − V(q), with the digits that the difference would lose.

    In the orthonormal Hermite basis φ(√q z) = Σ a_k h_k, so that V = Σ a_k² and q μ_1 = Σ k a_k²: the gap is −a_0² +
    Σ_{k≥2} (k−1) a_k². It is computed from g = φ − a_0 − a_1 z as E g'² − E g² − a_0²; for an odd smooth φ the leading
    terms, which are 1/q times larger, are gone before anything is rounded.
    """
    if method != "quadrature":
        value = closed_forms.bias_gap(activation, q)
        if value is not None:
            return value
        if method == "closed":
            raise ValueError(f"{activation.label} has no closed form of the gap at q = {q:g}")
    _, w, h = nodes(activation, q)
    if activation.slope_excess is not None:
        excess = activation.slope_excess(h)
        values = _remainder(activation, h)
        origin = activation.at_zero()
    else:
        excess = activation.phi_prime(h)
        values = activation.phi(h)
        origin = 0.0
    slope = float(w @ excess)
    mean = 0.0 if activation.odd else float(w @ values)
    g = values - slope * h - mean
    return float(q * (w @ (excess - slope) ** 2) - w @ g**2 - (origin + mean) ** 2)
