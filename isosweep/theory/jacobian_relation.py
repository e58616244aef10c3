"""The relation between an eigenvalue of JJᵀ and an auxiliary variable w, with everything that the factors contribute.

JJᵀ is a free product of L factors WWᵀ and L factors D² = diag φ'(h)². With z(w) = E[φ'²/(w − φ'²)] its eigenvalues are
λ(w) = ((1+z)/z)·Π 1/S, where 1/S is z w/(1+z) for each D², σ_w² for an orthogonal W and σ_w²(1+z) for a Gaussian one,
and z is also M(λ) = E[λ'/(λ − λ')] (Pennington, Schoenholz & Ganguli 2017, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.free_moments import inverse_s_series, linear_factor, series_product
from isosweep.theory.slope_law import SlopeLaw

__all__ = ["Init", "Relation", "relation_of"]

Init = Literal["orthogonal", "gaussian"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Relation:
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


def relation_of(law: SlopeLaw, sigma_w: float, depth: int, init: Init, ratio: float) -> Relation:
    if init == "gaussian":
        square = ratio == 1
        return Relation(law, depth, sigma_w, depth if square else depth - 1, None if square else 1 / ratio, None)
    return Relation(law, depth, sigma_w, 0, None, ratio if ratio < 1 else None)
