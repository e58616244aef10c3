"""The law of φ'(h)² for a Gaussian pre-activation h: the D² of the Jacobian's factors, with its Cauchy-like transform
off and on the cut.

z(w) = E[φ'²/(w − φ'²)] is needed for complex w arbitrarily close to the interval that φ'² covers. There a quadrature
over real h meets a pole beside its path. The path is therefore moved into the complex plane, h → h + iκ(h) with κ of
the sign of dφ'²/dh: every φ'² on it then lies in the upper half-plane, and one fixed set of complex nodes serves all w
in the closed lower one to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.averages import slope_moments
from isosweep.theory.quadrature import gaussian_grid

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
        sup_mass, zero_mass: the atoms at `sup` and at 0.
        moments: E φ'^{2k} for k = 1 … 12.
    """

    nodes: Complex
    weights: Complex
    discrete: bool
    sup: float
    inf: float
    sup_mass: float
    zero_mass: float
    moments: tuple[float, ...]

    def transform(self, log_w: Any) -> tuple[Any, Any]:
        """z(w) = E[φ'²/(w − φ'²)] and dz/d ln w, for w in the lower half-plane or real and off the support.

        ln w is the argument, because the interesting w reach down to where w² underflows.
        """
        w = np.exp(np.asarray(log_w, complex))
        flat = w.reshape(-1, 1)
        z, slope = np.empty(len(flat), complex), np.empty(len(flat), complex)
        weighted = self._weighted
        rows = max(1, _BATCH // max(1, len(self.nodes)))
        for i in range(0, len(flat), rows):
            at = flat[i : i + rows]
            inverse = at - self.nodes
            np.reciprocal(inverse, out=inverse)
            z[i : i + rows] = inverse @ weighted
            # w y/(w − y)², the first product of order 1 also where w² would underflow
            inverse *= inverse * at
            slope[i : i + rows] = inverse @ weighted
        return z.reshape(w.shape)[()], -slope.reshape(w.shape)[()]

    @cached_property
    def _weighted(self) -> Complex:
        return self.nodes * self.weights

    @cached_property
    def above(self) -> Branch:
        """z > 0: w = sup·(1 + e^v)."""
        return Branch(self, self.sup, math.inf)

    @cached_property
    def negative(self) -> Branch:
        """−1 < z < 0: w = −sup·e^v."""
        return Branch(self, -math.inf, 0.0)


_BATCH = 4000
"""Elements of a matrix times a vector at a time: in cache, and below the size from which OpenBLAS uses threads, on
which the order of its additions, and so the last bits, would depend.
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


_TILT = 0.8
_PANEL_NODES, _GRADED_NODES = 12, 9
_UNIFORM = 20.0  # beyond, cos²h of a Gaussian h has the law of a uniform one to e^{−2q}
_H_PANEL, _H_REACH, _Z_PANEL, _Z_REACH = 0.4, 32.0, 0.5, 8.5


def _edges(activation: Activation, q: float, turning: list[float]) -> Array:
    """Panel boundaries in z: narrow in h where φ' varies, narrower still towards the turning points of φ'²."""
    root = math.sqrt(q)
    reach = min(_H_REACH / root, _Z_REACH)
    inner = np.linspace(-reach, reach, 2 * max(1, math.ceil(reach / min(_Z_PANEL, _H_PANEL / root))) + 1)
    outer = np.arange(reach, _Z_REACH + _Z_PANEL, _Z_PANEL) if reach < _Z_REACH else np.empty(0)
    special = [p / root for p in (*turning, *activation.kinks)]
    unit = min(1.0, 1 / root)
    near = [p + s * 2.0**-k * unit for p in special for k in range(2, 9) for s in (-1, 1)]
    # A zero of φ' puts eigenvalues at 0 with a density like λ^{−1/2}: the mass below w is felt down to w = 1e-14.
    zeros = [
        p for p, turn in zip(special, turning, strict=False) if abs(activation.phi_prime(np.array([turn]))[0]) < 1e-6
    ]
    near += [p + s * 3.0**-k * unit for p in zeros for k in range(5, 17) for s in (-1, 1)]
    edges = np.unique(np.concatenate([inner, outer, -outer, special, near]))
    edges = edges[np.abs(edges) <= _Z_REACH]
    kept: Array = edges[np.append(True, np.diff(edges) > 1e-11)]
    return kept


def _panels(edges: Array, special: Array) -> tuple[Array, Array]:
    """Gauss nodes and weights in every panel, fewer where its neighbours narrow towards a special point outside it."""
    a, b = edges[:-1], edges[1:]
    outside = np.full(len(a), math.inf)
    for p in special:
        outside = np.minimum(outside, np.maximum(np.maximum(a - p, p - b), 0.0))
    width = b - a
    graded = np.minimum(a[1:] - a[:-1], b[1:] - b[:-1])  # narrow beside one of the neighbours
    graded = np.minimum(np.append(graded, math.inf), np.append(math.inf, graded))
    count = np.where((outside > 0.45 * width) & (graded < 0.8 * width), _GRADED_NODES, _PANEL_NODES)
    nodes, weights = [], []
    for n in (_GRADED_NODES, _PANEL_NODES):
        t, v = np.polynomial.legendre.leggauss(n)
        middle, radius = (b + a)[count == n] / 2, width[count == n] / 2
        nodes.append((middle[:, None] + radius[:, None] * t).ravel())
        weights.append((radius[:, None] * v).ravel())
    return np.concatenate(nodes), np.concatenate(weights)


def _turning_points(activation: Activation, q: float) -> list[float]:
    """Where φ'² is stationary: the zeros of φ' and of φ'' within reach, by bisection from a fine grid."""
    if activation.name == "sin":
        count = int(min(_Z_REACH * math.sqrt(q), _H_REACH) / (math.pi / 2))
        return [k * math.pi / 2 for k in range(-count, count + 1)]
    reach = min(_Z_REACH * math.sqrt(q), _H_REACH)
    h = np.linspace(-reach, reach, 4001) + reach * 1.3e-5
    found: list[float] = [0.0] if activation.odd else []
    for f in (activation.phi_prime, activation.phi_second):
        values = f(h)
        for i in np.flatnonzero(values[1:] * values[:-1] < 0):
            a, b = h[i], h[i + 1]
            for _ in range(50):
                middle = (a + b) / 2
                if (f(np.array([middle]))[0] < 0) == (values[i] < 0):
                    a = middle
                else:
                    b = middle
            if not any(abs(a - k) < 1e-3 * math.sqrt(q) for k in (*activation.kinks, *found)):
                found.append(float(a))
    return found


def _shift(activation: Activation, h: NDArray[Any], q: float) -> NDArray[Any]:
    """κ(h): along the gradient of φ'², at most 0.2 or a third of a standard deviation, and 0 at kinks, where the pieces
    of the path meet.
    """
    first, second = activation.phi_prime(h), activation.phi_second(h)
    larger = np.maximum(np.abs(first), np.abs(second))  # only the ratio matters; their squares would underflow
    larger = np.where(larger > 0, larger, 1.0)
    first, second = first / larger, second / larger
    scale = 4 * first**2 + second**2
    kappa = _TILT * first * second / np.where(scale == 0, 1.0, scale)
    kappa = kappa / np.sqrt(1 + (kappa / (0.35 * math.sqrt(q))) ** 2)
    for kink in activation.kinks:
        gap = (h - kink) ** 2
        kappa = kappa * gap / (gap + min(0.25, q / 4))
    return kappa


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
    if activation.name == "sin":
        q = min(q, _UNIFORM)
    turning = _turning_points(activation, q)
    edges = _edges(activation, q, turning)
    root = math.sqrt(q)
    special = np.array([p / root for p in (*turning, *activation.kinks)])
    z, step = _panels(edges, special)
    h = root * z
    if activation.odd:  # φ'² is even: half the path, twice the weight
        keep = z > 0
        z, step, h = z[keep], 2 * step[keep], h[keep]
    tiny = 1e-30
    kappa = _shift(activation, h, q)
    kappa_prime = _shift(activation, h + 1j * tiny, q).imag / tiny
    path = h + 1j * kappa
    weights = step * np.exp(-(path**2) / (2 * q)) / math.sqrt(2 * math.pi) * (1 + 1j * kappa_prime)
    nodes = activation.phi_prime(path) ** 2
    flat = activation.phi_second(h) == 0
    top = nodes[flat].real
    sup_mass = 0.0
    if flat.any() and np.ptp(top) == 0:  # a straight piece (elu above 0): one atom
        sup_mass = float(weights[flat].real.sum())
        nodes = np.append(nodes[~flat], top[0])
        weights = np.append(weights[~flat], sup_mass)
    keep = np.abs(weights) > 1e-18
    real = np.concatenate([activation.phi_prime(np.array([*turning, -60.0, 60.0])) ** 2, activation.phi_prime(h) ** 2])
    sup, inf = float(real.max()), float(real.min())
    return SlopeLaw(
        nodes[keep],
        weights[keep].astype(complex),
        False,
        sup,
        0.0 if inf < 1e-9 * sup else inf,
        sup_mass,
        0.0,
        slope_moments(activation, q, MOMENTS),
    )


def samples_of_square_slope(activation: Activation, q: float) -> tuple[Array, Array]:
    """φ'² at the nodes of the Gaussian grid, with their masses, in increasing order: a one-layer orthogonal network's
    whole spectrum.
    """
    z, w = gaussian_grid(tuple(k / math.sqrt(q) for k in activation.kinks if k != 0), q > 1e8)
    y = activation.phi_prime(math.sqrt(q) * z) ** 2
    order = np.argsort(y, kind="stable")
    return y[order], w[order]
