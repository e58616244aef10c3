"""The Fisher information of one input in an orthogonal network near dynamical isometry (Hayase & Karakida 2021).

Conditional on one input, weights only and per unit of width, the dual of the Fisher matrix obeys H_1 = q̂_0 I,
H_{l+1} = q̂_l I + W_{l+1} D_l H_l D_l W_{l+1}ᵀ. A free product with D_l keeps M and divides λ by S; a shift by q̂_l
keeps the resolvent. Both act on (λ, M) explicitly, so that λ_L and M_L are functions of the first layer's M alone, and
the density follows on the curve of real λ. Here φ' is 0 or 1, with mass α_l at 1, and q̂_l is the mean square of x^l.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from isosweep.theory.activations import Activation
from isosweep.theory.propagation import propagate
from isosweep.theory.real_curve import Curve, HardEdge, NoDensity, OneVariable, trace
from isosweep.theory.roots import bracketed_root

__all__ = ["ConditionalFisher", "conditional_fisher", "network_conditional_fisher"]


@dataclass(frozen=True)
class ConditionalFisher:
    """The law of H_L.

    Attributes:
        lambda_max: the upper end of its support.
        top_atom: the share at lambda_max, 1 − Σ_{1≤l<L}(1 − α_l); 0 where that is not positive and the edge is the
            recursion's.
        isometric: whether the atom, and with it the closed form of lambda_max, holds.
        bottom: the smallest eigenvalue, q̂_{L−1}, and its share.
        curve: the continuous part, in ln(λ − q̂_{L−1}); None if there is none.
        shift: q̂_{L−1}.
        mean: E λ.
    """

    lambda_max: float
    top_atom: float
    isometric: bool
    bottom: tuple[float, float]
    curve: Curve | None
    shift: float
    mean: float

    def integral(self, power: int) -> float:
        """∫ λ^power over atoms and density."""
        total = self.bottom[1] * self.bottom[0] ** power + self.top_atom * self.lambda_max**power
        if self.curve is not None:
            total += float(self.curve.weights @ (self.shift + np.exp(self.curve.x)) ** power)
        return total


@dataclass(frozen=True)
class _Recursion:
    """ln(λ_L − q̂_{L−1}) as a function of u = ln w, w = 1/M_1."""

    q: tuple[float, ...]
    active: tuple[float, ...]
    sigma_w: float

    def __call__(self, u: Any) -> tuple[Any, Any, Any, Any]:
        z = np.exp(-np.asarray(u, complex))
        dz = -z  # derivatives in u
        first = self.q[0]
        scale, d_scale = first * (1 + 1 / z), -first * dz / z**2
        for level, p in enumerate(self.active):
            # times σ_w² D²: M stays, λ is divided by S = (1 + z)/(z + p)
            ratio, d_ratio = (z + p) / (1 + z), dz * (1 - p) / (1 + z) ** 2
            d_scale = self.sigma_w**2 * (d_scale * ratio + scale * d_ratio)
            scale = self.sigma_w**2 * scale * ratio
            if level + 1 == len(self.active):
                break
            # plus q̂ I: the resolvent (1 + z)/λ stays
            shift = self.q[level + 1]
            factor, d_factor = 1 + shift / scale, -shift * d_scale / scale**2
            dz = dz * factor + (1 + z) * d_factor
            z = (1 + z) * factor - 1
            scale = scale + shift
        return np.log(scale), d_scale / scale, z, dz

    def real(self, w: float) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            log, slope, _, _ = self(np.log(np.asarray(w, complex)))
        return float(np.real(log)), float(np.real(slope)) / w

    def room(self, u: complex) -> float:
        """Singular where a factor of the recursion is 0 or infinite: M_1 = −1, and wherever a later M is −1 or −α."""
        return min(1.0, float(abs(1 + np.exp(u))))


def _edge(relation: _Recursion, atom: bool) -> HardEdge | None:
    """The upper edge of the continuous part: the least λ over w > 0, or, below an atom, over w in (−1, 0)."""

    def place(v: float) -> float:
        e = math.exp(v)
        return -1 / (1 + e) if atom else e

    grid = np.linspace(-30, 30, 241)
    slopes = [relation.real(place(float(v)))[1] for v in grid]
    best: HardEdge | None = None
    for i in range(len(grid) - 1):
        rising = slopes[i] < 0 <= slopes[i + 1]  # both maps increase with v: a minimum of λ
        if not rising or not (math.isfinite(slopes[i]) and math.isfinite(slopes[i + 1])):
            continue
        w = place(bracketed_root(lambda t: relation.real(place(t))[1], float(grid[i]), float(grid[i + 1])))
        h = 1e-5 * abs(w)
        curvature = (relation.real(w + h)[1] - relation.real(w - h)[1]) / (2 * h) * w * w
        u = np.array([complex(math.log(abs(w)), -math.pi if w < 0 else 0.0)])
        edge = HardEdge(u, relation.real(w)[0], curvature, np.ones(1, complex))
        if best is None or edge.x > best.x:
            best = edge
    return best


@lru_cache(maxsize=256)
def conditional_fisher(
    mean_squares: tuple[float, ...], active: tuple[float, ...], sigma_w: float, density: bool = True
) -> ConditionalFisher:
    """The law of H_L for L = len(mean_squares).

    Args:
        mean_squares: q̂_0 … q̂_{L−1}.
        active: α_1 … α_{L−1}, the masses of φ'² at 1.
        sigma_w: the gain.
        density: whether to follow the density too.

    Raises:
        ValueError: lengths that do not fit, masses outside (0, 1], mean squares not above 0.
        NoDensity: the density could not be followed.
    """
    depth = len(mean_squares)
    if depth < 1 or len(active) != depth - 1:
        raise ValueError(f"{depth} mean squares need {depth - 1} masses, not {len(active)}")
    if not all(q > 0 for q in mean_squares) or not all(0 < p <= 1 for p in active) or not sigma_w > 0:
        raise ValueError("mean squares and σ_w are above 0, masses in (0, 1]")
    shift = mean_squares[-1]
    closed = sum(q * sigma_w ** (2 * (depth - 1 - level)) for level, q in enumerate(mean_squares))
    mean = mean_squares[0]
    for q, p in zip(mean_squares[1:], active, strict=True):
        mean = q + sigma_w**2 * p * mean
    top = 1 - sum(1 - p for p in active)
    if all(p == 1 for p in active):
        return ConditionalFisher(closed, 1.0, True, (shift, 0.0), None, shift, mean)
    isometric = top > 0
    relation = _Recursion(mean_squares, active, sigma_w)
    edge = _edge(relation, isometric)
    bottom = (shift, 1 - active[-1])
    lambda_max = closed if isometric else shift + math.exp(edge.x) if edge is not None else math.nan
    if not density:
        return ConditionalFisher(lambda_max, max(top, 0.0), isometric, bottom, None, shift, mean)
    expected = active[-1] - max(top, 0.0)
    if expected < 1e-12:
        return ConditionalFisher(lambda_max, max(top, 0.0), isometric, bottom, None, shift, mean)
    if edge is None:
        raise NoDensity("the upper edge of the conditional Fisher matrix was not found")
    curve = trace(OneVariable(relation, relation.room), -active[-1], edge)
    if not abs(curve.mass - expected) < 1e-5:
        raise NoDensity(
            f"the conditional Fisher density integrates to {curve.mass:.8f} and not to {expected:.8f}: "
            "its support may have gaps"
        )
    return ConditionalFisher(lambda_max, max(top, 0.0), isometric, bottom, curve, shift, mean)


def network_conditional_fisher(
    activation: Activation, sigma_w: float, sigma_b: float, depth: int, mean_square: float = 1.0, density: bool = True
) -> ConditionalFisher:
    """H_L of a network with φ' of 0 or 1, from its own variances layer by layer.

    Raises:
        ValueError: another activation, whose D² is not a projection.
    """
    if not activation.piecewise_linear or not set(_slopes(activation)) <= {0.0, 1.0}:
        raise ValueError(f"{activation.label}: this law needs φ' of 0 or 1 (linear, relu, hard_tanh)")
    signal = propagate(activation, sigma_w, sigma_b, depth, mean_square)
    masses: Sequence[float] = [min(1.0, float(s)) for s in signal.slope[: depth - 1]]
    return conditional_fisher(tuple(float(x) for x in signal.x[:depth]), tuple(masses), sigma_w, density)


def _slopes(activation: Activation) -> list[float]:
    kinks = activation.kinks
    points = [0.0] if not kinks else [kinks[0] - 1, *((a + b) / 2 for a, b in pairwise(kinks)), kinks[-1] + 1]
    return [float(s) for s in activation.phi_prime(np.array(points))]
