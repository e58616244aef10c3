"""A spectral density as the boundary value of an analytic relation, followed along the curve on which the eigenvalue is
real.

Free products (and free products with shifts) give the eigenvalue λ and M = E[λ'/(λ − λ')] as explicit functions of
auxiliary complex variables w_k, one for each different factor. From the upper edge, where λ is stationary on the real
axis, the curve of real λ leaves into the lower half-planes; on it the density of ln λ is Im M/π. The curve is stepped
along coarsely, then filled with Gauss nodes in ln λ, all polished together by Newton's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "HardEdge", "NoDensity", "OneVariable", "System", "joined", "trace"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class System(Protocol):
    """The relation, in u = ln w of shape (…, K): steps are taken in ln w, as λ is nearly a power of w over long
    stretches.
    """

    @property
    def floor(self) -> float:
        """ln w_1 below which the relation says nothing; −inf where it always does."""
        ...

    def at(self, u: Complex) -> tuple[Any, Complex, Any, Any]:
        """ln λ (up to 2πi), du/d ln λ of shape (…, K), M and dM/d ln λ at a point that solves the relation, nearly."""
        ...

    def newton(self, u: Complex, x: Any) -> Complex:
        """One step of Newton's method towards the solution at ln λ = x."""
        ...

    def room(self, u: Complex) -> Array:
        """(K) how far from each u the relation is smooth; steps are in proportion to it."""
        ...


@dataclass(frozen=True)
class OneVariable:
    """A relation of a single w, given as u ↦ (ln λ, its derivative, M, its derivative)."""

    relation: Callable[[Any], tuple[Any, Any, Any, Any]]
    smooth: Callable[[complex], float]
    floor: float = -math.inf

    def at(self, u: Complex) -> tuple[Any, Complex, Any, Any]:
        value, slope, m, m_slope = self.relation(u[..., 0])
        return value, np.asarray(1 / slope)[..., None], m, m_slope / slope

    def newton(self, u: Complex, x: Any) -> Complex:
        value, slope, _, _ = self.relation(u[..., 0])
        result: Complex = u - np.asarray(wrapped(value - x) / slope)[..., None]
        return result

    def room(self, u: Complex) -> Array:
        return np.array([self.smooth(complex(u[0]))])


_STEP = 0.45  # of the distance to what the relation is not smooth at
_NEARER = 0.6  # of what M has left to its limits, which it comes near to like an exponential
_NODES = 8
_CLOSE = 3e-5  # of a step: a node's guess so near that one linear correction leaves nothing of it
_NEGLIGIBLE = 3e-8  # mass of an exponential tail that is left out
_NOTHING = 1e-13  # the same short of an edge: the density faded out far above it
_FINE = 1e-13  # steps as short as this, as a share of ln λ, are near its last digits
_NEAR = 1e-7  # how far from a logarithmic edge the curve is entered
_MAX_STEPS = 600

_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(_NODES)
_UNIT, _UNIT_WEIGHTS = (_GAUSS + 1) / 2, _GAUSS_WEIGHTS / 2
_VANDERMONDE = np.vander(_UNIT, _NODES, increasing=True)
# Row i integrates the polynomial through the nodes from 0 to node i.
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


def joined(pieces: Sequence[Curve]) -> Curve:
    """Intervals of one support, the uppermost first, with gaps between them."""
    if len(pieces) == 1:
        return pieces[0]
    x: list[Array] = []
    weights: list[Array] = []
    density: list[Array] = []
    cumulative: list[Array] = []
    mass = 0.0
    for piece in reversed(pieces):
        inner = math.isfinite(piece.lower)
        start = [piece.lower] if inner else []
        x += [np.array(start), piece.x, np.array([piece.upper])]
        weights += [np.zeros(len(start)), piece.weights, np.zeros(1)]
        density += [np.zeros(len(start)), piece.density, np.zeros(1)]
        cumulative += [np.full(len(start), mass), mass + piece.cumulative, np.array([mass + piece.mass])]
        mass += piece.mass
    return Curve(
        np.concatenate(x),
        np.concatenate(weights),
        np.concatenate(density),
        np.concatenate(cumulative),
        pieces[-1].lower,
        pieces[0].upper,
        mass,
    )


def wrapped(gap: Any) -> Any:
    """A difference of logarithms with its imaginary part brought to [−π, π): they are known up to 2πi."""
    return gap.real + 1j * (np.remainder(gap.imag + math.pi, 2 * math.pi) - math.pi)


def _polish(f: System, u: Complex, x: Any, rounds: int) -> Complex:
    for _ in range(rounds):
        u = f.newton(u, x)
    return u


def _advance(f: System, u: Complex, x: float, rate: Complex, dx: float) -> tuple[Complex, float]:
    """One step of du/dx, Runge and Kutta's, halved until the direction turns little within it."""
    k1, size = rate, np.abs(rate)
    for _ in range(30):
        k2 = f.at(u + dx / 2 * k1)[1]
        if np.all(np.abs(k2 - k1) < 0.35 * size):
            k3 = f.at(u + dx / 2 * k2)[1]
            k4 = f.at(u + dx * k3)[1]
            if np.all(np.abs(k4 - k1) < 0.7 * size):
                return f.newton(u + dx / 6 * (k1 + 2 * k2 + 2 * k3 + k4), x + dx), x + dx
        dx /= 2
    raise NoDensity("the curve of real eigenvalues was lost")


def _extrapolated(f: System, walk: _Walk, dx: float) -> Complex | None:
    """One step of du/dx from the last two points: the cubic through both and their directions, then Newton's method.

    A fifth of what Runge and Kutta's step takes of the relation, twice. None where the curve turns too much for it.
    """
    (x0, x1), (u0, u1), (r0, r1) = walk.x[-2:], walk.u[-2:], walk.rate[-2:]
    span = x1 - x0
    t = 1 + dx / span
    u = u0 + (u1 - u0) * (t * t * (3 - 2 * t)) + span * (r0 * (t * (t - 1) ** 2) + r1 * (t * t * (t - 1)))
    step = np.abs(dx * r1)
    for _ in range(2):
        corrected = f.newton(u, x1 + dx)
        off = np.abs(corrected - u)
        u = corrected
        if not np.all(off < 0.1 * step):
            return None
        if np.all(off < 1e-2 * step):
            return u
    return None


def _mass_beyond(m: complex, m_rate: complex, sign: float) -> float:
    """What is left of a tail of the density: its value over its logarithmic derivative."""
    density, derivative = m.imag / math.pi, -sign * m_rate.imag / math.pi
    if density <= 0:
        return 0.0
    return math.inf if derivative <= 0 else density**2 / derivative


@dataclass
class _Walk:
    """Points u and ln λ along the curve, with du/d ln λ at each."""

    u: list[Complex]
    x: list[float]
    rate: list[Complex]
    faded: bool = False  # the density ran out before the edge it was walking towards


@dataclass(frozen=True)
class HardEdge:
    """An end of the support where ln λ is stationary on the real axis: u = ln w there (K), ln λ, its second derivative
    in the first u, and du/du_1 (K). Without a curvature the edge is logarithmic: x falls as t² ln t, t = u − u_edge.
    """

    u: Complex
    x: float
    curvature: float | None
    along: Complex


def _walk(
    f: System,
    start: Complex,
    x: float,
    bottom: float,
    down: bool,
    leaving: HardEdge | None,
    towards: HardEdge | None,
) -> _Walk:
    u = start
    _, rate, m, m_rate = f.at(u)
    walk = _Walk([u], [x], [rate])
    # distance to where dλ/dw = 0, by how fast it changes
    turn = abs(u[0] - leaving.u[0]) if leaving is not None else math.inf
    close = 0.1 * min(3.0, f.room(towards.u)[0]) if towards is not None else 0.0
    sign = -1.0 if down else 1.0
    for _ in range(_MAX_STEPS):
        if towards is not None and abs(u[0] - towards.u[0]) < close:
            return walk
        near = min(abs(m), abs(1 + m), abs(m - bottom))
        speed = np.abs(rate)
        length = min(_STEP * min(float((f.room(u) / speed).min()), 2 * turn / speed[0]), _NEARER * near / abs(m_rate))
        if towards is None and length < _FINE * max(1.0, abs(x)) and abs(m.imag) * length < _NEGLIGIBLE:
            # At an edge that nobody named, where the density may even grow like an inverse square root: ln λ cannot
            # tell the points beyond from one another, and they hold nothing.
            walk.faded = True
            return walk
        before, rate_before = u, rate
        reached = _extrapolated(f, walk, sign * length) if len(walk.u) > 1 else None
        if reached is not None:
            log, rate, m, m_rate = f.at(reached)
        if reached is not None and np.all(np.abs(rate - rate_before) < 0.5 * np.abs(rate_before)):
            u, x = reached, x + sign * length
        else:
            u, x = _advance(f, before, x, rate_before, sign * length)
            log, rate, m, m_rate = f.at(u)
        u = u + rate * wrapped(x - log)  # what Newton's method left
        if not (math.isfinite(x) and np.isfinite(u).all() and np.isfinite(rate).all()):
            raise NoDensity("the curve of real eigenvalues was lost")
        change = abs(1 - rate[0] / rate_before[0])  # of dx/du, as a share of what it is now
        turn = abs(u[0] - before[0]) / max(change, 1e-300)
        walk.u.append(u)
        walk.x.append(x)
        walk.rate.append(rate)
        if u[0].real < f.floor:
            walk.faded = True
            return walk
        if len(walk.u) > 4 and _mass_beyond(m, m_rate, sign) < (_NEGLIGIBLE if towards is None else _NOTHING):
            walk.faded = True
            return walk
    raise NoDensity(f"the curve of real eigenvalues did not end in {_MAX_STEPS} steps")


def trace(
    f: System,
    bottom: float,
    upper: HardEdge | tuple[Complex, float, float],
    lower: HardEdge | None = None,
) -> Curve:
    """The continuous part of the law between its edges.

    Args:
        f: the relation.
        bottom: M as λ → 0: minus the mass above 0.
        upper: the upper edge; or, where the density fades out instead of ending, (u, ln λ) of a real point above the
            support and a ln λ within the bulk, from which the curve is then followed both ways.
        lower: the edge where the law stops above 0, if it does.

    Raises:
        NoDensity: the curve did not end; reported, rather than a law that is not one.
    """
    if isinstance(upper, HardEdge):
        # the lower half of the w plane, seen from a negative or a positive w
        side = 1j if upper.u[0].imag < -1 else -1j
        away = (
            _STEP / 2 * float((f.room(upper.u) / np.abs(upper.along)).min()) if upper.curvature is not None else _NEAR
        )
        first = upper.u + side * away * upper.along
        x = float(np.real(wrapped(f.at(first)[0] - upper.x))) + upper.x
        u = _polish(f, first, x, 4)
        walk = _walk(f, u, x, bottom, True, upper, lower)
        return _fill(f, walk, upper, None if walk.faded else lower)
    u, x_far, x = upper
    # Through the lower half of the λ plane, where u is an analytic function of ln λ, from above the support into the
    # bulk.
    at = complex(x_far)
    for t in np.linspace(0, 1, 41)[1:]:
        target = x_far + (x - x_far) * t - 0.6j * math.sin(math.pi * t) * min(1.0, x_far - x)
        rate = f.at(u + (target - at) / 2 * f.at(u)[1])[1]
        u = _polish(f, u + (target - at) * rate, target, 2)
        at = target
    down = _walk(f, u, x, bottom, True, None, lower)
    up = _walk(f, u, x, bottom, False, None, None)
    if down.faded:
        lower = None
    whole = _Walk(up.u[:0:-1] + down.u, up.x[:0:-1] + down.x, up.rate[:0:-1] + down.rate)
    return _fill(f, whole, None, lower)


def _between(walk: _Walk) -> tuple[Complex, Array, Array]:
    """Gauss nodes in every step: guesses of u, ln λ, and the steps' widths.

    A guess is the quintic through the step's ends and the next point beyond, with their directions; the cubic through
    the ends alone where the walk is a single step.
    """
    w, x, d = np.array(walk.u), np.array(walk.x), np.array(walk.rate)
    dx = np.diff(x)
    nodes = x[:-1, None] + dx[:, None] * _UNIT
    span = dx[:, None]
    # divided differences at a, a, b, b, c, c
    secant = np.diff(w, axis=0) / span
    first = (secant - d[:-1]) / span
    last = (d[1:] - secant) / span
    cubic = (last - first) / span
    from_a, from_b = (nodes - x[:-1, None])[..., None], (nodes - x[1:, None])[..., None]
    guess = w[:-1, None] + from_a * (d[:-1, None] + from_a * (first[:, None] + from_b * cubic[:, None]))
    if len(x) > 2:
        # the third point of each step: the next one, or the one before the last step
        third = np.append(np.arange(2, len(x)), len(x) - 3)
        other = np.append(np.arange(1, len(dx)), len(dx) - 2)  # the step that leads there
        near, far = np.arange(len(dx)), np.arange(1, len(dx) + 1)
        near[-1], far[-1] = far[-1], near[-1]  # the last step is seen from its other end
        to_far, to_near = (x[third] - x[far])[:, None], (x[third] - x[near])[:, None]
        along = secant[other]
        side = first.copy()
        side[:-1], side[-1] = last[:-1], first[-1]  # [near, far, far]
        bend = (along - d[far]) / to_far  # [far, far, third]
        quartic = ((bend - side) / to_near - cubic) / to_near  # [near, near, far, far, third]
        turn = (d[third] - along) / to_far  # [far, third, third]
        four = ((turn - bend) / to_far - (bend - side) / to_near) / to_near  # [near, far, far, third, third]
        quintic = (four - quartic) / to_near
        both = (from_a * from_b) ** 2
        guess = guess + both * (quartic[:, None] + (nodes - x[third, None])[..., None] * quintic[:, None])
    return guess, nodes, dx


def _fill(f: System, walk: _Walk, upper: HardEdge | None, lower: HardEdge | None) -> Curve:
    """Gauss nodes in every step: in ln λ between the steps, in its square-root distance from the edge at the ends."""
    t = _UNIT[:, None]
    guess, nodes, dx = _between(walk)
    jacobian = np.broadcast_to(-dx[:, None], nodes.shape)

    def end(edge: HardEdge, u_in: Complex, x_in: float) -> tuple[Complex, Array, Array]:
        """From the edge inwards: u = u_edge − i√(2/|F''|) s + O(s²), s = √|x − x_edge|."""
        span = math.sqrt(abs(x_in - edge.x))
        if edge.curvature is None:
            lead = (u_in - edge.u) / span
        else:
            lead = -1j * math.sqrt(2 / abs(edge.curvature)) * edge.along
        if (
            edge.curvature is not None and edge.u[0].imag < -1
        ):  # w < 0: the lower half-plane lies on the other side of ln w
            lead = -lead
        quadratic = (u_in - edge.u - lead * span) / span**2
        s = span * t
        inward = math.copysign(1.0, x_in - edge.x)
        return edge.u + lead * s + quadratic * s * s, edge.x + inward * (s * s)[:, 0], (2 * s * span)[:, 0]

    if upper is not None:
        g, n, j = end(upper, walk.u[0], walk.x[0])
        guess, nodes, jacobian = np.vstack([g[None], guess]), np.vstack([n, nodes]), np.vstack([j, jacobian])
    if lower is not None:
        g, n, j = end(lower, walk.u[-1], walk.x[-1])
        guess, nodes, jacobian = (
            np.vstack([guess, g[None, ::-1]]),
            np.vstack([nodes, n[::-1]]),
            np.vstack([jacobian, j[::-1]]),
        )
    for row in ([0] if upper is not None else []) + ([-1] if lower is not None else []):
        guess[row] = _polish(f, guess[row], nodes[row], 3)  # these start from a cruder guess
    if guess.shape[-1] > 1:  # ln λ alone does not tell how far several variables are from one another's z
        guess = _polish(f, guess, nodes, 1)
    log, _, m, m_rate = f.at(guess)
    gap = wrapped(nodes - log)
    rough = ~(np.abs(gap).max(1) <= _CLOSE * np.ptp(nodes, axis=1))
    if rough.any():
        log[rough], _, m[rough], m_rate[rough] = f.at(_polish(f, guess[rough], nodes[rough], 1))
        gap = wrapped(nodes - log)
    m = m + m_rate * gap  # what is left of the guess is small enough for its square to be nothing
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
        walk.x[0] if upper is None else upper.x,
        mass,
    )
