"""The critical line: the gains and biases (σ_w, σ_b) at which the gradient multiplier χ = σ_w² E φ'² is 1 at a fixed
point q*.

Given q*, the point is σ_w² = 1/μ_1(q*), σ_b² = q* − V(q*)/μ_1(q*), which must not be negative (Schoenholz et al. 2017;
Pennington et al. 2017). Given σ_b, q* is solved for. The results define the gains of runs: they are deterministic, and
accurate to about 1e-14.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from isosweep.theory.activations import Activation
from isosweep.theory.averages import bias_gap, second_moment_slope, slope_moment
from isosweep.theory.roots import bracketed_root

__all__ = ["CriticalPoint", "NoCriticalPoint", "critical_at_bias", "critical_at_variance"]

_ZERO_BIAS = 1e-12  # σ_b² below this share of q* is rounding, where the gap has no series that keeps its sign
_MARGIN = 1e-9  # a slope of V may exceed 1 by rounding and still count as stable


class NoCriticalPoint(ValueError):
    """There is no (σ_w, σ_b) with χ = 1 at what was asked for."""


@dataclass(frozen=True)
class CriticalPoint:
    """A point of the critical line.

    Attributes:
        sigma_w, sigma_b: the gain and the standard deviation of the biases; χ = 1 at q_star.
        q_star: the variance there; None where every variance is a fixed point and none was asked for.
        every_q: every variance is a fixed point (linear, relu, leaky_relu without biases).
        slope: the derivative of the variance map at q_star, χ + σ_w² E[φ''φ]; above 1 a deep network leaves q_star.
        stable: |slope| ≤ 1, or where it is exactly 1 at q* = 0, that the map there pulls towards 0.
        others: with `critical_at_bias`, the points that were not chosen.
    """

    sigma_w: float
    sigma_b: float
    q_star: float | None
    every_q: bool
    slope: float
    stable: bool
    others: tuple[CriticalPoint, ...] = ()


def _refuse_discontinuous(activation: Activation) -> None:
    if activation.discontinuous:
        raise NoCriticalPoint(
            f"{activation.label} is discontinuous (at {', '.join(f'{x:g}' for x in activation.discontinuities)}): "
            "E φ'² is infinite, and there is no critical line"
        )


def _bias_variance(activation: Activation, q: float) -> float:
    """σ_b² = (q μ_1 − V)/μ_1 on the line; may be negative, where there is no critical point."""
    mu = slope_moment(activation, q)
    if mu == 0:
        return math.inf
    value = bias_gap(activation, q) / mu
    exact = activation.odd and (activation.slope_excess is not None or activation.name == "hard_tanh")
    return 0.0 if not exact and abs(value) < _ZERO_BIAS * q else value


def _at_zero(activation: Activation) -> CriticalPoint:
    """The limit q* → 0, which needs φ(0) = 0 and no biases."""
    if activation.at_zero() != 0:
        raise NoCriticalPoint(
            f"{activation.label} has no critical point at q* = 0: φ(0) = {activation.at_zero():g} keeps q above 0"
        )
    square = activation.slope_square_at_zero()
    if square == 0:
        raise NoCriticalPoint(f"{activation.label} has no critical point at q* = 0: its slope there is 0")
    # The slope of the map is exactly 1 at 0, for every such φ; which way it pulls shows in σ_b² > 0 just beside it, as
    # V/q falls there.
    beside = 1e-4
    pulls = second_moment_slope(activation, beside) <= square * (1 + 1e-12)
    return CriticalPoint(math.sqrt(1 / square), 0.0, 0.0, False, 1.0, pulls)


@lru_cache(maxsize=65536)
def critical_at_variance(activation: Activation, q_star: float) -> CriticalPoint:
    """The critical point whose fixed point is `q_star`.

    Raises:
        NoCriticalPoint: σ_b² would be negative, the activation is discontinuous, or q* = 0 and φ(0) ≠ 0.
        ValueError: q_star is negative or not finite.
    """
    if not (math.isfinite(q_star) and q_star >= 0):
        raise ValueError(f"q* must be a finite number, 0 or above, not {q_star!r}")
    _refuse_discontinuous(activation)
    if activation.homogeneous:
        mu = slope_moment(activation, 1.0)
        if mu == 0:
            raise NoCriticalPoint(f"{activation.label} is 0 everywhere")
        return CriticalPoint(math.sqrt(1 / mu), 0.0, q_star, True, 1.0, True)
    if q_star == 0:
        return _at_zero(activation)
    mu = slope_moment(activation, q_star)
    variance = _bias_variance(activation, q_star)
    if not math.isfinite(variance):
        raise NoCriticalPoint(f"{activation.label} has no critical point at q* = {q_star:g}: E φ'² is 0 there")
    if variance < 0:
        raise NoCriticalPoint(
            f"{activation.label} has no critical point at q* = {q_star:g}: "
            f"it would need σ_b² = {variance:.6g}, which is negative"
        )
    slope = second_moment_slope(activation, q_star) / mu
    return CriticalPoint(math.sqrt(1 / mu), math.sqrt(variance), q_star, False, slope, abs(slope) <= 1 + _MARGIN)


# Where σ_b is given, q* is sought among these: five a decade, so that two crossings are told apart unless within a
# factor 1.6.
_SCAN = tuple(10.0 ** (k / 5) for k in range(-60, 41))


@lru_cache(maxsize=64)
def _scan(activation: Activation) -> tuple[tuple[float, float], ...]:
    """(q, σ_b²(q)) along the line, as far as the averages exist."""
    rows: list[tuple[float, float]] = []
    for q in _SCAN:
        try:
            value = _bias_variance(activation, q)
        except ValueError:
            break
        if not math.isfinite(value):
            break
        rows.append((q, value))
    return tuple(rows)


@lru_cache(maxsize=65536)
def critical_at_bias(activation: Activation, sigma_b: float) -> CriticalPoint:
    """The critical point whose biases have the standard deviation `sigma_b`.

    Where there are several, the one with the smallest q* among the stable ones is taken, or the smallest q* where none
    is stable; the rest are in its `others`.

    Raises:
        NoCriticalPoint: no q* between 1e-12 and 1e8 (or 0, or every) has χ = 1 with these biases.
        ValueError: sigma_b is negative or not finite.
    """
    if not (math.isfinite(sigma_b) and sigma_b >= 0):
        raise ValueError(f"σ_b must be a finite number, 0 or above, not {sigma_b!r}")
    _refuse_discontinuous(activation)
    target = sigma_b**2
    if activation.homogeneous:
        if sigma_b > 0:
            raise NoCriticalPoint(
                f"{activation.label} with σ_b = {sigma_b:g} has no critical point: "
                "at χ = 1 its variance map is q + σ_b², which only grows"
            )
        return replace(critical_at_variance(activation, 1.0), q_star=None)

    found: list[CriticalPoint] = []
    if sigma_b == 0:
        with suppress(NoCriticalPoint):
            found.append(_at_zero(activation))
    rows = _scan(activation)
    for (a, fa), (b, fb) in pairwise(rows):
        if (fa - target < 0) == (fb - target < 0) or (sigma_b == 0 and activation.odd):
            continue  # for an odd activation Σ (k−1) a_k² is positive at every q > 0: a zero here would be rounding

        def excess(log_q: float) -> float:
            return _bias_variance(activation, math.exp(log_q)) - target

        q = math.exp(bracketed_root(excess, math.log(a), math.log(b), fa - target, fb - target))
        point = critical_at_variance(activation, q) if _bias_variance(activation, q) >= 0 else None
        mu = slope_moment(activation, q)
        slope = second_moment_slope(activation, q) / mu if point is None else point.slope
        found.append(CriticalPoint(math.sqrt(1 / mu), sigma_b, q, False, slope, abs(slope) <= 1 + _MARGIN))
    if not found:
        low, high = min(v for _, v in rows), max(v for _, v in rows)
        raise NoCriticalPoint(
            f"{activation.label} with σ_b = {sigma_b:g} has no critical point: "
            f"along its line σ_b² runs from {low:.4g} to {high:.4g} "
            f"(q* from {rows[0][0]:g} to {rows[-1][0]:g})"
        )
    chosen = min(found, key=lambda p: (not p.stable, p.q_star))
    return replace(chosen, others=tuple(p for p in found if p is not chosen))
