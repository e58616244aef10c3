"""Few variances that stand for a network's many: Gauss's quadrature rule of the layers' own.

Whatever a law takes from the layers is a sum over them, Σ_l f(q_l), of a function that is smooth in ln q. The layers'
variances are a discrete measure, and its Gauss rule of K points, from the Lanczos recurrence (Golub & Welsch 1969),
has that sum exactly for polynomials up to degree 2K − 1. Chains run into their fixed point, so that K stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["variance_rule"]

_SMALL = 1e-3
"""Variances below this, or below this share of the largest, are the less told apart: there a law differs from that of
a linear network by O(q).
"""

_LINEAR = 1e-14  # a network of smaller variances is linear to rounding

_RADIUS = 2.5
"""About how far from the real axis, in ln q, the laws' transforms are analytic."""

_ERROR = 1e-5
"""Of the estimate Σ_l Π(t_l − t_k)²/radius^{2K}: edges and variances then agree with those of all layers to 1e-7."""


def variance_rule(variances: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(q_k, count_k) whose counts sum to the number of variances; one of each where they are all the same.

    Raises:
        ValueError: no variances, or one that is not above 0 and finite.
    """
    q = np.asarray(variances, float)
    if not len(q):
        raise ValueError("a rule for no layers")
    if not (np.all(q > 0) and np.all(np.isfinite(q))):
        raise ValueError(f"variances are above 0 and finite, not {q.tolist()}")
    q = np.maximum(q, _LINEAR)
    floor = _SMALL * min(1.0, float(q.max()))
    t = np.log(q + floor)
    if np.ptp(t) < 1e-9:
        return ((float(q.max() if q.min() == q.max() else q.mean()), float(len(q))),)
    basis = [np.full(len(t), len(t) ** -0.5)]
    alpha: list[float] = []
    beta: list[float] = []
    missed = float(len(t))  # Σ_l of the square of the monic polynomial that vanishes at the nodes
    while True:
        v = t * basis[-1]
        alpha.append(float(basis[-1] @ v))
        for _ in range(2):
            for known in basis:
                v = v - (known @ v) * known
        norm = float(np.sqrt(v @ v))
        missed *= (norm / _RADIUS) ** 2
        if missed < _ERROR or norm < 1e-12 or len(alpha) == len(t):
            break
        beta.append(norm)
        basis.append(v / norm)
    nodes, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    at = np.clip(np.exp(nodes) - floor, q.min(), q.max())
    counts = len(t) * vectors[0] ** 2
    return tuple((float(a), float(c)) for a, c in zip(at, counts, strict=True) if c > 1e-13)
