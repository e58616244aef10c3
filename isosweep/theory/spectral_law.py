"""A law of squared singular values as one reads it: atoms, density, distribution, quantiles, moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isosweep.theory.real_curve import Curve

__all__ = ["JacobianLaw"]

Array = NDArray[np.float64]

_BETWEEN = 3  # points of a table between two nodes of a curve


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
            total = total + np.interp(x, *self._table, left=0.0, right=self.curve.mass)
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
        pieces: list[tuple[float, float, float | None]] = [(v, m, v) for v, m in self.atoms]
        if self.curve is not None:
            pieces.append((math.exp(self.curve.x[0]), self.curve.mass, None))
        for _, mass, value in sorted(pieces, key=lambda piece: piece[0]):
            inside = p > start
            if value is None:
                x, cumulative = self._table
                found = np.exp(np.interp(p - start, cumulative, x))
            else:
                found = np.full_like(p, value)
            result = np.where(inside, found, result)
            start += mass
        return result

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """(x, mass below) with the ends, and points between any two nodes on the cubic whose slopes are the density; on
        the straight line where that cubic might not rise.
        """
        assert self.curve is not None
        x, cumulative, density = self.curve.x, self.curve.cumulative, self.curve.density
        width, mass = np.diff(x)[:, None], np.diff(cumulative)[:, None]
        left, right = width * density[:-1, None], width * density[1:, None]
        t = np.arange(1, _BETWEEN + 2) / (_BETWEEN + 1)
        bend = t * (1 - t) * ((left - mass) * (1 - t) - (right - mass) * t)
        rising = (left <= 3 * mass) & (right <= 3 * mass)  # Fritsch & Carlson 1980
        cumulative = np.append(cumulative[:1], cumulative[:-1, None] + mass * t + np.where(rising, bend, 0.0))
        x = np.append(x[:1], x[:-1, None] + width * t)
        if math.isfinite(self.curve.lower):
            x, cumulative = np.append(self.curve.lower, x), np.append(0.0, cumulative)
        return np.append(x, self.curve.upper), np.append(cumulative, self.curve.mass)
