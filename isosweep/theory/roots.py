"""A bracketed root to the last bit, without the import time of scipy.optimize."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["bracketed_root"]


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
