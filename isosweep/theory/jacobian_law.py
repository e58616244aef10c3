"""The spectrum of the input-output Jacobian ∂x^L/∂x^0 of a wide network (Pennington, Schoenholz & Ganguli 2017, 2018).

JJᵀ is a free product of L factors WWᵀ and L factors D² = diag φ'(h)². With z(w) = E[φ'²/(w − φ'²)] its eigenvalues are
λ(w) = ((1+z)/z)·Π 1/S, where 1/S is z w/(1+z) for each D², σ_w² for an orthogonal W and σ_w²(1+z) for a Gaussian one,
and z is also M(λ) = E[λ'/(λ − λ')]. The upper edge is the minimum of λ over w above the support of φ'²; the density
follows on the curve of real λ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.finite_width import active_shares
from isosweep.theory.free_moments import inverse_s_series, linear_factor, product_moments, series_product
from isosweep.theory.real_curve import Curve, HardEdge, trace
from isosweep.theory.roots import bracketed_root
from isosweep.theory.slope_law import MOMENTS, SlopeLaw, bernoulli_law, samples_of_square_slope, slope_law

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
    shares: tuple[
        float, ...
    ] = ()  # of active units, layer by layer, for φ' of 0 or 1: factors (z + p_l) for the (z + p) of each

    def __call__(self, log_w: Any) -> tuple[Any, Any, Any, Any]:
        """ln λ, d ln λ/d ln w, M and dM/d ln w at w = e^{log_w}."""
        z, dz = self.law.transform(log_w)
        depth = self.depth
        ones = 1 - depth + self.gaussian
        log = (depth - 1) * np.log(z) + ones * np.log(1 + z) + depth * (log_w + 2 * math.log(self.sigma_w))
        slope = ((depth - 1) / z + ones / (1 + z)) * dz + depth
        if self.marchenko is not None:
            c = self.marchenko
            log = log + np.log(1 + c * z)
            slope = slope + c * dz / (1 + c * z)
        if self.projection is not None:
            r = self.projection
            log = log + np.log((z + r) / (r * (1 + z)))
            slope = slope + dz * (1 / (z + r) - 1 / (1 + z))
        if self.shares:
            each = np.asarray(z)[..., None] + np.array(self.shares)
            common = z + self.law.sup_mass
            log = log + np.log(each).sum(-1) - depth * np.log(common)
            slope = slope + dz * ((1 / each).sum(-1) - depth / common)
        return log, slope, z, dz

    def real(self, w: float) -> tuple[float, float]:
        """ln λ and its derivative in w at a real w off the support, where λ is real and positive."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log, slope, _, _ = self(np.log(np.asarray(w, complex)))
        return float(np.real(log)), float(np.real(slope)) / w

    def slopes(self, w: Array) -> list[float]:
        """d ln λ/dw at many real w at once, for bracketing."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            _, slope, _, _ = self(np.log(w.astype(complex)))
        result: list[float] = (np.real(slope) / w).tolist()
        return result

    def room(self, log_w: complex) -> float:
        """How far ln w may move before w meets an end of φ'²'s law; at most 3."""
        w = np.exp(log_w)
        ends = self.law.nodes.real if self.law.discrete else np.array([self.law.sup])
        if self.shares:  # and where M is minus a layer's share
            ends = np.append(ends, 1 - self.law.sup_mass / np.array(self.shares[1:]))
        gaps = np.abs(1 - ends / w)
        gaps = gaps[gaps > 0]
        return min(3.0, float(gaps.min())) if len(gaps) else 3.0

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
        mean = self.law.sup_mass
        for share in self.shares:
            factors += [(linear_factor(share, 1.0, order), 1), (linear_factor(mean, 1.0, order), -1)]
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


def jacobian_variance(law: SlopeLaw, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0) -> float:
    """σ² of the squared singular values.

    For square layers χ^{2L} L (μ_2/μ_1² − 1 − s_1), s_1 = 0 for orthogonal weights and −1 for Gaussian ones; for an
    input of another dimension from the series of the product, over the min(N_L, N_0) singular values.
    """
    if input_ratio == 1 or (init == "orthogonal" and input_ratio > 1):
        chi = sigma_w**2 * law.moments[0]
        excess = law.moments[1] / law.moments[0] ** 2 - 1 + (1 if init == "gaussian" else 0)
        return float(chi ** (2 * depth) * depth * excess)
    one, two = product_moments(_relation(law, sigma_w, depth, init, input_ratio).series(2), 2)
    counted = min(1.0, input_ratio)
    return two / counted - (one / counted) ** 2


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
class _Top:
    """The upper end: a hard edge of the continuous part, or None where it fades out; ln λ_max of it; and an atom above
    it, if any.
    """

    edge: HardEdge | None
    x: float
    atom: tuple[float, float] | None


def _hard_edge(relation: _Relation, w: float, scale: float) -> HardEdge:
    h = 1e-4 * scale
    curvature = (relation.real(w + h)[1] - relation.real(w - h)[1]) / (2 * h) * w * w
    u = complex(math.log(abs(w)), -math.pi if w < 0 else 0.0)
    return HardEdge(u, relation.real(w)[0], curvature)


def _stationary(relation: _Relation, place: Callable[[float], float], a: float, b: float) -> float | None:
    """Where dλ/dw = 0 between two places, or None if the change of sign seen there was rounding."""

    def slope(v: float) -> float:
        return relation.real(place(v))[1]

    low, high = slope(float(a)), slope(float(b))
    if not (math.isfinite(low) and math.isfinite(high)) or (low < 0) == (high < 0):
        return None
    return place(bracketed_root(slope, float(a), float(b), low, high))


def _upper_edge(relation: _Relation) -> _Top:
    law, depth = relation.law, relation.depth
    orthogonal = relation.gaussian == 0 and relation.marchenko is None
    r = relation.projection or 1.0
    total = sum(relation.shares) if relation.shares else depth * law.sup_mass
    top_share = total + r - depth if orthogonal else 0.0
    atom: tuple[float, float] | None = None
    if orthogonal and depth > 1 and law.sup_mass > 0 and abs(top_share) < 1e-9:
        return _marginal_edge(relation)
    if top_share > 0:
        atom = ((relation.sigma_w**2 * law.sup) ** depth / r, top_share)
        rest = law.nodes[law.nodes.real < law.sup].real
        if law.discrete and len(rest) == 0 and relation.projection is None:
            return _Top(None, math.log(atom[0]), atom)
        below = float(rest.max()) if len(rest) else 0.0

        def place(v: float) -> float:
            return below + (law.sup - below) / (1 + math.exp(-v))
    else:

        def place(v: float) -> float:
            return law.sup * (1 + math.exp(v))

    grid = np.linspace(-34, 34, 69)
    slopes = relation.slopes(np.array([place(float(v)) for v in grid]))
    for i in reversed(range(len(grid) - 1)):  # the outermost: with differing shares there are others further in
        if slopes[i] < 0 <= slopes[i + 1] and (w := _stationary(relation, place, grid[i], grid[i + 1])) is not None:
            edge = _hard_edge(relation, w, abs(w - law.sup))
            return _Top(edge, edge.x, atom)
    if atom is not None:
        return _Top(None, math.log(atom[0]), atom)
    # ln λ rises from the very end of φ'²'s support, which is deep in the Gaussian's tail: the density fades out towards
    # it.
    return _Top(None, relation.real(law.sup * (1 + 1e-13))[0], None)


def _marginal_edge(relation: _Relation) -> _Top:
    """The top atoms' masses leave exactly nothing to an atom of the product: the edge is at z = ∞, with a density like
    (λ_max − λ)^{−1/2}.
    """
    law, depth = relation.law, relation.depth
    x = depth * math.log(relation.sigma_w**2 * law.sup) - math.log(relation.projection or 1.0)
    step = 1e-3 * law.sup
    up, down = relation.real(law.sup + step)[0], relation.real(law.sup - step)[0]
    edge = HardEdge(complex(math.log(law.sup)), x, (up + down - 2 * x) / step**2 * law.sup**2)
    return _Top(edge, x, None)


def _lower_edge(relation: _Relation, rank: float) -> HardEdge | None:
    """Where the law stops above 0, or None where it reaches 0.

    Below the support λ falls to 0 as M tends to −rank. That branch is on the real axis only if λ vanishes to first
    order there: the input is narrower than every other rank; or one Gaussian layer of a {0, 1} slope law; or square
    orthogonal layers with φ' bounded away from 0.
    """
    law = relation.law
    smallest = float(law.nodes.real[law.nodes.real > 0].min()) if law.discrete else law.inf
    narrow = relation.projection or (1 / relation.marchenko if relation.marchenko is not None else 1.0)
    if len(relation.shares) > 1:  # λ is 0 again where M is minus the next share
        smallest = 1 - relation.shares[0] / relation.shares[1]
    square_gaussian = relation.gaussian > 0
    start = 0.0
    if narrow < 1 - law.zero_mass - 1e-12:

        def rank_gap(v: float) -> float:
            return float(np.real(law.transform(np.asarray(math.log(law.sup) + v + 1j * math.pi))[0])) + narrow

        start = -law.sup * math.exp(bracketed_root(rank_gap, -40.0, 40.0))
    elif law.zero_mass > 0:
        first_order = len(relation.shares) > 1 or (relation.depth == 1 and square_gaussian)
        if not (first_order and narrow >= 1):
            return None
    elif smallest <= 0 or square_gaussian or relation.marchenko is not None or relation.projection is not None:
        return None

    def place(v: float) -> float:
        return start + (smallest - start) / (1 + math.exp(-v))

    grid = np.linspace(-25, 25, 51)
    slopes = relation.slopes(np.array([place(float(v)) for v in grid]))
    for i in range(len(grid) - 1):
        if slopes[i] > 0 >= slopes[i + 1] and (w := _stationary(relation, place, grid[i], grid[i + 1])) is not None:
            return _hard_edge(relation, w, min(w - start, smallest - w))
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
    top = _upper_edge(relation)
    return top.atom[0] if top.atom is not None else math.exp(top.x)


@lru_cache(maxsize=512)
def jacobian_law(
    activation: Activation,
    q: float,
    sigma_w: float,
    depth: int,
    init: Init,
    input_ratio: float = 1.0,
    width: int | None = None,
) -> JacobianLaw:
    """The spectrum at pre-activation variance `q` in every layer.

    Args:
        q: the fixed point's variance (any, for a homogeneous activation).
        depth: L, hidden layers; L factors W and L factors D.
        init: "orthogonal" (σ_w √max(1, N_l/N_{l−1}) times a Haar matrix) or "gaussian" (variance σ_w²/N_{l−1}).
        width: if given, and φ' is 0 or 1 (relu, hard_tanh), the layers' shares of active units are the order statistics
            expected at this width in place of their common mean: the finite-width rank and its effect on the rest.
        input_ratio: N_0 over the width. Above 1 an orthogonal first layer is as a square one; a Gaussian one is
            Marchenko-Pastur.

    Raises:
        ValueError: depth below 1, σ_w or the ratio not above 0, or what `slope_law` refuses.
        RuntimeError: the density could not be followed to its end.
    """
    _check(depth, sigma_w, init)
    if not (math.isfinite(input_ratio) and input_ratio > 0):
        raise ValueError(f"the input dimension over the width must be above 0, not {input_ratio!r}")
    law = slope_law(activation, q)
    relation = _relation(law, sigma_w, depth, init, input_ratio)
    if width is not None and law.discrete and law.zero_mass > 0 and law.sup_mass > 0 and len(law.nodes) == 2:
        shares = active_shares(width, law.sup_mass, depth)
        law = bernoulli_law(shares[0])
        relation = replace(relation, law=law, shares=shares)
    counted = min(1.0, input_ratio)  # min(N_L, N_0)/N_L
    moments = tuple(m / counted for m in product_moments(relation.series(MOMENTS), MOMENTS))
    rank = min(1 - law.zero_mass, counted, *relation.shares, 1.0)
    zero = max(0.0, 1 - rank / counted)

    if depth == 1 and init == "orthogonal" and relation.projection is None:
        return _single_layer(activation, law, q, sigma_w, zero, moments)
    top = _upper_edge(relation)
    atoms = () if top.atom is None else ((top.atom[0], top.atom[1] / counted),)
    expected = (rank - (top.atom[1] if top.atom else 0.0)) / counted
    lambda_max = atoms[0][0] if atoms else math.exp(top.x)
    if expected < 1e-12:
        return JacobianLaw(depth, zero, atoms, None, lambda_max, moments)
    start: HardEdge | tuple[float, float, float]
    if top.edge is not None:
        start = top.edge
    else:
        above = 4 * law.sup
        spread = moments[1] / moments[0] ** 2
        start = math.log(above), relation.real(above)[0], math.log(moments[0]) - math.log(max(spread, 1.0)) / 2
    curve = trace(relation, relation.room, -rank, start, _lower_edge(relation, rank))
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
    return JacobianLaw(depth, zero, atoms, curve, lambda_max, moments)


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
    live = y > 1e-280
    if law.sup_mass > 0:
        live &= y < law.sup * (1 - 1e-14)
    top = 1.0 - float(mass[live].sum()) if law.sup_mass > 0 else 0.0
    atoms = ((scale * law.sup, top),) if top > 1e-6 else ()
    y, mass = y[live], mass[live]
    x = np.log(scale * y)
    below = np.cumsum(mass) - mass / 2
    widths = np.gradient(x)
    curve = Curve(
        x, mass, mass / np.maximum(widths, 1e-300), below, -math.inf, math.log(scale * law.sup), float(mass.sum())
    )
    return JacobianLaw(1, zero, atoms, curve, scale * law.sup, moments)
