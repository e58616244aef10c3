"""The law of φ'(h)² for a Gaussian pre-activation h: the D² of the Jacobian's factors, with its Cauchy-like transform
off and on the cut.

`slope_path` has the nodes at which z(w) = E[φ'²/(w − φ'²)] is taken: one fixed set of them, on a path in the
complex plane above the support, serves all w in the closed lower half-plane to rounding.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.averages import slope_moments
from isosweep.theory.slope_path import slope_path

__all__ = ["SlopeLaw", "bernoulli_law", "slope_law"]

Complex = NDArray[np.complex128]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class SlopeLaw:
    """φ'² as weighted nodes: its atoms where the law is discrete, else points of a path above the real axis.

    Attributes:
        nodes, weights: Σ weights f(nodes) = E f(φ'²) for f analytic on and below the path.
        discrete: the nodes are real atoms.
        sup, inf: the ends of the support.
        sup_mass, zero_mass: the atoms at `sup` and at 0. Of a smooth φ' that falls off like a Gaussian, the units with
            φ'² below 1e-280 count as 0: neither a run nor its logarithms tell them from that.
        moments: E φ'^{2k} for k = 1 … 12.
        turns: φ'² where its law is not smooth: at its stationary points, at kinks, and far out.
        axis, masses: the same law by nodes on the real axis, which serve where w is real and off the support, at a
            sixth of the cost.
    """

    nodes: Complex
    weights: Complex
    discrete: bool
    sup: float
    inf: float
    sup_mass: float
    zero_mass: float
    moments: tuple[float, ...]
    turns: tuple[float, ...] = ()
    axis: Array | None = None
    masses: Array | None = None

    def transform(self, log_w: Any) -> tuple[Any, Any]:
        """z(w) = E[φ'²/(w − φ'²)] and dz/d ln w, for w in the lower half-plane or real and off the support.

        ln w is the argument, because the interesting w reach down to where w² underflows: an array, or one complex
        number.
        """
        if isinstance(log_w, complex):
            return self._at_one(log_w)
        w = np.exp(np.asarray(log_w, complex))
        flat: Array | Complex = w.reshape(-1, 1)
        z, slope = np.empty(len(flat), complex), np.empty(len(flat), complex)
        nodes: Array | Complex = self.nodes
        weighted: Array | Complex = self._weighted
        batch = _BATCH
        if self.axis is not None and self._beside(log_w, w):
            nodes, weighted, batch = self.axis, self._weighted_axis, _REAL_BATCH
            flat = np.ascontiguousarray(flat.real)
        rows = max(1, batch // max(1, len(nodes)))
        for i in range(0, len(flat), rows):
            at = flat[i : i + rows]
            inverse = at - nodes
            np.reciprocal(inverse, out=inverse)
            z[i : i + rows] = inverse @ weighted
            # w y/(w − y)², the first product of order 1 also where w² would underflow
            inverse *= inverse * at
            slope[i : i + rows] = inverse @ weighted
        return z.reshape(w.shape)[()], -slope.reshape(w.shape)[()]

    def _at_one(self, log_w: complex) -> tuple[complex, complex]:
        """`transform` of a single w, as a walk along a curve asks for it hundreds of times."""
        try:
            w = cmath.exp(log_w)
        except (ValueError, OverflowError):
            return complex(math.nan, math.nan), complex(math.nan, math.nan)
        inverse = w - self.nodes
        np.reciprocal(inverse, out=inverse)
        z = complex(inverse @ self._weighted)
        inverse *= inverse * w
        return z, -complex(inverse @ self._weighted)

    def _beside(self, log_w: Any, w: Complex) -> bool:
        """Whether every w is real and off the support, or not a number."""
        turn = np.asarray(log_w).imag
        return bool(np.all((turn == 0) & ~(w.real <= self.sup) | (np.abs(turn) == math.pi)))

    @cached_property
    def _weighted(self) -> Complex:
        return self.nodes * self.weights

    @cached_property
    def turning(self) -> Array:
        """`turns` as an array."""
        return np.array(self.turns)

    @cached_property
    def _weighted_axis(self) -> Array:
        assert self.axis is not None
        assert self.masses is not None
        return self.axis * self.masses

    @cached_property
    def above(self) -> Branch:
        """z > 0: w = sup·(1 + e^v)."""
        return Branch(self, self.sup, math.inf)

    @cached_property
    def negative(self) -> Branch:
        """−1 < z < 0: w = −sup·e^v."""
        return Branch(self, -math.inf, 0.0)


_BATCH, _REAL_BATCH = 4000, 9000
"""Elements of a matrix times a vector at a time, complex and real: in cache, and below the size from which OpenBLAS
uses threads, on which the order of its additions, and so the last bits, would depend.
"""
MOMENTS = 12


@dataclass(frozen=True)
class Branch:
    """A stretch of the real axis off the support on which z falls monotonically from 0: above it, or w < 0.

    Attributes:
        law: whose z.
        low, high: (sup, ∞) or (−∞, 0).
    """

    law: SlopeLaw
    low: float
    high: float

    def _at(self, v: Array) -> tuple[Array, Array, Array]:
        """ln w's real part, a chart of z in which it is nearly straight, and its derivative in v."""
        sup = self.law.sup
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.low > 0:
                log_w = math.log(sup) + np.logaddexp(0.0, v)
                z, slope = self.law.transform(log_w)
                return log_w, np.log(z.real), slope.real / z.real / (1 + np.exp(-v))
            log_w = math.log(sup) + v
            z, slope = self.law.transform(log_w - 1j * math.pi)
            return log_w, np.log(-z.real) - np.log1p(z.real), slope.real / (z.real * (1 + z.real))

    @cached_property
    def _table(self) -> tuple[Array, Array, Array]:
        """v, the chart, which falls, and its derivative."""
        v = np.linspace(-34.0, 34.0, 69)
        _, chart, slope = self._at(v)
        kept = np.isfinite(chart) & (slope < 0)
        return v[kept], chart[kept], slope[kept]

    @property
    def reach(self) -> float:
        """The chart's value at the end next to the support: which z there are."""
        return float(self._table[1][0])

    def solve(self, z: Array, rounds: int = 3) -> Complex:
        """ln w (its imaginary part −π for negative w) with z(w) = z; NaN where the branch does not reach z.

        From a table, to 1e-3 and better, then by `rounds` steps of Newton's method.
        """
        at = np.asarray(z, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            wanted = np.log(at) if self.low > 0 else np.log(-at) - np.log1p(at)
            table, chart, slope = self._table
            i = np.clip(np.searchsorted(-chart, -wanted) - 1, 0, len(chart) - 2)
            # v as a cubic of the chart between two rows
            span = chart[i + 1] - chart[i]
            t = (wanted - chart[i]) / span
            v = (
                table[i] * (1 + 2 * t) * (1 - t) ** 2
                + span / slope[i] * t * (1 - t) ** 2
                + table[i + 1] * t**2 * (3 - 2 * t)
                + span / slope[i + 1] * t**2 * (t - 1)
            )
            v = np.where((wanted <= chart[0]) & (wanted >= chart[-1]), np.clip(v, table[i], table[i + 1]), math.nan)
            for _ in range(rounds):
                _, reached, rate = self._at(v)
                v = v - np.clip((reached - wanted) / rate, -1.0, 1.0)
        log_w = math.log(self.law.sup) + (np.logaddexp(0.0, v) if self.low > 0 else v)
        result: Complex = np.asarray(log_w + (0j if self.low > 0 else -1j * math.pi), complex)
        return result


def _discrete(values: list[float], masses: list[float]) -> SlopeLaw:
    pairs = [(v, m) for v, m in zip(values, masses, strict=True) if m > 0]
    v, m = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    return SlopeLaw(
        v.astype(complex),
        m.astype(complex),
        True,
        float(v.max()),
        float(v.min()),
        float(m[v == v.max()].sum()),
        float(m[v == 0].sum()),
        tuple(float(m @ v**k) for k in range(1, MOMENTS + 1)),
    )


def bernoulli_law(active: float) -> SlopeLaw:
    """φ'² of 1 with probability `active`, else 0."""
    return _discrete([0.0, 1.0], [1 - active, active])


def _piecewise_linear(activation: Activation, q: float) -> SlopeLaw:
    """One atom for each linear piece, with the Gaussian mass of the piece."""
    scaled = [k / math.sqrt(q) for k in activation.kinks]
    ends = [-math.inf, *scaled, math.inf]
    inner = [-1.0, 1.0] if not scaled else [scaled[0] - 1, *scaled, scaled[-1] + 1]
    centres = math.sqrt(q) * (np.array(inner[:-1]) + np.array(inner[1:])) / 2
    slopes = activation.phi_prime(centres) ** 2

    def mass(a: float, b: float) -> float:
        if a > 0:
            a, b = -b, -a
        return (math.erfc(-b / math.sqrt(2)) - math.erfc(-a / math.sqrt(2))) / 2

    masses: dict[float, float] = {}
    for a, b, slope in zip(ends[:-1], ends[1:], slopes.tolist(), strict=True):
        masses[slope] = masses.get(slope, 0.0) + mass(a, b)
    return _discrete(list(masses), list(masses.values()))


@lru_cache(maxsize=1024)
def slope_law(activation: Activation, q: float) -> SlopeLaw:
    """The law of φ'(√q z)².

    Raises:
        ValueError: q is not above 0 and finite; the activation is discontinuous; or it is a user's whose φ' does not
            take complex arguments (`analytic=True`), without which densities cannot be continued to the real axis.
    """
    if not (math.isfinite(q) and q > 0):
        raise ValueError(f"the law of φ'² needs a variance above 0 and finite, not q = {q!r}")
    if activation.discontinuous:
        raise ValueError(f"{activation.label} is discontinuous: φ'² has no law with finite mean")
    if activation.piecewise_linear:
        return _piecewise_linear(activation, q)
    if not activation.analytic:
        raise ValueError(
            f"{activation.label} was not declared analytic: its spectral density needs φ' and φ'' for complex arguments"
        )
    at = slope_path(activation, q)
    nodes, weights, axis, masses = at.path_square, at.weights, at.square, at.mass
    real = np.concatenate([at.turns, activation.phi_prime(np.array([-60.0, 60.0])) ** 2, axis])
    sup, inf = float(real.max()), float(real.min())
    flat = at.flat
    top = nodes[flat].real
    sup_mass = 0.0
    if flat.any() and np.all(top == sup):  # a straight piece (elu above 0): one atom
        sup_mass = float(weights[flat].real.sum())
        nodes = np.append(nodes[~flat], sup)
        weights = np.append(weights[~flat], sup_mass)
        axis, masses = np.append(axis[~flat], sup), np.append(masses[~flat], sup_mass)
    nodes = np.append(nodes, [y for y, _ in at.tails])
    weights = np.append(weights, [mass for _, mass in at.tails])
    axis, masses = np.append(axis, [y for y, _ in at.tails]), np.append(masses, [mass for _, mass in at.tails])
    keep, felt = np.abs(weights) > 1e-18, masses > 1e-18
    return SlopeLaw(
        nodes[keep],
        weights[keep].astype(complex),
        False,
        sup,
        0.0 if inf < 1e-9 * sup else inf,
        sup_mass,
        at.dead if at.dead > 1e-9 else 0.0,
        slope_moments(activation, q, MOMENTS),
        tuple(sorted({float(y) for y in at.turns if y > 1e-9 * sup})),
        axis[felt],
        masses[felt],
    )


def samples_of_square_slope(activation: Activation, q: float) -> tuple[Array, Array]:
    """φ'² at Gauss nodes between its turning points, with their masses, in increasing order: a one-layer orthogonal
    network's whole spectrum, down to the floor below which `slope_law` counts zeros.
    """
    at = slope_path(activation, q)
    y = np.append(at.square, [value for value, _ in at.tails])
    w = np.append(at.mass, [mass for _, mass in at.tails])
    order = np.argsort(y, kind="stable")
    return y[order], w[order]
