"""The variance map q ↦ σ_w² V(q) + σ_b² of a wide network, its fixed points, and the gradient multiplier χ there.

Where there is not exactly one attracting fixed point, the answer says so in its `kind` and gives no q*: "zero",
"infinite" (ReLU above criticality), "every" (ReLU on it), "several" (the input's norm decides) or "none". Poole et al.
2016; Schoenholz et al. 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from isosweep.theory.activations import Activation
from isosweep.theory.averages import NotSquareIntegrableError, second_moment, second_moment_slope, slope_moment
from isosweep.theory.roots import bracketed_minimum, bracketed_root

__all__ = [
    "FixedPoint",
    "VarianceFixedPoint",
    "gradient_multiplier",
    "variance_fixed_point",
    "variance_map",
    "variance_map_slope",
]

Kind = Literal["point", "zero", "infinite", "every", "several", "none"]

_EXACT = 1e-12  # a gain within this of the homogeneous critical one is meant to be it: √2 has no exact double
_MARGINAL = 4e-15  # a slope within a few roundings of 1


@dataclass(frozen=True)
class FixedPoint:
    """One fixed point of the variance map: its variance (possibly 0 or infinite), the map's slope there, and whether q
    moves towards it.
    """

    q: float
    slope: float
    attracting: bool


@dataclass(frozen=True)
class VarianceFixedPoint:
    """Where the variance of a deep network goes.

    Attributes:
        kind: "point", one attracting q* in (0, ∞), reached from every input norm above 0; "zero"; "infinite"; "every",
            each q is fixed; "several", more than one attracts (0 and infinity count); "none", a fixed point exists and
            repels, q keeps moving.
        q_star: the variance, 0.0 for "zero", inf for "infinite", None for "every", "several" and "none".
        all: every fixed point found, in increasing order, repelling ones too.
    """

    kind: Kind
    q_star: float | None
    all: tuple[FixedPoint, ...]

    def explain(self) -> str:
        """One clause for a note or an error."""
        places = ", ".join(f"{p.q:.6g}" for p in self.all if p.attracting)
        return {
            "point": f"q* = {self.q_star}",
            "zero": "the variance shrinks to 0 with depth",
            "infinite": "the variance grows without bound with depth",
            "every": "every variance is a fixed point",
            "several": f"several fixed points attract (q = {places}): the inputs' norm decides",
            "none": "no fixed point attracts: the variance keeps moving",
        }[self.kind]


def _check(sigma_w: float, sigma_b: float) -> None:
    if not (math.isfinite(sigma_w) and sigma_w >= 0):
        raise ValueError(f"σ_w must be a finite number, 0 or above, not {sigma_w!r}")
    if not (math.isfinite(sigma_b) and sigma_b >= 0):
        raise ValueError(f"σ_b must be a finite number, 0 or above, not {sigma_b!r}")


def variance_map(activation: Activation, q: float, sigma_w: float, sigma_b: float) -> float:
    """The next layer's pre-activation variance, σ_w² V(q) + σ_b².

    Raises:
        ValueError: a negative or infinite argument.
        NotSquareIntegrableError: V(q) is infinite.
    """
    _check(sigma_w, sigma_b)
    return sigma_w**2 * second_moment(activation, q) + sigma_b**2


def variance_map_slope(activation: Activation, q: float, sigma_w: float) -> float:
    """The variance map's derivative, χ + σ_w² E[φ''φ] with the delta parts of φ''; 1/ξ_q = −ln of it at q*."""
    return sigma_w**2 * second_moment_slope(activation, q)


def gradient_multiplier(activation: Activation, q: float, sigma_w: float) -> float:
    """χ = σ_w² E φ'(√q z)²: by what a back-propagated squared gradient is multiplied in each layer. Infinite if φ is
    discontinuous.
    """
    return sigma_w**2 * slope_moment(activation, q)


# V is tabulated once per activation at ten variances a decade; signs of the map minus q on this table bracket the fixed
# points.
_TABLE = tuple(10.0 ** (k / 10) for k in range(-160, 121))


@lru_cache(maxsize=64)
def _table(activation: Activation) -> tuple[tuple[float, float], ...]:
    """(q, V(q)) as far as V is finite."""
    rows: list[tuple[float, float]] = []
    for q in _TABLE:
        try:
            rows.append((q, second_moment(activation, q)))
        except NotSquareIntegrableError:
            if not rows:
                raise
            break
    return tuple(rows)


def _homogeneous(activation: Activation, sigma_w: float, sigma_b: float) -> VarianceFixedPoint:
    slope = sigma_w**2 * second_moment(activation, 1.0)
    infinite = FixedPoint(math.inf, slope, True)
    if abs(slope - 1) < _EXACT:
        if sigma_b == 0:
            return VarianceFixedPoint("every", None, ())
        return VarianceFixedPoint("infinite", math.inf, (infinite,))
    if slope > 1:
        start = (FixedPoint(0.0, slope, False),) if sigma_b == 0 else ()
        return VarianceFixedPoint("infinite", math.inf, (*start, infinite))
    q = sigma_b**2 / (1 - slope)
    return VarianceFixedPoint("zero" if q == 0 else "point", q, (FixedPoint(q, slope, True),))


@lru_cache(maxsize=65536)
def variance_fixed_point(activation: Activation, sigma_w: float, sigma_b: float) -> VarianceFixedPoint:
    """Every fixed point of the variance map between 1e-16 and 1e12, 0 and infinity besides, and which of them attracts.

    Raises:
        ValueError: a negative or infinite argument.
        NotSquareIntegrableError: the activation has no finite mean square at any variance.
        QuadratureError: a user-given function was not resolved.
    """
    _check(sigma_w, sigma_b)
    if activation.homogeneous:
        return _homogeneous(activation, sigma_w, sigma_b)
    if sigma_w == 0:
        q = sigma_b**2
        return VarianceFixedPoint("point" if q else "zero", q, (FixedPoint(q, 0.0, True),))
    a, b = sigma_w**2, sigma_b**2
    rows = _table(activation)
    # Relative to q the sign is that of log(map/q); rounding of V leaves a few 1e-16 of it undecided, which counts as
    # "at the fixed point".
    excess = [(q, (a * v + b) / q - 1) for q, v in rows]
    found: list[FixedPoint] = []

    def refined(low: int, high: int) -> float:
        def f(log_q: float) -> float:
            q = math.exp(log_q)
            return (a * second_moment(activation, q) + b) / q - 1

        q0, q1 = excess[low], excess[high]
        return math.exp(bracketed_root(f, math.log(q0[0]), math.log(q1[0]), q0[1], q1[1]))

    vanishing = b == 0 and activation.at_zero() == 0
    sign_below = 0.0
    if vanishing:
        slope = a * activation.slope_square_at_zero()
        if abs(slope - 1) <= _MARGINAL:
            sign_below = next((e for _, e in excess if abs(e) > 1e-13), 0.0)
        else:
            sign_below = slope - 1
        found.append(FixedPoint(0.0, slope, sign_below < 0))
    decided = [i for i, (_, e) in enumerate(excess) if abs(e) > _MARGINAL]
    if vanishing and sign_below != 0 and decided and (excess[decided[0]][1] < 0) != (sign_below < 0):
        # It crosses below the table, at a variance under 1e-16: closer to 0 than the arithmetic can tell.
        found[0] = FixedPoint(0.0, found[0].slope, not found[0].attracting)
    for i, j in pairwise(decided):
        if (excess[i][1] < 0) != (excess[j][1] < 0):
            q = refined(i, j)
            slope = variance_map_slope(activation, q, sigma_w)
            found.append(FixedPoint(q, slope, excess[i][1] > 0 and slope > -1))
    found.extend(_touching(activation, a, b, excess, sigma_w))
    last = excess[decided[-1]][1] if decided else -1.0
    if last > 0 and len(rows) < len(_TABLE) and not any(p.attracting for p in found):
        raise NotSquareIntegrableError(
            f"{activation.label} with σ_w = {sigma_w:g}, σ_b = {sigma_b:g}: the variance grows past {rows[-1][0]:.3g}, "
            "beyond which the activation is not square-integrable"
        )
    if last > 0:
        found.append(FixedPoint(math.inf, last + 1, True))
    found.sort(key=lambda p: p.q)
    attracting = [p for p in found if p.attracting]
    if len(attracting) > 1:
        return VarianceFixedPoint("several", None, tuple(found))
    if not attracting:
        return VarianceFixedPoint("none", None, tuple(found))
    q = attracting[0].q
    kind: Kind = "zero" if q == 0 else "infinite" if q == math.inf else "point"
    return VarianceFixedPoint(kind, q, tuple(found))


def _touching(
    activation: Activation, a: float, b: float, excess: list[tuple[float, float]], sigma_w: float
) -> list[FixedPoint]:
    """Pairs of fixed points between two rows of the table: where the excess dips towards 0, the dip is followed to its
    bottom.
    """
    pairs: list[FixedPoint] = []
    for (q0, e0), (_, e1), (q2, e2) in zip(excess, excess[1:], excess[2:], strict=False):
        if not (abs(e1) < abs(e0) and abs(e1) < abs(e2) and (e0 < 0) == (e1 < 0) == (e2 < 0)) or abs(e1) < 1e-12:
            continue

        def height(q: float, sign: float = math.copysign(1.0, e1)) -> float:
            return sign * ((a * second_moment(activation, q) + b) / q - 1)

        # the bottom need only be known well enough to see whether it is below 0
        bottom, least = bracketed_minimum(lambda x: height(math.exp(x)), math.log(q0), math.log(q2))
        if least >= 0:
            continue
        for start, end in ((math.log(q0), bottom), (bottom, math.log(q2))):
            q = math.exp(bracketed_root(lambda x: height(math.exp(x)), start, end))
            slope = variance_map_slope(activation, q, sigma_w)
            pairs.append(FixedPoint(q, slope, abs(slope) < 1))
    return pairs
