"""A spectral density as the boundary value of an analytic relation, followed along the curve on which the eigenvalue is real.

Free products (and free products with shifts) give the eigenvalue λ and M = E[λ'/(λ − λ')] as explicit functions of an auxiliary complex w. From
the upper edge, where dλ/dw = 0 on the real axis, the curve of real λ leaves into the lower half-plane; on it the density of ln λ is Im M/π. The
curve is stepped along coarsely, then filled with Gauss nodes in ln λ, all polished together by Newton's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Evaluation", "trace"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

Evaluation = Callable[[Any], tuple[Any, Any, Any, Any]]
"""w ↦ (ln λ up to 2πi, its derivative, M, its derivative)."""

_STEP = 0.3
_NODES = 6
_NEGLIGIBLE = 1e-10  # density of ln λ, at which an exponential tail is cut
_MAX_STEPS = 600

_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(_NODES)
_UNIT, _UNIT_WEIGHTS = (_GAUSS + 1) / 2, _GAUSS_WEIGHTS / 2
_VANDERMONDE = np.vander(_UNIT, _NODES, increasing=True)
# Row i integrates the polynomial through the six nodes from 0 to node i.
_PARTIAL = (_UNIT[:, None] ** np.arange(1, _NODES + 1) / np.arange(1, _NODES + 1)) @ np.linalg.inv(_VANDERMONDE)


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


def _polish(f: Evaluation, w: Any, x: Any, rounds: int) -> Any:
    for _ in range(rounds):
        value, slope, _, _ = f(w)
        w = w - _residual(value, x) / slope
    return w


def trace(
    f: Evaluation,
    edge: float,
    edge_x: float,
    curvature: float,
    special: list[float],
    bottom: float,
    lower_edge: tuple[float, float, float] | None = None,
) -> Curve:
    """The continuous part below the upper edge.

    Args:
        f: the relation, for scalars and arrays.
        edge, edge_x: the real w of the upper edge, and ln λ there.
        curvature: d² ln λ/dw² there, above 0; 0 if the edge is not a stationary point but the end of w's own cut.
        special: real points where the relation is singular; steps shrink in proportion to the distance from them.
        bottom: M as λ → 0: minus the mass above 0.
        lower_edge: (w, ln λ, d² ln λ/dw²) where the law stops above 0.

    Raises:
        RuntimeError: the curve did not end; reported, rather than a law that is not one.
    """
    singular = np.array(special)

    def room(w: complex) -> float:
        others = np.abs(singular - w)
        return float(others[others > 0].min()) if len(others) else abs(w)

    if curvature > 0:
        first = edge - 1j * _STEP / 2 * room(edge)
        x = float(np.real(_residual(f(first)[0], edge_x))) + edge_x
        w = complex(_polish(f, first, x, 4))
    else:
        w, x = complex(edge), edge_x
    points = [(w, x)]
    slopes = [1 / f(w)[1]]
    for _ in range(_MAX_STEPS):
        _, slope, m, m_slope = f(w)
        near = min(abs(m), abs(1 + m), abs(m - bottom))
        length = _STEP * min(room(w), near / abs(m_slope))
        if lower_edge is not None and abs(w - lower_edge[0]) < 0.4 * room(lower_edge[0]):
            break
        dx = -length * abs(slope)
        k1 = 1 / slope
        k2 = 1 / f(w + dx / 2 * k1)[1]
        k3 = 1 / f(w + dx / 2 * k2)[1]
        k4 = 1 / f(w + dx * k3)[1]
        x += dx
        w = complex(_polish(f, w + dx / 6 * (k1 + 2 * k2 + 2 * k3 + k4), x, 2))
        value, slope, m, _ = f(w)
        points.append((w, x))
        slopes.append(1 / slope)
        if not (math.isfinite(x) and np.isfinite(w)):
            raise RuntimeError("the curve of real eigenvalues was lost")
        if m.imag < _NEGLIGIBLE * math.pi and len(points) > 4 and abs(m - bottom) < 1e-3 and lower_edge is None:
            break
    else:
        raise RuntimeError(f"the curve of real eigenvalues did not end in {_MAX_STEPS} steps")
    return _fill(f, points, slopes, edge, edge_x, curvature, lower_edge)


def _fill(
    f: Evaluation,
    points: list[tuple[complex, float]],
    slopes: list[complex],
    edge: float,
    edge_x: float,
    curvature: float,
    lower_edge: tuple[float, float, float] | None,
) -> Curve:
    """Gauss nodes in every step: in ln λ between the steps, in its square-root distance from the edge at the ends."""
    w = np.array([p[0] for p in points])
    x = np.array([p[1] for p in points])
    d = np.array(slopes)
    dx = np.diff(x)
    t = _UNIT
    h00, h10 = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2
    h01, h11 = t**2 * (3 - 2 * t), t**2 * (t - 1)
    guess = (
        w[:-1, None] * h00 + (dx * d[:-1])[:, None] * h10 + w[1:, None] * h01 + (dx * d[1:])[:, None] * h11
    )
    nodes = x[:-1, None] + dx[:, None] * t
    jacobian = np.broadcast_to(-dx[:, None], nodes.shape)

    def end(w_edge: float, x_edge: float, second: float, w_in: complex, x_in: float) -> tuple[Complex, Array, Array]:
        """From the edge inwards: w = w_edge ∓ i√(2/|F''|) s + O(s²), s = √|x − x_edge|."""
        span = math.sqrt(abs(x_in - x_edge))
        lead = -1j * math.sqrt(2 / abs(second))
        quadratic = (w_in - w_edge - lead * span) / span**2
        s = span * t
        inward = math.copysign(1.0, x_in - x_edge)
        return w_edge + lead * s + quadratic * s * s, x_edge + inward * s * s, 2 * s * span

    if curvature > 0:
        g, n, j = end(edge, edge_x, curvature, points[0][0], points[0][1])
        guess, nodes, jacobian = np.vstack([g, guess]), np.vstack([n, nodes]), np.vstack([j, jacobian])
    lower = -math.inf
    if lower_edge is not None:
        g, n, j = end(lower_edge[0], lower_edge[1], lower_edge[2], points[-1][0], points[-1][1])
        guess, nodes, jacobian = (
            np.vstack([guess, g[::-1]]),
            np.vstack([nodes, n[::-1]]),
            np.vstack([jacobian, j[::-1]]),
        )
        lower = lower_edge[1]
    w_nodes = _polish(f, guess, nodes, 4)
    m = f(w_nodes)[2]
    density = np.maximum(m.imag / math.pi, 0.0)
    per_unit = density * jacobian  # the integrand in the unit variable of each step
    per_step = per_unit @ _UNIT_WEIGHTS
    above = np.concatenate([[0.0], np.cumsum(per_step)[:-1]])[:, None] + per_unit @ _PARTIAL.T
    if lower_edge is not None:  # that step's nodes run in the other direction of its own variable
        last = per_unit[-1][::-1] @ _PARTIAL.T
        above[-1] = per_step.sum() - last[::-1]
    mass = float(per_step.sum())
    order = slice(None, None, -1)
    return Curve(
        nodes.ravel()[order],
        (per_unit * _UNIT_WEIGHTS).ravel()[order],
        density.ravel()[order],
        mass - above.ravel()[order],
        lower,
        edge_x,
        mass,
    )
