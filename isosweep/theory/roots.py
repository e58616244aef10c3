"""A bracketed root to the last bit, and a minimum, without the import time of scipy.optimize."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["bracketed_minimum", "bracketed_root"]

_GOLDEN = (3 - math.sqrt(5)) / 2


def bracketed_root(
    f: Callable[[float], float],
    a: float,
    b: float,
    fa: float | None = None,
    fb: float | None = None,
    rtol: float = 1e-15,
) -> float:
    """A root of the continuous function `f` between `a` and `b`, where its signs differ.

    Chandrupatla's method (Adv. Eng. Software 28, 1997): inverse quadratic interpolation where it is trustworthy,
    bisection elsewhere. Deterministic: the same bracket gives the same bits.

    Raises:
        ValueError: the signs at `a` and `b` are the same.
    """
    fa = f(a) if fa is None else fa
    fb = f(b) if fb is None else fb
    if fa == 0:
        return a
    if fb == 0:
        return b
    if not (fa < 0) != (fb < 0):
        raise ValueError(f"no change of sign between {a!r} and {b!r}: {fa!r} and {fb!r}")
    c, fc = a, fa
    t = 0.5
    for _ in range(200):
        x = a + t * (b - a)
        fx = f(x)
        if (fx < 0) == (fa < 0):
            c, fc = a, fa
        else:
            c, b, fc, fb = b, a, fb, fa
        a, fa = x, fx
        best, fbest = (a, fa) if abs(fa) < abs(fb) else (b, fb)
        if fbest == 0:
            return best
        tolerance = rtol * abs(best) + 5e-324
        limit = tolerance / abs(b - a) if b != a else 1.0
        if limit > 0.5:
            return best
        xi = (a - b) / (c - b)
        phi = (fa - fb) / (fc - fb)
        if phi**2 < xi and (1 - phi) ** 2 < 1 - xi:
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
            if not math.isfinite(t):
                t = 0.5
        else:
            t = 0.5
        t = min(1 - limit, max(limit, t))
    return best


def bracketed_minimum(f: Callable[[float], float], a: float, b: float, tolerance: float = 1e-9) -> tuple[float, float]:
    """Where the continuous function `f` is least between `a` and `b`, and its value there; a local minimum.

    Brent's method (Algorithms for Minimization without Derivatives, 1973): the parabola through the three best points
    where it is trustworthy, golden sections elsewhere. Deterministic. The minimum's place is known to the larger of
    `tolerance` and the square root of f's rounding, its value to rounding.
    """
    x = w = v = a + _GOLDEN * (b - a)
    fx = fw = fv = f(x)
    step = before = 0.0
    for _ in range(100):
        middle = (a + b) / 2
        if abs(x - middle) + (b - a) / 2 <= 2 * tolerance:
            break
        p = q = 0.0
        if abs(before) > tolerance:
            r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
            p, q = (x - v) * q - (x - w) * r, 2 * (q - r)
            p, q = (-p, q) if q > 0 else (p, -q)
        if abs(p) < abs(q * before / 2) and q * (a - x) < p < q * (b - x):
            before, step = step, p / q
        else:
            before = (b if x < middle else a) - x
            step = _GOLDEN * before
        u = x + (step if abs(step) >= tolerance else math.copysign(tolerance, step))
        fu = f(u)
        if fu <= fx:
            a, b = (a, x) if u < x else (x, b)
            v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
        else:
            a, b = (u, b) if u < x else (a, u)
            if fu <= fw or w == x:
                v, fv, w, fw = w, fw, u, fu
            elif fu <= fv or v in (x, w):
                v, fv = u, fu
    return x, fx
