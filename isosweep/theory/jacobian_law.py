"""The spectrum of the input-output Jacobian ∂x^L/∂x^0 of a wide network (Pennington, Schoenholz & Ganguli 2017, 2018).

JJᵀ is a free product of L factors WWᵀ and L factors D² = diag φ'(h)². With z(w) = E[φ'²/(w − φ'²)] its eigenvalues are
λ(w) = ((1+z)/z)·Π 1/S, where 1/S is z w/(1+z) for each D², σ_w² for an orthogonal W and σ_w²(1+z) for a Gaussian one, and z is also
M(λ) = E[λ'/(λ − λ')]. The upper edge is the minimum of λ over w above the support of φ'²; the density follows on the curve of real λ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.free_moments import inverse_s_series, linear_factor, product_moments, series_product
from isosweep.theory.real_curve import Curve, trace
from isosweep.theory.roots import bracketed_root
from isosweep.theory.slope_law import MOMENTS, SlopeLaw, samples_of_square_slope, slope_law

__all__ = ["Init", "JacobianLaw", "jacobian_edge", "jacobian_law", "jacobian_variance"]

Init = Literal["orthogonal", "gaussian"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Relation:
    """ln λ(w), with everything that the factors contribute."""

    law: SlopeLaw
    depth: int
    sigma_w: float
    gaussian: int  # factors 1 + z
    marchenko: float | None  # c = N_1/N_0 of a rectangular Gaussian first layer: a factor 1 + cz
    projection: float | None  # r = N_0/N_1 < 1 of an orthogonal one: a factor (z + r)/(r(1 + z))

    def __call__(self, w: Any) -> tuple[Any, Any, Any, Any]:
        z, dz = self.law.transform(w)
        depth = self.depth
        ones = 1 - depth + self.gaussian
        log = (depth - 1) * np.log(z) + ones * np.log(1 + z) + depth * np.log(w) + 2 * depth * math.log(self.sigma_w)
        slope = ((depth - 1) / z + ones / (1 + z)) * dz + depth / w
        if self.marchenko is not None:
            c = self.marchenko
            log = log + np.log(1 + c * z)
            slope = slope + c * dz / (1 + c * z)
        if self.projection is not None:
            r = self.projection
            log = log + np.log((z + r) / (r * (1 + z)))
            slope = slope + dz * (1 / (z + r) - 1 / (1 + z))
        return log, slope, z, dz

    def real(self, w: float) -> tuple[float, float]:
        """ln λ and its derivative at a real w off the support, where λ is real and positive."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log, slope, _, _ = self(complex(w))
        return float(np.real(log)), float(np.real(slope))

    def series(self, order: int) -> Array:
        """1/S of the whole product as a power series in z."""
        one = linear_factor(1.0, 1.0, order)
        factors = [
            (inverse_s_series(self.law.moments, order) * self.sigma_w**2, self.depth),
            (one, self.gaussian),
        ]
        if self.marchenko is not None:
            factors.append((linear_factor(1.0, self.marchenko, order), 1))
        if self.projection is not None:
            factors += [(linear_factor(1.0, 1 / self.projection, order), 1), (one, -1)]
        return series_product(factors)


@dataclass(frozen=True)
class JacobianLaw:
    """The law of λ = s², s the singular values of ∂x^L/∂x^0, over the min(N_L, N_0) that are counted.

    Attributes:
        depth: L.
        zero_mass: the share of exact zeros in the wide limit (`finite_width.zero_mass` has the finite-width one).
        atoms: further (λ, share), values that a whole share of the spectrum takes.
        curve: the continuous part in x = ln λ; None if there is none.
        lambda_max: the upper end of the support.
        moments: E λ, E λ², …, from series, not from the density.
    """

    depth: int
    zero_mass: float
    atoms: tuple[tuple[float, float], ...]
    curve: Curve | None
    lambda_max: float
    moments: tuple[float, ...]

    @property
    def s_max(self) -> float:
        return math.sqrt(self.lambda_max)

    @property
    def lambda_min(self) -> float:
        """The lower end of the continuous part; 0 where it has none above 0."""
        if self.curve is None:
            return min((v for v, _ in self.atoms), default=0.0)
        return math.exp(self.curve.lower)

    @property
    def mean(self) -> float:
        return self.moments[0]

    @property
    def variance(self) -> float:
        """Of λ."""
        return self.moments[1] - self.moments[0] ** 2

    def integral(self, power: int) -> float:
        """∫ λ^power over atoms and density: 1 for power 0, the moments else. What the tests hold against `moments`."""
        total = sum(m * v**power for v, m in self.atoms) + (self.zero_mass if power == 0 else 0.0)
        if self.curve is not None:
            total += float(self.curve.weights @ np.exp(power * self.curve.x))
        return total

    def density_log(self, x: ArrayLike) -> Array:
        """Density of x = ln λ of the continuous part, per unit of x; 0 outside its support."""
        at = np.asarray(x, float)
        if self.curve is None:
            return np.zeros_like(at)
        nodes, values = self.curve.x, self.curve.density
        if math.isfinite(self.curve.lower):
            nodes, values = np.append(self.curve.lower, nodes), np.append(0.0, values)
        nodes, values = np.append(nodes, self.curve.upper), np.append(values, 0.0)
        result: Array = np.interp(at, nodes, values, left=0.0, right=0.0)
        return result

    def density(self, eigenvalue: ArrayLike) -> Array:
        """Density of λ of the continuous part."""
        at = np.asarray(eigenvalue, float)
        with np.errstate(divide="ignore"):
            result: Array = np.where(at > 0, self.density_log(np.log(at)) / np.where(at > 0, at, 1), 0.0)
        return result

    def cdf(self, eigenvalue: ArrayLike) -> Array:
        """The share of eigenvalues at or below each value, atoms included."""
        at = np.asarray(eigenvalue, float)
        total = np.where(at >= 0, self.zero_mass, 0.0)
        for value, share in self.atoms:
            total = total + np.where(at >= value, share, 0.0)
        if self.curve is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                x = np.log(at)
            x = np.where(np.isnan(x), -np.inf, x)
            total = total + np.interp(x, *self._table(), left=0.0, right=self.curve.mass)
        result: Array = total
        return result

    def quantile(self, share: ArrayLike) -> Array:
        """The λ below which a share of the spectrum lies; 0 within the zero atom, an atom's value within it.

        Raises:
            ValueError: a share outside [0, 1].
        """
        p = np.asarray(share, float)
        if np.any((p < 0) | (p > 1)):
            raise ValueError("a share of the spectrum is between 0 and 1")
        # Pieces in increasing λ: zero, then atoms and the continuous part; an atom here lies above or below all of it.
        result = np.zeros_like(p)
        start = self.zero_mass
        low_end = self.lambda_min
        pieces: list[tuple[float, float, float | None]] = [(v, m, v) for v, m in self.atoms]
        if self.curve is not None:
            pieces.append((low_end, self.curve.mass, None))
        for _, mass, value in sorted(pieces, key=lambda piece: piece[0]):
            inside = p > start
            if value is None:
                x, cumulative = self._table()
                found = np.exp(np.interp(p - start, cumulative, x))
            else:
                found = np.full_like(p, value)
            result = np.where(inside, found, result)
            start += mass
        return result

    def _table(self) -> tuple[Array, Array]:
        """(x, mass below) with the ends."""
        assert self.curve is not None
        x, cumulative = self.curve.x, self.curve.cumulative
        if math.isfinite(self.curve.lower):
            x, cumulative = np.append(self.curve.lower, x), np.append(0.0, cumulative)
        return np.append(x, self.curve.upper), np.append(cumulative, self.curve.mass)


def jacobian_variance(law: SlopeLaw, sigma_w: float, depth: int, init: Init) -> float:
    """σ² of JJᵀ for square layers: χ^{2L} L (μ_2/μ_1² − 1 − s_1), s_1 = 0 for orthogonal weights and −1 for Gaussian ones."""
    chi = sigma_w**2 * law.moments[0]
    excess = law.moments[1] / law.moments[0] ** 2 - 1 + (1 if init == "gaussian" else 0)
    return float(chi ** (2 * depth) * depth * excess)


def _check(depth: int, sigma_w: float, init: str) -> None:
    if depth < 1:
        raise ValueError(f"depth counts hidden layers and is 1 or more, not {depth}")
    if not (math.isfinite(sigma_w) and sigma_w > 0):
        raise ValueError(f"σ_w must be above 0 and finite, not {sigma_w!r}")
    if init not in ("orthogonal", "gaussian"):
        raise ValueError(f"init is orthogonal or gaussian, not {init!r}")


def _relation(law: SlopeLaw, sigma_w: float, depth: int, init: Init, ratio: float) -> _Relation:
    if init == "gaussian":
        square = ratio == 1
        return _Relation(law, depth, sigma_w, depth if square else depth - 1, None if square else 1 / ratio, None)
    return _Relation(law, depth, sigma_w, 0, None, ratio if ratio < 1 else None)


@dataclass(frozen=True)
class _Edge:
    """The upper edge: of the continuous part at (w, ln λ), and an atom above it where there is one."""

    w: float
    x: float
    curvature: float
    atom: tuple[float, float] | None


def _curvature(relation: _Relation, w: float, scale: float) -> float:
    h = 1e-4 * scale
    return (relation.real(w + h)[1] - relation.real(w - h)[1]) / (2 * h)


def _upper_edge(relation: _Relation) -> _Edge | None:
    """None where there is no continuous part (a product of projections that do not meet, or of multiples of the identity)."""
    law, depth = relation.law, relation.depth
    orthogonal = relation.gaussian == 0 and relation.marchenko is None
    r = relation.projection or 1.0
    top_share = depth * law.sup_mass + r - depth if orthogonal else 0.0
    atom: tuple[float, float] | None = None
    if top_share > 1e-14:
        atom = ((relation.sigma_w**2 * law.sup) ** depth / r, top_share)
        rest = law.nodes[law.nodes.real < law.sup].real
        if law.discrete and len(rest) == 0 and relation.projection is None:
            return _Edge(law.sup, math.log(atom[0]), 0.0, atom)
        below = float(rest.max()) if len(rest) else 0.0

        def place(v: float) -> float:
            return below + (law.sup - below) / (1 + math.exp(-v))
    else:

        def place(v: float) -> float:
            return law.sup * (1 + math.exp(v))

    grid = np.linspace(-34, 34, 69)
    slopes = [relation.real(place(float(v)))[1] for v in grid]
    for i in range(len(grid) - 1):
        if slopes[i] < 0 <= slopes[i + 1]:
            v = bracketed_root(lambda t: relation.real(place(t))[1], float(grid[i]), float(grid[i + 1]))
            w = place(v)
            return _Edge(w, relation.real(w)[0], _curvature(relation, w, abs(w - law.sup)), atom)
    if atom is not None:
        return _Edge(law.sup, math.log(atom[0]), 0.0, atom)
    # ln λ rises from the very end of φ'²'s support: either the density starts there, vanishing, or (marginal atoms) it is the limit itself.
    w = law.sup * (1 + 1e-13)
    if law.discrete:
        step = 1e-3 * law.sup
        return _Edge(law.sup, _limit_at_sup(relation), max(_curvature(relation, law.sup + step, step), 1e-12), None)
    return _Edge(w, relation.real(w)[0], 0.0, None)


def _limit_at_sup(relation: _Relation) -> float:
    """ln λ as z → ∞ at the top atom of φ'²; finite for orthogonal weights only."""
    return relation.depth * math.log(relation.sigma_w**2 * relation.law.sup) - math.log(relation.projection or 1.0)


def _lower_edge(relation: _Relation) -> tuple[float, float, float] | None:
    """Where the law stops above 0: φ' bounded away from 0 and square orthogonal layers."""
    law = relation.law
    if law.inf <= 0 or relation.gaussian or relation.marchenko is not None or relation.projection is not None:
        return None

    def place(v: float) -> float:
        return law.inf / (1 + math.exp(-v))

    grid = np.linspace(-30, 30, 61)
    slopes = [relation.real(place(float(v)))[1] for v in grid]
    for i in range(len(grid) - 1):
        if slopes[i] > 0 >= slopes[i + 1]:
            w = place(bracketed_root(lambda t: relation.real(place(t))[1], float(grid[i]), float(grid[i + 1])))
            return w, relation.real(w)[0], _curvature(relation, w, min(w, law.inf - w))
    return None


@lru_cache(maxsize=4096)
def jacobian_edge(
    activation: Activation, q: float, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0
) -> float:
    """λ_max, the upper end of the support, without the density: what a table of many runs needs."""
    _check(depth, sigma_w, init)
    law = slope_law(activation, q)
    relation = _relation(law, sigma_w, depth, init, input_ratio)
    if depth == 1 and init == "orthogonal" and input_ratio >= 1:
        return sigma_w**2 * law.sup
    edge = _upper_edge(relation)
    assert edge is not None
    return edge.atom[0] if edge.atom is not None else math.exp(edge.x)


@lru_cache(maxsize=512)
def jacobian_law(
    activation: Activation, q: float, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0
) -> JacobianLaw:
    """The spectrum at pre-activation variance `q` in every layer.

    Args:
        q: the fixed point's variance (any, for a homogeneous activation).
        depth: L, hidden layers; L factors W and L factors D.
        init: "orthogonal" (σ_w √max(1, N_l/N_{l−1}) times a Haar matrix) or "gaussian" (variance σ_w²/N_{l−1}).
        input_ratio: N_0 over the width. Above 1 an orthogonal first layer is as a square one; a Gaussian one is Marchenko-Pastur.

    Raises:
        ValueError: depth below 1, σ_w or the ratio not above 0, or what `slope_law` refuses.
        RuntimeError: the density could not be followed to its end.
    """
    _check(depth, sigma_w, init)
    if not (math.isfinite(input_ratio) and input_ratio > 0):
        raise ValueError(f"the input dimension over the width must be above 0, not {input_ratio!r}")
    law = slope_law(activation, q)
    relation = _relation(law, sigma_w, depth, init, input_ratio)
    counted = min(1.0, input_ratio)  # min(N_L, N_0)/N_L
    moments = tuple(m / counted for m in product_moments(relation.series(MOMENTS), MOMENTS))
    rank = min(1 - law.zero_mass, counted)
    zero = max(0.0, 1 - rank / counted)

    if depth == 1 and init == "orthogonal" and relation.projection is None:
        return _single_layer(activation, law, q, sigma_w, zero, moments)
    edge = _upper_edge(relation)
    assert edge is not None
    atoms = () if edge.atom is None else ((edge.atom[0], edge.atom[1] / counted),)
    expected = (rank - (edge.atom[1] if edge.atom else 0.0)) / counted
    if expected < 1e-12:
        top = edge.atom[0] if edge.atom is not None else math.exp(edge.x)
        return JacobianLaw(depth, zero, atoms, None, top, moments)
    special = sorted({0.0, law.sup, *(law.nodes.real.tolist() if law.discrete else [])})
    curve = trace(relation, edge.w, edge.x, edge.curvature, special, -rank, _lower_edge(relation))
    if counted < 1:
        curve = Curve(
            curve.x,
            curve.weights / counted,
            curve.density / counted,
            curve.cumulative / counted,
            curve.lower,
            curve.upper,
            curve.mass / counted,
        )
    if not abs(curve.mass - expected) < 1e-5:
        raise RuntimeError(
            f"the density of {activation.label}, {init}, depth {depth}, q = {q:g} integrates to {curve.mass:.8f} "
            f"and not to {expected:.8f}: its support may have gaps"
        )
    return JacobianLaw(depth, zero, atoms, curve, atoms[0][0] if atoms else math.exp(edge.x), moments)


def _single_layer(
    activation: Activation, law: SlopeLaw, q: float, sigma_w: float, zero: float, moments: tuple[float, ...]
) -> JacobianLaw:
    """One orthogonal layer: JJᵀ is σ_w² D² itself."""
    scale = sigma_w**2
    if law.discrete:
        atoms = tuple(
            (scale * float(v.real), float(m.real)) for v, m in zip(law.nodes, law.weights, strict=True) if v.real > 0
        )
        return JacobianLaw(1, zero, atoms, None, scale * law.sup, moments)
    y, mass = samples_of_square_slope(activation, q)
    live = (y > 1e-280) & (y < law.sup * (1 - 1e-14))
    top = 1.0 - float(mass[live].sum()) if law.sup_mass > 0 else 0.0
    atoms = ((scale * law.sup, top),) if top > 1e-6 else ()
    y, mass = y[live], mass[live]
    x = np.log(scale * y)
    below = np.cumsum(mass) - mass / 2
    widths = np.gradient(x)
    curve = Curve(x, mass, mass / np.maximum(widths, 1e-300), below, -math.inf, math.log(scale * law.sup), float(mass.sum()))
    return JacobianLaw(1, zero, atoms, curve, scale * law.sup, moments)
