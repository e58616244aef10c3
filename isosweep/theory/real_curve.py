"""A spectral density as the boundary value of an analytic relation, followed along the curve on which the eigenvalue is
real.

Free products (and free products with shifts) give the eigenvalue λ and M = E[λ'/(λ − λ')] as explicit functions of an
auxiliary complex w. From the upper edge, where dλ/dw = 0 on the real axis, the curve of real λ leaves into the lower
half-plane; on it the density of ln λ is Im M/π. The curve is stepped along coarsely, then filled with Gauss nodes in ln
λ, all polished together by Newton's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Evaluation", "HardEdge", "NoDensity", "trace"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

Evaluation = Callable[[Any], tuple[Any, Any, Any, Any]]
"""u = ln w ↦ (ln λ up to 2πi, its derivative, M, its derivative): steps in ln w, as λ is nearly a power of w over long
stretches.
"""

_STEP = 0.3
_NODES = 6
_NEGLIGIBLE = 3e-8  # mass of an exponential tail that is left out
_NOTHING = 1e-13  # the same short of an edge: the density faded out far above it
_MAX_STEPS = 600

_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(_NODES)
_UNIT, _UNIT_WEIGHTS = (_GAUSS + 1) / 2, _GAUSS_WEIGHTS / 2
_VANDERMONDE = np.vander(_UNIT, _NODES, increasing=True)
# Row i integrates the polynomial through the six nodes from 0 to node i.
_PARTIAL = (_UNIT[:, None] ** np.arange(1, _NODES + 1) / np.arange(1, _NODES + 1)) @ np.linalg.inv(_VANDERMONDE)


class NoDensity(RuntimeError):
    """A law exists, but its density could not be computed: said, rather than a law that is not one."""


@dataclass(frozen=True)
class Curve:
    """A continuous part of a law, in x = ln λ, from its lower end to its upper one.

    Attributes:
        x: nodes, increasing.
        weights: Σ weights f(x) is the integral of f against the law; with the density it is `mass` for f = 1.
        density: of ln λ, per unit of x.
        cumulative: the law's mass below each node.
        lower, upper: the ends (−inf where the support reaches 0).
        mass: the whole.
    """

    x: Array
    weights: Array
    density: Array
    cumulative: Array
    lower: float
    upper: float
    mass: float


def _residual(log_lambda: Any, x: Any) -> Any:
    """ln λ − x with the imaginary part brought to (−π, π]: the logarithm is known up to 2πi."""
    gap = log_lambda - x
    return gap.real + 1j * (np.remainder(gap.imag + math.pi, 2 * math.pi) - math.pi)


def _polish(f: Evaluation, u: Any, x: Any, rounds: int) -> Any:
    for _ in range(rounds):
        value, slope, _, _ = f(u)
        u = u - _residual(value, x) / slope
    return u


def _advance(f: Evaluation, w: complex, x: float, slope: complex, dx: float) -> tuple[complex, float]:
    """One step of dw/dx = 1/(ln λ)'(w), Runge and Kutta's, halved until the direction turns little within it."""
    k1 = 1 / slope
    for _ in range(30):
        k2 = 1 / f(w + dx / 2 * k1)[1]
        if abs(k2 - k1) < 0.35 * abs(k1):
            k3 = 1 / f(w + dx / 2 * k2)[1]
            k4 = 1 / f(w + dx * k3)[1]
            if abs(k4 - k1) < 0.7 * abs(k1):
                break
        dx /= 2
    else:
        raise NoDensity("the curve of real eigenvalues was lost")
    return complex(_polish(f, w + dx / 6 * (k1 + 2 * k2 + 2 * k3 + k4), x + dx, 1)), x + dx


def _mass_beyond(slope: complex, m: complex, m_slope: complex, sign: float) -> float:
    """What is left of a tail of the density: its value over its logarithmic derivative."""
    density, derivative = m.imag / math.pi, -sign * (m_slope / slope).imag / math.pi
    if density <= 0:
        return 0.0
    return math.inf if derivative <= 0 else density**2 / derivative


@dataclass
class _Walk:
    """Points u and ln λ along the curve, with du/d ln λ at each."""

    u: list[complex]
    x: list[float]
    slope: list[complex]
    faded: bool = False  # the density ran out before the edge it was walking towards


@dataclass(frozen=True)
class HardEdge:
    """An end of the support where ln λ is stationary on the real axis: u = ln w there, ln λ, and its second derivative
    in u.
    """

    u: complex
    x: float
    curvature: float


def _walk(
    f: Evaluation,
    room: Callable[[complex], float],
    start: complex,
    x: float,
    bottom: float,
    down: bool,
    leaving: HardEdge | None,
    towards: HardEdge | None,
) -> _Walk:
    u = start
    _, slope, m, m_slope = f(u)
    walk = _Walk([u], [x], [1 / slope])
    turn = (
        abs(u - leaving.u) if leaving is not None else math.inf
    )  # distance to where dλ/dw = 0, by how fast it changes
    sign = -1.0 if down else 1.0
    for _ in range(_MAX_STEPS):
        if towards is not None and abs(u - towards.u) < 0.2 * room(towards.u):
            return walk
        near = min(abs(m), abs(1 + m), abs(m - bottom))
        length = min(_STEP * room(u), _STEP * near / abs(m_slope), 2 * _STEP * turn)
        before, slope_before = u, slope
        u, x = _advance(f, u, x, slope, sign * length * abs(slope))
        _, slope, m, m_slope = f(u)
        if not (math.isfinite(x) and np.isfinite(u) and np.isfinite(slope)):
            raise NoDensity("the curve of real eigenvalues was lost")
        turn = abs(slope) * abs(u - before) / max(abs(slope - slope_before), 1e-300)
        walk.u.append(u)
        walk.x.append(x)
        walk.slope.append(1 / slope)
        if len(walk.u) > 4 and _mass_beyond(slope, m, m_slope, sign) < (_NEGLIGIBLE if towards is None else _NOTHING):
            walk.faded = True
            return walk
    raise NoDensity(f"the curve of real eigenvalues did not end in {_MAX_STEPS} steps")


def trace(
    f: Evaluation,
    room: Callable[[complex], float],
    bottom: float,
    upper: HardEdge | tuple[float, float, float],
    lower: HardEdge | None = None,
) -> Curve:
    """The continuous part of the law between its edges.

    Args:
        f: the relation, for scalars and arrays of u.
        room: how far from u the relation is smooth; steps are in proportion to it.
        bottom: M as λ → 0: minus the mass above 0.
        upper: the upper edge; or, where the density fades out instead of ending, (u, ln λ) of a real point above the
            support and a ln λ within the bulk, from which the curve is then followed both ways.
        lower: the edge where the law stops above 0, if it does.

    Raises:
        NoDensity: the curve did not end; reported, rather than a law that is not one.
    """
    if isinstance(upper, HardEdge):
        side = 1j if upper.u.imag < -1 else -1j  # the lower half of the w plane, seen from a negative or a positive w
        first = upper.u + side * _STEP / 2 * room(upper.u)
        x = float(np.real(_residual(f(first)[0], upper.x))) + upper.x
        u = complex(_polish(f, first, x, 4))
        walk = _walk(f, room, u, x, bottom, True, upper, lower)
        return _fill(f, walk, upper, None if walk.faded else lower)
    far, x_far, x = upper
    # Through the lower half of the λ plane, where u is an analytic function of ln λ, from above the support into the
    # bulk.
    u, at = complex(far), complex(x_far)
    for t in np.linspace(0, 1, 41)[1:]:
        target = x_far + (x - x_far) * t - 0.6j * math.sin(math.pi * t) * min(1.0, x_far - x)
        slope = 1 / f(u)[1]
        middle = 1 / f(u + (target - at) / 2 * slope)[1]
        u = complex(_polish(f, u + (target - at) * middle, target, 2))
        at = target
    down = _walk(f, room, u, x, bottom, True, None, lower)
    up = _walk(f, room, u, x, bottom, False, None, None)
    if down.faded:
        lower = None
    whole = _Walk(up.u[:0:-1] + down.u, up.x[:0:-1] + down.x, up.slope[:0:-1] + down.slope)
    return _fill(f, whole, None, lower)


def _fill(f: Evaluation, walk: _Walk, upper: HardEdge | None, lower: HardEdge | None) -> Curve:
    """Gauss nodes in every step: in ln λ between the steps, in its square-root distance from the edge at the ends."""
    w, x, d = np.array(walk.u), np.array(walk.x), np.array(walk.slope)
    dx = np.diff(x)
    t = _UNIT
    h00, h10 = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2
    h01, h11 = t**2 * (3 - 2 * t), t**2 * (t - 1)
    guess = w[:-1, None] * h00 + (dx * d[:-1])[:, None] * h10 + w[1:, None] * h01 + (dx * d[1:])[:, None] * h11
    nodes = x[:-1, None] + dx[:, None] * t
    jacobian = np.broadcast_to(-dx[:, None], nodes.shape)

    def end(edge: HardEdge, u_in: complex, x_in: float) -> tuple[Complex, Array, Array]:
        """From the edge inwards: u = u_edge − i√(2/|F''|) s + O(s²), s = √|x − x_edge|."""
        span = math.sqrt(abs(x_in - edge.x))
        lead = -1j * math.sqrt(2 / abs(edge.curvature))
        if edge.u.imag < -1:  # w < 0: the lower half-plane lies on the other side of ln w
            lead = -lead
        quadratic = (u_in - edge.u - lead * span) / span**2
        s = span * t
        inward = math.copysign(1.0, x_in - edge.x)
        return edge.u + lead * s + quadratic * s * s, edge.x + inward * s * s, 2 * s * span

    if upper is not None:
        g, n, j = end(upper, walk.u[0], walk.x[0])
        guess, nodes, jacobian = np.vstack([g, guess]), np.vstack([n, nodes]), np.vstack([j, jacobian])
    if lower is not None:
        g, n, j = end(lower, walk.u[-1], walk.x[-1])
        guess, nodes, jacobian = (
            np.vstack([guess, g[::-1]]),
            np.vstack([nodes, n[::-1]]),
            np.vstack([jacobian, j[::-1]]),
        )
    for row in ([0] if upper is not None else []) + ([-1] if lower is not None else []):
        guess[row] = _polish(f, guess[row], nodes[row], 2)  # these start from a cruder guess
    w_nodes = _polish(f, guess, nodes, 2)
    m = f(w_nodes)[2]
    density = np.maximum(m.imag / math.pi, 0.0)
    per_unit = density * jacobian  # the integrand in the unit variable of each step
    per_step = per_unit @ _UNIT_WEIGHTS
    above = np.concatenate([[0.0], np.cumsum(per_step)[:-1]])[:, None] + per_unit @ _PARTIAL.T
    if lower is not None:  # that step's nodes run in the other direction of its own variable
        last = per_unit[-1][::-1] @ _PARTIAL.T
        above[-1] = per_step.sum() - last[::-1]
    mass = float(per_step.sum())
    order = slice(None, None, -1)
    return Curve(
        nodes.ravel()[order],
        (per_unit * _UNIT_WEIGHTS).ravel()[order],
        density.ravel()[order],
        mass - above.ravel()[order],
        -math.inf if lower is None else lower.x,
        float(x[0]) if upper is None else upper.x,
        mass,
    )
