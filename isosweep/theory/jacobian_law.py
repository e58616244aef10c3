"""The spectrum of the input-output Jacobian ∂x^L/∂x^0 of a wide network (Pennington, Schoenholz & Ganguli 2017, 2018).

`jacobian_relation` has the eigenvalues as a function λ(w). The upper edge is the minimum of λ over w above the support
of φ'² (`jacobian_edges`); the density follows on the curve of real λ (`real_curve`). The layers may have variances of
their own, as in a network whose inputs do not start at the fixed point: their S-transforms multiply.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.finite_width import active_shares
from isosweep.theory.free_moments import product_moments
from isosweep.theory.jacobian_edges import UpperEdge, gaps, lower_edge, lowest_atom, upper_edge
from isosweep.theory.jacobian_relation import Relation, relation_of
from isosweep.theory.network import Init
from isosweep.theory.real_curve import Curve, HardEdge, NoDensity, joined, trace
from isosweep.theory.slope_law import MOMENTS, SlopeLaw, bernoulli_law, samples_of_square_slope, slope_law
from isosweep.theory.spectral_law import JacobianLaw
from isosweep.theory.variance_rule import variance_rule

__all__ = [
    "Init",
    "JacobianLaw",
    "NoDensity",
    "Variances",
    "jacobian_edge",
    "jacobian_law",
    "jacobian_variance",
    "projection_shares",
    "relative_slope_square",
]

Complex = NDArray[np.complex128]

Variances = float | tuple[float, ...]
"""Pre-activation variances: one for all layers, or each layer's own, first to last."""

_BELOW = 1e-2
"""Of the mass at λ that some 1e-280 of φ'² stand for, and that counts as 0 with those below."""

_MASS = 3e-6
"""By how much a density may miss its mass and still be returned."""

_ALIKE = 1e-5
"""Shares of active units closer than this count as their mean: its square replaces their product."""


def _layers(activation: Activation, q: Variances, depth: int) -> tuple[tuple[SlopeLaw, float], ...]:
    """The laws of φ'² and how many layers have each."""
    if not isinstance(q, tuple):
        return ((slope_law(activation, q), float(depth)),)
    if len(q) != depth:
        raise ValueError(f"{depth} layers have as many variances, not {len(q)}")
    if activation.homogeneous:
        return ((slope_law(activation, 1.0), float(depth)),)
    return tuple((slope_law(activation, variance), count) for variance, count in variance_rule(q))


def projection_shares(activation: Activation, q: Variances, depth: int) -> tuple[float, ...] | None:
    """Each layer's share of active units, first to last, where φ' is 0 or 1 and both occur; else None."""
    if not activation.piecewise_linear:
        return None
    several = isinstance(q, tuple) and not activation.homogeneous
    variances = set(q) if several and isinstance(q, tuple) else {q[0] if isinstance(q, tuple) else q}
    laws = {variance: slope_law(activation, variance) for variance in variances}
    if any(not set(law.nodes.real.tolist()) <= {0.0, 1.0} or law.sup < 1 for law in laws.values()):
        return None
    if all(law.zero_mass == 0 for law in laws.values()):
        return None
    if several and isinstance(q, tuple):
        return tuple(laws[variance].sup_mass for variance in q)
    return (next(iter(laws.values())).sup_mass,) * depth


def _merged(shares: tuple[float, ...]) -> tuple[float, ...]:
    """In increasing order, those alike replaced by their mean."""
    groups: list[list[float]] = []
    for share in sorted(shares):
        if groups and share - groups[-1][0] < _ALIKE:
            groups[-1].append(share)
        else:
            groups.append([share])
    return tuple(sum(group) / len(group) for group in groups for _ in group)


@lru_cache(maxsize=4096)
def _relation(
    activation: Activation,
    q: Variances,
    sigma_w: float,
    depth: int,
    init: Init,
    input_ratio: float,
    width: int | None = None,
    active: tuple[float, ...] | None = None,
) -> Relation:
    if depth < 1:
        raise ValueError(f"depth counts hidden layers and is 1 or more, not {depth}")
    if not (math.isfinite(sigma_w) and sigma_w > 0):
        raise ValueError(f"σ_w must be above 0 and finite, not {sigma_w!r}")
    if init not in ("orthogonal", "gaussian"):
        raise ValueError(f"init is orthogonal or gaussian, not {init!r}")
    if not (math.isfinite(input_ratio) and input_ratio > 0):
        raise ValueError(f"the input dimension over the width must be above 0, not {input_ratio!r}")
    if isinstance(q, tuple) and len(q) != depth:
        raise ValueError(f"{depth} layers have as many variances, not {len(q)}")
    mean = projection_shares(activation, q, depth)
    if active is not None:
        if mean is None:
            raise ValueError(f"{activation.label}: shares of active units are for φ' of 0 or 1 (relu, hard_tanh)")
        if len(active) != depth or not all(0 < p <= 1 for p in active):
            raise ValueError(f"{depth} layers have as many shares of active units, above 0 and at most 1: not {active}")
        shares = _merged(active)
    elif mean is not None and width is not None:
        shares = active_shares(width, mean if len(set(mean)) > 1 else mean[0], depth)
    elif mean is not None and len(set(mean)) > 1:
        shares = _merged(mean)
    else:
        laws, counts = zip(*_layers(activation, q, depth), strict=True)
        return relation_of(laws, counts, sigma_w, depth, init, input_ratio)
    return relation_of((bernoulli_law(shares[0]),), (depth,), sigma_w, depth, init, input_ratio, shares)


@lru_cache(maxsize=4096)
def _upper_edge(relation: Relation) -> UpperEdge:
    """Found once for the edge and for the density: `_relation` gives both the same object."""
    with np.errstate(all="ignore"):
        return upper_edge(relation)


def _first_moments(activation: Activation, q: Variances, depth: int) -> list[tuple[float, float, float]]:
    """(count, μ_1, μ_2/μ_1²) of the layers."""
    shares = projection_shares(activation, q, depth)
    if shares is not None:
        return [(count, share, 1 / share) for share, count in Counter(shares).items()]
    return [
        (count, law.moments[0], law.moments[1] / law.moments[0] ** 2) for law, count in _layers(activation, q, depth)
    ]


def relative_slope_square(activation: Activation, q: Variances, depth: int) -> float:
    """Σ_l μ_2/μ_1² over the layers: what the variance of ln‖Ju‖², and that of the spectrum, grow with."""
    return sum(count * ratio for count, _, ratio in _first_moments(activation, q, depth))


def jacobian_variance(
    activation: Activation, q: Variances, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0
) -> float:
    """σ² of the squared singular values.

    For square layers (E λ)² Σ_l (μ_2/μ_1² − 1 − s_1), s_1 = 0 for orthogonal weights and −1 for Gaussian ones; for an
    input of another dimension from the series of the product, over the min(N_L, N_0) singular values.
    """
    if input_ratio == 1 or (init == "orthogonal" and input_ratio > 1):
        layers = _first_moments(activation, q, depth)
        mean = math.prod((sigma_w**2 * first) ** count for count, first, _ in layers)
        excess = sum(count * (ratio - 1) for count, _, ratio in layers)
        return float(mean**2 * (excess + (depth if init == "gaussian" else 0)))
    one, two = product_moments(_relation(activation, q, sigma_w, depth, init, input_ratio).series(2), 2)
    counted = min(1.0, input_ratio)
    return two / counted - (one / counted) ** 2


@lru_cache(maxsize=4096)
def jacobian_edge(
    activation: Activation, q: Variances, sigma_w: float, depth: int, init: Init, input_ratio: float = 1.0
) -> float:
    """λ_max, the upper end of the support, without the density: what a table of many runs needs.

    Raises:
        ValueError: as `jacobian_law`.
        OverflowError: λ_max leaves float64.
    """
    relation = _relation(activation, q, sigma_w, depth, init, input_ratio)
    if depth == 1 and init == "orthogonal" and input_ratio >= 1:
        return sigma_w**2 * relation.law.sup
    top = _upper_edge(relation)
    return top.atom[0] if top.atom is not None else math.exp(top.x)


@lru_cache(maxsize=512)
def jacobian_law(
    activation: Activation,
    q: Variances,
    sigma_w: float,
    depth: int,
    init: Init,
    input_ratio: float = 1.0,
    width: int | None = None,
    active: tuple[float, ...] | None = None,
) -> JacobianLaw:
    """The spectrum at pre-activation variance `q` in every layer, or at each layer's own.

    Args:
        q: the fixed point's variance (any, for a homogeneous activation); or the layers' variances, first to last.
        depth: L, hidden layers; L factors W and L factors D.
        init: "orthogonal" (σ_w √max(1, N_l/N_{l−1}) times a Haar matrix) or "gaussian" (variance σ_w²/N_{l−1}).
        input_ratio: N_0 over the width. Above 1 an orthogonal first layer is as a square one; a Gaussian one is
            Marchenko-Pastur.
        width: if given, and φ' is 0 or 1 (relu, hard_tanh), the layers' shares of active units are the order statistics
            expected at this width in place of their common mean: the finite-width rank and its effect on the rest.
        active: for such φ', the shares of active units that the layers of one network have: its law given them. They
            fluctuate by 1/√width from one network to the next, and with them the whole spectrum.

    Raises:
        ValueError: depth below 1, σ_w or the ratio not above 0, as many variances or shares as layers missing, or what
            `slope_law` refuses.
        NoDensity: the density could not be followed to its end. The edges and moments stand all the same
            (`jacobian_edge`, `jacobian_variance`).
    """
    relation = _relation(activation, q, sigma_w, depth, init, input_ratio, width, active)
    law = relation.law
    counted = min(1.0, input_ratio)  # min(N_L, N_0)/N_L
    moments = tuple(m / counted for m in product_moments(relation.series(MOMENTS), MOMENTS))
    rank = min(*(1 - one.zero_mass for one in relation.laws), counted, *relation.shares, 1.0)
    zero = max(0.0, 1 - rank / counted)

    if depth == 1 and init == "orthogonal" and relation.projection is None:
        return _single_layer(activation, law, q[0] if isinstance(q, tuple) else q, sigma_w, zero, moments)
    top = _upper_edge(relation)
    found_atoms = [atom for atom in (top.atom, lowest_atom(relation)) if atom is not None]
    atoms = tuple((value, share / counted) for value, share in found_atoms)
    expected = (rank - sum(share for _, share in found_atoms)) / counted
    lambda_max = top.atom[0] if top.atom is not None else math.exp(top.x)
    if expected < 1e-12:
        return JacobianLaw(depth, zero, atoms, None, lambda_max, moments)
    start: HardEdge | tuple[Complex, float, float]
    if top.edge is not None:
        start = top.edge
    else:
        above = 4 * law.sup
        spread = moments[1] / moments[0] ** 2
        start = (
            relation.on_axis(above)[2],
            relation.real(above)[0],
            math.log(moments[0]) - math.log(max(spread, 1.0)) / 2,
        )
    found = gaps(relation)
    # Between two atoms of φ'² λ may increase where the law's own curve never comes: the mass tells.
    for breaks in (found, []) if found else ([],):
        try:
            curve = _followed(relation, rank, start, breaks)
        except NoDensity as error:
            reason = str(error)
            continue
        mass = curve.mass
        if not law.discrete and law.zero_mass > 0 and 0 < rank - (top.atom[1] if top.atom else 0.0) - mass < _BELOW:
            zero, expected = zero + expected - mass / counted, mass / counted
        if abs(mass / counted - expected) < _MASS:
            return JacobianLaw(depth, zero, atoms, _shared_out(curve, counted), lambda_max, moments)
        reason = (
            f"followed from its upper edge it integrates to {mass / counted:.8f} and not to {expected:.8f}; "
            "the support has a gap, or an edge of a kind that is not known here"
        )
    at = f"q = {q:g}" if not isinstance(q, tuple) else f"q from {min(q):g} to {max(q):g}"
    raise NoDensity(f"no density for {activation.label}, {init}, depth {depth}, {at}: {reason}")


def _followed(
    relation: Relation,
    rank: float,
    start: HardEdge | tuple[Complex, float, float],
    breaks: list[tuple[HardEdge, HardEdge]],
) -> Curve:
    """The continuous part, with these gaps in its support."""
    pieces = []
    with np.errstate(all="ignore"):  # a curve that is lost says so
        for over, under in breaks:
            pieces.append(trace(relation, -rank, start, over))
            start = under
        return joined([*pieces, trace(relation, -rank, start, lower_edge(relation, rank))])


def _shared_out(curve: Curve, counted: float) -> Curve:
    """Over the singular values that are counted."""
    if counted == 1:
        return curve
    return Curve(
        curve.x,
        curve.weights / counted,
        curve.density / counted,
        curve.cumulative / counted,
        curve.lower,
        curve.upper,
        curve.mass / counted,
    )


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
    top = 1.0 - law.zero_mass - float(mass[live].sum()) if law.sup_mass > 0 else 0.0
    atoms = ((scale * law.sup, top),) if top > 1e-6 else ()
    y, mass = y[live], mass[live]
    x = np.log(scale * y)
    below = np.cumsum(mass) - mass / 2
    widths = np.gradient(x)
    curve = Curve(
        x, mass, mass / np.maximum(widths, 1e-300), below, -math.inf, math.log(scale * law.sup), float(mass.sum())
    )
    return JacobianLaw(1, zero, atoms, curve, scale * law.sup, moments)
