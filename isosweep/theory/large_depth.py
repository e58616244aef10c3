"""The Jacobian's edges as depth grows with σ_0² = lim σ² held fixed, orthogonal weights at criticality (Pennington et
al. 2018).
"""

from __future__ import annotations

import math

__all__ = ["bernoulli_limit", "smooth_limit"]


def smooth_limit(sigma_0: float) -> tuple[float, float]:
    """(λ_min, λ_max) for smooth φ: [1 + ½σ_0(σ_0 ± r)]·exp[½σ_0(±r − σ_0)], r = √(σ_0² + 4); 1 and 1 at σ_0 = 0."""
    if not sigma_0 >= 0:
        raise ValueError(f"σ_0 is 0 or above, not {sigma_0!r}")
    r = math.sqrt(sigma_0**2 + 4)

    def edge(sign: float) -> float:
        return (1 + sigma_0 * (sigma_0 + sign * r) / 2) * math.exp(sigma_0 * (sign * r - sigma_0) / 2)

    return edge(-1.0), edge(1.0)


def bernoulli_limit(sigma_0: float) -> tuple[float, float]:
    """(λ_max, atom's mass) for φ' of 0 or 1: e·σ_0² without an atom if σ_0 ≥ 1, else an atom 1 − σ_0² at e^{σ_0²}."""
    if not sigma_0 >= 0:
        raise ValueError(f"σ_0 is 0 or above, not {sigma_0!r}")
    if sigma_0 >= 1:
        return math.e * sigma_0**2, 0.0
    return math.exp(sigma_0**2), 1 - sigma_0**2
