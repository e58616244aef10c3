"""The path in the complex plane on which averages over φ'(h)² are taken, h Gaussian.

1/(w − φ'²) is needed for complex w arbitrarily close to the interval that φ'² covers, where a quadrature over real h
meets a pole beside its path. Moved to h + iκ(h), κ of the sign of dφ'²/dh, the path has every φ'² in the upper
half-plane. Its panels are narrow where φ'² turns, and where its logarithm falls fast. It ends where φ' no longer
changes, and where φ'² falls below 1e-280.

One path serves all variances of an octave, made for the least of them and as long as the largest asks for: φ' and its
derivatives are evaluated once, and a law at another variance has other weights alone. Octaves are fixed, so that a law
does not depend on which others were asked for before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation

__all__ = ["FLOOR", "SlopePath", "slope_path"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_TILT = 0.8
_PANEL_NODES, _GRADED_NODES = 12, 9
_UNIFORM = 20.0  # beyond, cos²h of a Gaussian h has the law of a uniform one to e^{−2q}
_H_PANEL, _H_REACH, _Z_PANEL, _Z_REACH = 0.4, 32.0, 0.5, 8.5
_FELT = 6.5  # standard deviations, with 1e-10 of the mass beyond
FLOOR = 1e-280  # of φ'²
_OCTAVE = 2.0  # the largest variance of those that share a path, over the least
_LONGEST = _Z_REACH * math.sqrt(_OCTAVE)  # in standard deviations of the least
_LOG_PANEL = 2.4  # of ln φ'²: some twice the distance from the path to where 1/(w − φ'²) has its pole


@dataclass(frozen=True)
class _Ends:
    """Where, in z, the path begins and ends, and what lies beyond: (φ'², z) of tails where φ' no longer changes, with 0
    for φ'² below the floor.
    """

    first: float
    last: float
    beyond: tuple[tuple[float, float], ...]

    @property
    def cuts(self) -> tuple[float, ...]:
        return tuple(z for z in (self.first, self.last) if abs(z) < _LONGEST)


def _ends(activation: Activation, q: float) -> _Ends:
    root, ends, beyond = math.sqrt(q), [], []
    for side in (-1.0, 1.0):

        def square(z: float, side: float = side) -> float:
            return float(activation.phi_prime(np.array([side * root * z]))[0]) ** 2

        far = max(square(_LONGEST), 0.0)
        curved = np.any(activation.phi_second(side * np.array([1e-3, 1.0, 2.0])) != 0)

        def over(z: float, far: float = far, of: Callable[[float], float] = square) -> bool:
            return not of(z) > FLOOR if far <= FLOOR else abs(of(z) - far) <= 1e-17 * far

        if not curved or not over(_LONGEST * (1 - 1e-3)):
            ends.append(side * _LONGEST)
            continue
        grid = np.linspace(_LONGEST, 0, 400).tolist()
        low = next((z for z in grid if not over(z)), 0.0)
        high = low + _LONGEST / 399
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if over(middle) else (middle, high)
        ends.append(side * high)
        beyond.append((far if far > FLOOR else 0.0, high))
    return _Ends(ends[0], ends[1], tuple(beyond))


def _edges(activation: Activation, q: float, turning: list[float], ends: _Ends) -> Array:
    """Panel boundaries in z: narrow in h where φ' varies, narrower still towards the turning points of φ'²."""
    root = math.sqrt(q)
    first, last = ends.first, ends.last
    reach = min(_H_REACH / root, _LONGEST)
    inner = np.linspace(-reach, reach, 2 * max(1, math.ceil(reach / min(_Z_PANEL, _H_PANEL / root))) + 1)
    outer = np.arange(reach, _LONGEST + _Z_PANEL, _Z_PANEL) if reach < _LONGEST else np.empty(0)
    special = [p / root for p in (*turning, *activation.kinks)]
    unit = min(1.0, 1 / root)
    near = [p + s * 2.0**-k * unit for p in special for k in range(2, 9) for s in (-1, 1)]
    # A zero of φ' puts eigenvalues at 0 with a density like λ^{−1/2}: the mass below w is felt down to w = 1e-14.
    zeros = [
        p for p, turn in zip(special, turning, strict=False) if abs(activation.phi_prime(np.array([turn]))[0]) < 1e-6
    ]
    # Where only φ'' jumps, the density of φ'² begins with a step: its transform has a logarithm there.
    steps = [k / root for k, jump in zip(activation.kinks, activation.slope_jumps, strict=True) if jump == 0]
    near += [p + s * 3.0**-k * unit for p in (*zeros, *steps) for k in range(5, 17) for s in (-1, 1)]
    cuts = [z - math.copysign(k * _H_PANEL / root, z) for z in ends.cuts for k in range(16)]
    edges = np.unique(np.concatenate([inner, outer, -outer, special, near, [first, last], cuts]))
    edges = edges[(edges >= first) & (edges <= last)]
    # And so narrow that ln φ'², beyond where its panels were made for, changes little within one.
    middle = (edges[1:] + edges[:-1]) / 2
    slope = activation.phi_prime(root * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(2 * activation.phi_second(root * middle) / slope) * root * np.diff(edges)
    graded = np.min([np.abs(middle - p) for p in zeros], axis=0) < 0.6 * unit if zeros else np.zeros(len(middle), bool)
    change = np.where((np.abs(middle) < _FELT * math.sqrt(_OCTAVE)) & ~graded & np.isfinite(change), change, 0.0)
    count = np.clip(np.ceil(change / _LOG_PANEL), 1, 400).astype(int)
    if np.any(count > 1):
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        edges = np.append(np.repeat(edges[:-1], count) + within * np.repeat(np.diff(edges) / count, count), last)
    kept: Array = edges[np.append(True, np.diff(edges) > 1e-11)]
    return kept


@cache
def _legendre(count: int) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def _panels(edges: Array, special: Array) -> tuple[Array, Array]:
    """Gauss nodes and weights in every panel, fewer where its neighbours narrow towards a special point outside it."""
    a, b = edges[:-1], edges[1:]
    outside = np.full(len(a), math.inf)
    for p in special:
        outside = np.minimum(outside, np.maximum(np.maximum(a - p, p - b), 0.0))
    width = b - a
    graded = np.minimum(a[1:] - a[:-1], b[1:] - b[:-1])  # narrow beside one of the neighbours
    graded = np.minimum(np.append(graded, math.inf), np.append(math.inf, graded))
    count = np.where((outside > 0.45 * width) & (graded < 0.8 * width), _GRADED_NODES, _PANEL_NODES)
    nodes, weights = [], []
    for n in (_GRADED_NODES, _PANEL_NODES):
        t, v = _legendre(n)
        middle, radius = (b + a)[count == n] / 2, width[count == n] / 2
        nodes.append((middle[:, None] + radius[:, None] * t).ravel())
        weights.append((radius[:, None] * v).ravel())
    return np.concatenate(nodes), np.concatenate(weights)


@lru_cache(maxsize=256)
def _stationary(activation: Activation, reach: float) -> tuple[float, ...]:
    """Zeros of φ' and of φ'' within reach, by bisection from a fine grid."""
    h = np.linspace(-reach, reach, 8001) + reach * 1.3e-5
    found: list[float] = []
    for f in (activation.phi_prime, activation.phi_second):
        values = f(h)
        for i in np.flatnonzero(values[1:] * values[:-1] < 0):
            a, b = h[i], h[i + 1]
            for _ in range(50):
                middle = (a + b) / 2
                if (f(np.array([middle]))[0] < 0) == (values[i] < 0):
                    a = middle
                else:
                    b = middle
            found.append(float(a))
    return tuple(found)


def _turning_points(activation: Activation, q: float) -> list[float]:
    """Where φ'² is stationary: the zeros of φ' and of φ'' within reach."""
    reach = min(_LONGEST * math.sqrt(q), _H_REACH)
    if activation.name == "sin":
        count = int(reach / (math.pi / 2))
        return [k * math.pi / 2 for k in range(-count, count + 1)]
    found: list[float] = [0.0] if activation.odd else []
    for point in _stationary(activation, min(2.0 ** math.ceil(math.log2(reach)), _H_REACH)):
        near = 1e-3 * min(1.0, math.sqrt(q))
        if abs(point) <= reach and not any(abs(point - other) < near for other in (*activation.kinks, *found)):
            found.append(point)
    return found


def _shift(activation: Activation, h: Array, q: float, meets: tuple[float, ...]) -> tuple[Array, Array]:
    """κ(h) and κ'(h): along the gradient of φ'², at most 0.4 or a third of a standard deviation, and 0 at turning
    points and where the pieces of the path meet, which are kinks and its ends. The lengths over which φ' and φ'' change
    set the scale, whichever is less. By differences which do not reach over a kink: the third derivative of φ, which
    only shapes the path, and κ' of the fourth order.
    """
    step = np.full(len(h), 1e-3 * min(1.0, math.sqrt(q)))
    for place in meets:
        step = np.minimum(step, np.abs(h - place) / 4)
    at = h + step * np.arange(-3, 4)[:, None]
    first, second = activation.phi_prime(at[1:-1]), activation.phi_second(at)
    third = (second[2:] - second[:-2]) / (2 * step)
    second, at = second[1:-1], at[1:-1]
    # TILT/√(4 + (ln φ')'² + (ln φ'')'²/2), without the quotients, and scaled before squares underflow
    largest = np.maximum(np.maximum(np.abs(first), np.abs(second)), np.maximum(np.abs(third), 1e-300))
    first, second, third = first / largest, second / largest, third / largest
    scale = np.sqrt(4 * (first * second) ** 2 + second**4 + (first * third) ** 2 / 2)
    kappa = _TILT * first * second / np.where(scale == 0, 1.0, scale)
    kappa = kappa / np.sqrt(1 + (kappa / (0.35 * math.sqrt(q))) ** 2)
    for place in meets:
        gap = (at - place) ** 2
        kappa = kappa * gap / (gap + min(0.25, q / 4))
    return kappa[2], (kappa[0] - kappa[4] + 8 * (kappa[3] - kappa[1])) / (12 * step)


@dataclass(frozen=True)
class _Octave:
    """What the variances of an octave share.

    Attributes:
        h, step: nodes on the real axis, between the ends, and their lengths over √(2π); for an odd activation the
            positive half, twice as long.
        path, tangent: the same on the path, and d path/dh.
        square, path_square: φ'² at both.
        flat: whether φ'' is 0.
        beyond: (φ'², |h|) from where on φ' no longer changes; 0 where φ'² is below `FLOOR`.
        cuts: the least and the largest h, where the path ends before the Gaussian does.
        turning: the h of `SlopePath.turns`.
    """

    h: Array
    step: Array
    path: Complex
    tangent: Complex
    square: Array
    path_square: Complex
    flat: NDArray[np.bool_]
    beyond: tuple[tuple[float, float], ...]
    cuts: tuple[float, float]
    turning: Array


@lru_cache(maxsize=64)
def _octave(activation: Activation, index: int) -> _Octave:
    """For variances from 2^index to 2^(index + 1)."""
    q = _OCTAVE**index
    root = math.sqrt(q)
    turning, ends = _turning_points(activation, q), _ends(activation, q)
    edges = _edges(activation, q, turning, ends)
    z, step = _panels(edges, np.array([p / root for p in (*turning, *activation.kinks)]))
    if activation.odd:  # φ'² is even
        keep = z > 0
        z, step = z[keep], 2 * step[keep]
    h = root * z
    kappa, kappa_prime = _shift(activation, h, q, (*activation.kinks, *(root * z for z in ends.cuts)))
    path: Complex = np.asarray(h + 1j * kappa, complex)
    beside = [float(np.nextafter(kink, side)) for kink in activation.kinks for side in (-math.inf, math.inf)]
    return _Octave(
        h,
        root * step / math.sqrt(2 * math.pi),
        path,
        np.asarray(1 + 1j * kappa_prime, complex),
        activation.phi_prime(h) ** 2,
        activation.phi_prime(path) ** 2,
        activation.phi_second(h) == 0,
        tuple((y, root * z) for y, z in ends.beyond),
        (root * ends.first, root * ends.last),
        np.array([*turning, *beside]),
    )


@dataclass(frozen=True)
class SlopePath:
    """Nodes for E f(φ'(√q z)²).

    Attributes:
        square, mass: φ'² on the real axis, between the ends, and the mass of each node.
        path_square, weights: the same on the path: Σ weights f(path_square) + Σ tails m f(y) = E f, up to the dead
            mass.
        flat: whether φ' does not change at a node.
        tails: (φ'², mass) of ends where φ' no longer changes.
        dead: the mass where φ'² is below `FLOOR`.
        turns: φ'² where its law is not smooth: at its stationary points, at kinks, and at the ends.
    """

    square: Array
    mass: Array
    path_square: Complex
    weights: Complex
    flat: NDArray[np.bool_]
    tails: tuple[tuple[float, float], ...]
    dead: float
    turns: Array


def slope_path(activation: Activation, q: float) -> SlopePath:
    """The path for a continuous φ' at variance `q`."""
    if activation.name == "sin":
        q = min(q, _UNIFORM)
    shared = _octave(activation, math.floor(math.log2(q)))
    root = math.sqrt(q)
    reach = _Z_REACH * root
    felt = np.abs(shared.h) <= reach
    ends = np.clip(np.array(shared.cuts), -reach, reach)
    turning = shared.turning[np.abs(shared.turning) <= reach]
    tails = [(y, math.erfc(h / (root * math.sqrt(2))) / 2) for y, h in shared.beyond]
    step = shared.step[felt] / root
    return SlopePath(
        shared.square[felt],
        step * np.exp(-(shared.h[felt] ** 2) / (2 * q)),
        shared.path_square[felt],
        step * np.exp(-(shared.path[felt] ** 2) / (2 * q)) * shared.tangent[felt],
        shared.flat[felt],
        tuple((y, mass) for y, mass in tails if y > 0),
        sum(mass for y, mass in tails if y == 0),
        activation.phi_prime(np.append(turning, ends)) ** 2,
    )
