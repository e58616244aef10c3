"""The spectrum of the input-output Jacobian ∂x^L/∂x^0 of a wide network (Pennington, Schoenholz & Ganguli 2017, 2018).

`jacobian_relation` has the eigenvalues as a function λ(w). The upper edge is the minimum of λ over w above the support
of φ'² (`jacobian_edges`); the density follows on the curve of real λ (`real_curve`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from isosweep.theory.activations import Activation
from isosweep.theory.finite_width import active_shares
from isosweep.theory.free_moments import product_moments
from isosweep.theory.jacobian_edges import lower_edge, upper_edge
from isosweep.theory.jacobian_relation import Init, relation_of
from isosweep.theory.real_curve import Curve, HardEdge, NoDensity, trace
from isosweep.theory.slope_law import MOMENTS, SlopeLaw, bernoulli_law, samples_of_square_slope, slope_law
from isosweep.theory.spectral_law import JacobianLaw

__all__ = ["Init", "JacobianLaw", "NoDensity", "jacobian_edge", "jacobian_law", "jacobian_variance"]


def jacobian_variance(law: SlopeLaw, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0) -> float:
    """σ² of the squared singular values.

    For square layers χ^{2L} L (μ_2/μ_1² − 1 − s_1), s_1 = 0 for orthogonal weights and −1 for Gaussian ones; for an
    input of another dimension from the series of the product, over the min(N_L, N_0) singular values.
    """
    if input_ratio == 1 or (init == "orthogonal" and input_ratio > 1):
        chi = sigma_w**2 * law.moments[0]
        excess = law.moments[1] / law.moments[0] ** 2 - 1 + (1 if init == "gaussian" else 0)
        return float(chi ** (2 * depth) * depth * excess)
    one, two = product_moments(relation_of(law, sigma_w, depth, init, input_ratio).series(2), 2)
    counted = min(1.0, input_ratio)
    return two / counted - (one / counted) ** 2


def _check(depth: int, sigma_w: float, init: str) -> None:
    if depth < 1:
        raise ValueError(f"depth counts hidden layers and is 1 or more, not {depth}")
    if not (math.isfinite(sigma_w) and sigma_w > 0):
        raise ValueError(f"σ_w must be above 0 and finite, not {sigma_w!r}")
    if init not in ("orthogonal", "gaussian"):
        raise ValueError(f"init is orthogonal or gaussian, not {init!r}")


@lru_cache(maxsize=4096)
def jacobian_edge(
    activation: Activation, q: float, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0
) -> float:
    """λ_max, the upper end of the support, without the density: what a table of many runs needs."""
    _check(depth, sigma_w, init)
    law = slope_law(activation, q)
    relation = relation_of(law, sigma_w, depth, init, input_ratio)
    if depth == 1 and init == "orthogonal" and input_ratio >= 1:
        return sigma_w**2 * law.sup
    top = upper_edge(relation)
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
        NoDensity: the density could not be followed to its end. The edges and moments stand all the same
            (`jacobian_edge`, `jacobian_variance`).
    """
    _check(depth, sigma_w, init)
    if not (math.isfinite(input_ratio) and input_ratio > 0):
        raise ValueError(f"the input dimension over the width must be above 0, not {input_ratio!r}")
    law = slope_law(activation, q)
    relation = relation_of(law, sigma_w, depth, init, input_ratio)
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
    top = upper_edge(relation)
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
    curve = trace(relation, relation.room, -rank, start, lower_edge(relation, rank))
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
        raise NoDensity(
            f"no density for {activation.label}, {init}, depth {depth}, q = {q:g}: followed from its upper edge it "
            f"integrates to {curve.mass:.8f} and not to {expected:.8f}; the support has a gap, or an edge of a kind "
            "that is not known here"
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
