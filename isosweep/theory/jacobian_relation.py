"""The relation between an eigenvalue of JJᵀ and auxiliary variables w_k, with everything that the factors contribute.

JJᵀ is a free product of L factors WWᵀ and L factors D² = diag φ'(h)². The layers' pre-activations have variances of
their own, and with them their own laws of φ'²; layers of one law count together. S-transforms multiply: with
z_k(w_k) = E[φ'²/(w_k − φ'²)] for the k-th law, all of them equal to one z, the eigenvalues are
λ = ((1+z)/z)·Π 1/S, where 1/S is z w_k/(1+z) for each D², σ_w² for an orthogonal W and σ_w²(1+z) for a Gaussian one;
z is also M(λ) = E[λ'/(λ − λ')] (Pennington, Schoenholz & Ganguli 2017, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.free_moments import inverse_s_series, linear_factor, series_product
from isosweep.theory.network import Init
from isosweep.theory.real_curve import wrapped
from isosweep.theory.slope_law import SlopeLaw
from isosweep.theory.slope_path import FLOOR

__all__ = ["Relation", "relation_of"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Relation:
    """ln λ of (w_1 … w_K), with everything that the factors contribute: a `real_curve.System`.

    Attributes:
        laws, counts: of φ'², and how many layers have each; on the real axis above its support the first law reaches
            the fewest z. Counts need not be whole.
        depth: L, the sum of the counts.
        sigma_w: the gain.
        gaussian: factors 1 + z.
        marchenko: c = N_1/N_0 of a rectangular Gaussian first layer: a factor 1 + cz.
        projection: r = N_0/N_1 < 1 of an orthogonal one: a factor (z + r)/(r(1 + z)).
        shares: of active units, layer by layer, for a single law of 0 or 1: factors (z + p_l) for the (z + p) of each.
    """

    laws: tuple[SlopeLaw, ...]
    counts: tuple[float, ...]
    depth: int
    sigma_w: float
    gaussian: int
    marchenko: float | None
    projection: float | None
    shares: tuple[float, ...] = ()
    _end: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_end", np.array([law.sup for law in self.laws]))

    @property
    def law(self) -> SlopeLaw:
        """The first law."""
        return self.laws[0]

    @property
    def floor(self) -> float:
        """ln w below which nothing of φ'² is left that its law told from 0."""
        return math.log(FLOOR) + 5 if not self.law.discrete and self.law.zero_mass > 0 else -math.inf

    def _zs(self, u: Complex) -> tuple[Complex, Complex]:
        """z_k and dz_k/du_k, both of u's shape."""
        if len(self.laws) == 1:
            z, slope = self.law.transform(u[..., 0])
            return np.asarray(z)[..., None], np.asarray(slope)[..., None]
        z, slope = np.empty(u.shape, complex), np.empty(u.shape, complex)
        for k, law in enumerate(self.laws):
            z[..., k], slope[..., k] = law.transform(u[..., k])
        return z, slope

    def _rest(self, z: Any) -> tuple[Any, Any]:
        """Of ln λ, what depends on z alone, and its derivative."""
        others = self.depth - 1
        # ln z − ln(1 + z) in one, which keeps its digits where z is large
        log = self.gaussian * np.log(1 + z) - others * np.log1p(1 / z) + 2 * self.depth * math.log(self.sigma_w)
        slope = others / z + (self.gaussian - others) / (1 + z)
        if self.marchenko is not None:
            c = self.marchenko
            log = log + np.log(1 + c * z)
            slope = slope + c / (1 + c * z)
        if self.projection is not None:
            r = self.projection
            log = log + np.log((z + r) / (r * (1 + z)))
            slope = slope + 1 / (z + r) - 1 / (1 + z)
        if self.shares:
            each = np.asarray(z)[..., None] + np.array(self.shares)
            common = z + self.law.sup_mass
            log = log + np.log(each).sum(-1) - self.depth * np.log(common)
            slope = slope + (1 / each).sum(-1) - self.depth / common
        return log, slope

    @property
    def _single(self) -> bool:
        """Whether `_at_one` has it: one law for all layers."""
        return len(self.laws) == 1 and not self.shares

    def _at_one(self, u: complex) -> tuple[Any, Any, Any, Any]:
        """ln λ and z with their derivatives in u, of one u: `at` without the arrays, which a walk's hundreds of single
        steps would mostly consist of. Numbers of numpy's, which become infinite or not a number rather than raise.
        """
        z, slope = self.law.transform(u)
        z, slope = np.complex128(z), np.complex128(slope)
        rest, rest_slope = self._rest(z)
        return self.depth * u + rest, self.depth + rest_slope * slope, z, slope

    def at(self, u: Complex) -> tuple[Any, Complex, Any, Any]:
        """ln λ, du/d ln λ (…, K), M and dM/d ln λ at u = ln w of shape (…, K)."""
        if self._single and u.ndim == 1:
            log, total, m, m_slope = self._at_one(complex(u[0]))
            return log, np.array([1 / total]), m, m_slope / total
        z, slope = self._zs(u)
        log, total, along, _ = self._joined(u, z, slope)
        rate: Complex = along / np.asarray(total)[..., None]
        return log, rate, z[..., 0], slope[..., 0] / total

    def newton(self, u: Complex, x: Any) -> Complex:
        """Every z_k towards the first, and ln λ towards x, by one linear step."""
        if self._single and u.ndim == 1:
            log, total, _, _ = self._at_one(complex(u[0]))
            step: Complex = u - wrapped(log - x) / total
            return step
        z, slope = self._zs(u)
        log, total, along, off = self._joined(u, z, slope)
        result: Complex = u + off - along * np.asarray(wrapped(log - x) / total)[..., None]
        return result

    def _joined(self, u: Complex, z: Complex, slope: Complex) -> tuple[Any, Any, Complex, Complex]:
        """ln λ at the first variable's z, its derivative along u_1, du_k/du_1, and how far each u_k is from that z."""
        rest, rest_slope = self._rest(z[..., 0])
        if len(self.laws) == 1:
            along, off = np.ones_like(z), np.zeros_like(z)
            log, total = self.depth * u[..., 0], self.depth
        else:
            first, counts = z[..., :1], np.array(self.counts)
            along = slope[..., :1] / slope
            # ln z − ln(1 + z) is nearly straight in u towards both ends
            off = wrapped(np.log(first * (1 + z) / (z * (1 + first)))) * z * (1 + z) / slope
            log, total = (u + off) @ counts, along @ counts
        return log + rest, total + rest_slope * slope[..., 0], along, off

    def place(self, log_w: Complex, rounds: int = 3) -> Complex:
        """All u, for the first one real and off the support: (…, K); NaN where another law does not reach that z."""
        if len(self.laws) == 1:
            return np.asarray(log_w, complex)[..., None]
        z = self.law.transform(log_w)[0].real
        u = np.empty((*np.shape(log_w), len(self.laws)), complex)
        u[..., 0] = log_w
        for k, law in enumerate(self.laws[1:], 1):
            above = law.above.solve(np.where(z > 0, z, math.nan), rounds) if np.any(z > 0) else math.nan
            below = law.negative.solve(np.where(z < 0, z, math.nan), rounds) if np.any(z < 0) else math.nan
            u[..., k] = np.where(z > 0, above, below)
        return u

    def on_axis(self, w: Any, rounds: int = 3) -> tuple[Any, Any, Complex, Complex]:
        """ln λ, d ln λ/d ln w, u and du/du_1 at real w off the support, where λ is real and positive."""
        with np.errstate(all="ignore"):
            at = np.asarray(w, float)
            u = self.place(np.log(np.abs(at)) - 1j * math.pi * (at < 0), rounds)
            log, total, along, _ = self._joined(u, *self._zs(u))
            return np.real(log), np.real(total), u, along

    def real(self, w: float) -> tuple[float, float]:
        """ln λ and its derivative in w at a real w off the support."""
        log, slope, _, _ = self.on_axis(w)
        return float(log), float(slope) / w

    def slopes(self, w: Array) -> list[float]:
        """d ln λ/dw at many real w at once, for bracketing: to 1e-5 or so with several laws."""
        result: list[float] = (self.on_axis(w, 1)[1] / w).tolist()
        return result

    def room(self, u: Complex) -> Array:
        """How far each ln w may move before w meets an end of φ'²'s law; at most 3."""
        w = np.exp(u)
        if not self.law.discrete:
            # Far below the support's end φ'² that reaches so far down is the smoother in ln w the further down.
            far = np.minimum(np.abs(u.real - np.log(self._end)), u.real - self.floor)
            result: Array = np.maximum(3.0, 0.3 * far)
            for k, law in enumerate(self.laws):
                result[k] = min(result[k], float(np.abs(1 - law.turning / w[k]).min()))
            return result
        rooms = []
        for law, one in zip(self.laws, w, strict=True):
            ends = law.nodes.real
            if self.shares:  # and where M is minus a layer's share
                ends = np.append(ends, 1 - law.sup_mass / np.array(self.shares[1:]))
            gaps = np.abs(1 - ends / one)
            gaps = gaps[gaps > 1e-12]  # an edge may be an atom itself, to rounding
            rooms.append(min(3.0, float(gaps.min())) if len(gaps) else 3.0)
        return np.array(rooms)

    def series(self, order: int) -> Array:
        """1/S of the whole product as a power series in z."""
        one = linear_factor(1.0, 1.0, order)
        factors: list[tuple[Array, float]] = [
            (inverse_s_series(law.moments, order) * self.sigma_w**2, count)
            for law, count in zip(self.laws, self.counts, strict=True)
        ]
        factors.append((one, self.gaussian))
        if self.marchenko is not None:
            factors.append((linear_factor(1.0, self.marchenko, order), 1))
        if self.projection is not None:
            factors += [(linear_factor(1.0, 1 / self.projection, order), 1), (one, -1)]
        mean = self.law.sup_mass
        for share in self.shares:
            factors += [(linear_factor(share, 1.0, order), 1), (linear_factor(mean, 1.0, order), -1)]
        return series_product(factors)


def relation_of(
    laws: Sequence[SlopeLaw],
    counts: Sequence[float],
    sigma_w: float,
    depth: int,
    init: Init,
    ratio: float,
    shares: tuple[float, ...] = (),
) -> Relation:
    """The relation of `depth` layers, `counts` of which have each of the `laws`; ratio is N_0 over the width. `shares`
    as in `Relation`.
    """
    if len(laws) > 1:  # the first reaches the fewest z above its support
        order = sorted(range(len(laws)), key=lambda k: laws[k].above.reach)
        laws, counts = [laws[k] for k in order], [counts[k] for k in order]
    kinds = tuple(laws), tuple(counts)
    if init == "gaussian":
        square = ratio == 1
        return Relation(
            *kinds, depth, sigma_w, depth if square else depth - 1, None if square else 1 / ratio, None, shares
        )
    return Relation(*kinds, depth, sigma_w, 0, None, ratio if ratio < 1 else None, shares)
