"""The ends of the Jacobian's spectrum: where dλ/dw = 0 on the real axis above, or below, the support of φ'²."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial import Chebyshev

from isosweep.theory.jacobian_relation import Relation
from isosweep.theory.real_curve import HardEdge
from isosweep.theory.roots import bracketed_root

_CHEBYSHEV = np.cos(math.pi * (np.arange(14) + 0.5) / 14)

_DROWNED = 1e-6
"""Density of ln λ beside an edge below which the curve is entered from above the support instead."""

__all__ = ["UpperEdge", "gaps", "lower_edge", "lowest_atom", "upper_edge"]


@dataclass(frozen=True)
class UpperEdge:
    """The upper end: a hard edge of the continuous part, or None where it fades out; ln λ_max of it; and an atom above
    it, if any.
    """

    edge: HardEdge | None
    x: float
    atom: tuple[float, float] | None


def _hard_edge(relation: Relation, w: float, scale: float) -> HardEdge:
    h = 1e-4 * scale
    at = np.array([w - h, w, w + h])
    log, slope, u, along = relation.on_axis(at)
    below, _, above = (slope / at).tolist()
    return HardEdge(u[1], float(log[1]), (above - below) / (2 * h) * w * w, along[1])


def _stationary(relation: Relation, place: Callable[[float], float], a: float, b: float) -> float | None:
    """Where dλ/dw = 0 between two places, or None if the change of sign seen there was rounding."""
    if len(relation.laws) > 1:  # many w at once cost little more than one: the slope as a polynomial of v
        v = (a + b) / 2 + (b - a) / 2 * _CHEBYSHEV
        values = relation.on_axis(np.array([place(float(t)) for t in v]))[1]
        if np.all(np.isfinite(values)):
            fitted = Chebyshev.fit(v, values, len(v) - 1, domain=[a, b])
            ends = float(fitted(a)), float(fitted(b))
            if (ends[0] < 0) == (ends[1] < 0):
                return None
            return place(bracketed_root(lambda t: float(fitted(t)), float(a), float(b), *ends))

    def slope(v: float) -> float:
        return relation.real(place(v))[1]

    low, high = slope(float(a)), slope(float(b))
    if not (math.isfinite(low) and math.isfinite(high)) or (low < 0) == (high < 0):
        return None
    return place(bracketed_root(slope, float(a), float(b), low, high))


def _faint(relation: Relation, edge: HardEdge) -> bool:
    """Whether next to the edge the density drowns in rounding: φ'² reaches its maximum only far out in the Gaussian's
    tail.
    """
    z_slope = abs(complex(relation.law.transform(edge.u[0])[1]))
    return z_slope * abs(1 - relation.law.sup / math.exp(edge.u[0].real)) < _DROWNED


def upper_edge(relation: Relation) -> UpperEdge:
    law, depth = relation.law, relation.depth
    orthogonal = relation.gaussian == 0 and relation.marchenko is None
    r = relation.projection or 1.0
    total = sum(relation.shares)
    if not relation.shares:
        total = sum(one.sup_mass * count for one, count in zip(relation.laws, relation.counts, strict=True))
    top_share = total + r - depth if orthogonal else 0.0
    atom: tuple[float, float] | None = None
    if orthogonal and (depth > 1 or r < 1) and law.sup_mass > 0 and abs(top_share) < 1e-9:
        edge = _marginal_edge(relation, law.sup)
        return UpperEdge(edge, edge.x, None)
    if top_share > 0:
        atom = ((relation.sigma_w**2 * law.sup) ** depth / r, top_share)
        rest = law.nodes[law.nodes.real < law.sup].real
        if law.discrete and len(rest) == 0 and relation.projection is None:
            return UpperEdge(None, math.log(atom[0]), atom)
        below = float(rest.max()) if len(rest) else 0.0

        def place(v: float) -> float:
            return below + (law.sup - below) / (1 + math.exp(-v))
    else:

        def place(v: float) -> float:
            return law.sup * (1 + math.exp(v))

    reach = 25 if law.discrete else 34  # w − 1 keeps its digits
    grid = np.linspace(-reach, reach, 2 * reach + 1)
    # The outermost: with differing shares there are others further in. It is seldom next to the support, which is
    # looked at last.
    for part in (grid[reach - 6 :], grid[: reach - 5]):
        slopes = relation.slopes(np.array([place(float(v)) for v in part]))
        for i in reversed(range(len(part) - 1)):
            if slopes[i] < 0 <= slopes[i + 1] and (w := _stationary(relation, place, part[i], part[i + 1])) is not None:
                edge = _hard_edge(relation, w, min(abs(w - law.sup), w))
                if atom is None and _faint(relation, edge):
                    return UpperEdge(None, edge.x, None)
                return UpperEdge(edge, edge.x, atom)
    if atom is not None:
        return UpperEdge(None, math.log(atom[0]), atom)
    # ln λ rises from the very end of φ'²'s support, which is deep in the Gaussian's tail: the density fades out towards
    # it.
    return UpperEdge(None, relation.real(law.sup * (1 + 1e-13))[0], None)


def _marginal_edge(relation: Relation, w: float) -> HardEdge:
    """At an end w of φ'²'s support whose atoms' masses leave exactly nothing to an atom of the product: the edge is at
    z = ∞, with a density like |λ − λ_edge|^{−1/2}.
    """
    law, depth = relation.law, relation.depth
    x = depth * math.log(relation.sigma_w**2 * w) - math.log(relation.projection or 1.0)
    u = np.array([complex(math.log(w))])
    if not law.discrete:  # and the density of φ'² goes on up to the atom (elu)
        return HardEdge(u, x, None, np.ones(1, complex))
    step = 1e-3 * w
    up, down = relation.real(w + step)[0], relation.real(w - step)[0]
    return HardEdge(u, x, (up + down - 2 * x) / step**2 * w**2, np.ones(1, complex))


def lowest_atom(relation: Relation) -> tuple[float, float] | None:
    """(λ, share) of an atom below all else: φ'² is at its least, and above 0, in so many units of every orthogonal
    layer that they must meet.
    """
    law, depth = relation.law, relation.depth
    if not law.discrete or law.zero_mass > 0 or law.inf == law.sup or relation.shares or len(relation.laws) > 1:
        return None
    if relation.gaussian > 0 or relation.marchenko is not None:
        return None
    r = relation.projection or 1.0
    share = depth * (float(law.weights.real[law.nodes.real == law.inf].sum()) - 1) + r
    return ((relation.sigma_w**2 * law.inf) ** depth / r, share) if share > 1e-9 else None


def lower_edge(relation: Relation, rank: float) -> HardEdge | None:
    """Where the law stops above 0, or None where it reaches 0.

    Below the support λ falls to 0 as M tends to −rank. That branch is on the real axis only if λ vanishes to first
    order there: the input is narrower than every other rank; or one Gaussian layer of a {0, 1} slope law; or square
    orthogonal layers with φ' bounded away from 0.
    """
    law = relation.law
    smallest = float(law.nodes.real[law.nodes.real > 0].min()) if law.discrete else law.inf
    narrow = relation.projection or (1 / relation.marchenko if relation.marchenko is not None else 1.0)
    alone = relation.depth == 1
    orthogonal = relation.gaussian == 0 and relation.marchenko is None
    if law.discrete and smallest < law.sup and orthogonal and law.zero_mass == 0 and not relation.shares:
        share = float(law.weights.real[law.nodes.real == smallest].sum())
        if relation.projection is None and not alone and abs((share - 1) * relation.depth + 1) < 1e-9:
            return _marginal_edge(relation, smallest)
        if relation.projection is not None and alone and abs(share + relation.projection - 1) < 1e-9:
            return _marginal_edge(relation, smallest)
    if len(relation.shares) > 1:  # λ is 0 again where M is minus the next share
        smallest = 1 - relation.shares[0] / relation.shares[1]
        alone = smallest > 0
    square_gaussian = relation.gaussian > 0
    start = 0.0
    if lowest_atom(relation) is not None:  # the edge is above it
        start, smallest = smallest, float(law.nodes.real[law.nodes.real > smallest].min())
    elif narrow < 1 - law.zero_mass - 1e-12:

        def rank_gap(v: float) -> float:
            return float(np.real(law.transform(np.asarray(math.log(law.sup) + v + 1j * math.pi))[0])) + narrow

        start = -law.sup * math.exp(bracketed_root(rank_gap, -690.0, 40.0))
    elif law.zero_mass > 0:
        first_order = alone and (relation.depth > 1 or square_gaussian)
        if not (first_order and narrow >= 1):
            return None
    elif smallest <= 0 or square_gaussian or relation.marchenko is not None or relation.projection is not None:
        return None

    def place(v: float) -> float:
        return start + (smallest - start) / (1 + math.exp(-v))

    # Between two atoms of nearly all the mass both ends of the support lie close together.
    grid = np.linspace(-25, 25, 401 if start > 0 else 51)
    slopes = relation.slopes(np.array([place(float(v)) for v in grid]))
    for i in range(len(grid) - 1):
        if slopes[i] > 0 >= slopes[i + 1] and (w := _stationary(relation, place, grid[i], grid[i + 1])) is not None:
            return _hard_edge(relation, w, min(w - start, smallest - w))
    return None


def _positive(relation: Relation, w: float) -> bool:
    """Whether λ(w), which is real, is above 0."""
    log = relation.at(relation.place(np.log(np.array([w], complex))))[0]
    return bool(np.cos(log.imag[0]) > 0.5)


def gaps(relation: Relation) -> list[tuple[HardEdge, HardEdge]]:
    """Gaps within the support, the uppermost first: the lower end of what is above, and the upper end of what is below.

    Between two atoms of φ'² λ(w) is real; where it increases it runs through values that the law does not have.
    """
    law = relation.law
    if not law.discrete or len(relation.laws) > 1 or relation.shares:
        return []
    atoms = sorted({float(v) for v in law.nodes.real if v > 0})
    found = []
    for low, high in reversed(list(pairwise(atoms))):

        def place(v: float, low: float = low, high: float = high) -> float:
            return low + (high - low) / (1 + math.exp(-v))

        grid = np.linspace(-25, 25, 201)
        slopes = relation.slopes(np.array([place(float(v)) for v in grid]))
        turns: list[tuple[bool, float]] = []
        for i in range(len(grid) - 1):
            if math.isfinite(slopes[i]) and math.isfinite(slopes[i + 1]) and (slopes[i] < 0) != (slopes[i + 1] < 0):
                w = _stationary(relation, place, grid[i], grid[i + 1])
                if w is not None:
                    turns.append((slopes[i] < 0, w))
        # from the lower atom on λ falls from infinity, rises through the gap, and falls through 0
        if [rising for rising, _ in turns[:2]] == [True, False] and all(_positive(relation, w) for _, w in turns[:2]):
            below, above = (_hard_edge(relation, w, min(w - low, high - w)) for _, w in turns[:2])
            found.append((above, below))
    return found
