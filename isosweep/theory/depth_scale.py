"""How far signals travel: the depth scales ξ_q, ξ_c, ξ_∇ and the phase of a wide network (Schoenholz et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from isosweep.theory.activations import Activation
from isosweep.theory.correlation import correlation_fixed_point, correlation_slope
from isosweep.theory.mean_field import gradient_multiplier, variance_map_slope

__all__ = ["CRITICAL_WITHIN", "DepthScales", "Phase", "depth_scales", "phase"]

Phase = Literal["ordered", "critical", "chaotic"]

CRITICAL_WITHIN = 1e-9
"""How near to 1 a multiplier counts as 1: gains are often typed with ten digits, and a depth of 1e9 is endless."""


def phase(chi: float) -> Phase:
    """ "ordered" for χ < 1 (inputs become alike), "critical" at 1, "chaotic" above (gradients explode)."""
    if abs(chi - 1) <= CRITICAL_WITHIN:
        return "critical"
    return "ordered" if chi < 1 else "chaotic"


def depth_scale(multiplier: float) -> float:
    """The number of layers in which a deviation multiplied by `multiplier` per layer falls by e; infinite at 1, 0 at 0.

    A negative multiplier's deviations alternate in sign and fall by its absolute value; above 1 they grow, and the
    scale is that of growth.
    """
    size = abs(multiplier)
    if abs(size - 1) <= CRITICAL_WITHIN:
        return math.inf
    return 0.0 if size == 0 else 1 / abs(math.log(size))


@dataclass(frozen=True)
class DepthScales:
    """The depth scales at a fixed point, in layers; infinite where the approach is algebraic.

    Attributes:
        chi: the gradient multiplier.
        c_star: the correlation that two inputs tend to.
        xi_q: of the variance, 1/ξ_q = −ln(χ + σ_w² E[φ''φ]).
        xi_c: of the correlation, 1/ξ_c = −ln(σ_w² E[φ'(u)φ'(v)]) at c*.
        xi_grad: of squared gradients, 1/|ln χ|.
        phase: ordered, critical or chaotic.
    """

    chi: float
    c_star: float
    xi_q: float
    xi_c: float
    xi_grad: float
    phase: Phase


def depth_scales(activation: Activation, q: float, sigma_w: float, sigma_b: float) -> DepthScales:
    """The depth scales at the fixed point `q` (above 0 and finite) of (σ_w, σ_b).

    Raises:
        ValueError: q is not above 0 and finite, or the activation is discontinuous.
    """
    if not (math.isfinite(q) and q > 0):
        raise ValueError(f"depth scales need a fixed point above 0 and finite, not q = {q!r}")
    chi = gradient_multiplier(activation, q, sigma_w)
    if not math.isfinite(chi):
        raise ValueError(f"{activation.label} is discontinuous: χ is infinite and there are no depth scales")
    c_star = correlation_fixed_point(activation, q, sigma_w, sigma_b)
    along_c = chi if c_star == 1 else float(correlation_slope(activation, q, c_star, sigma_w))
    return DepthScales(
        chi,
        c_star,
        depth_scale(variance_map_slope(activation, q, sigma_w)),
        depth_scale(along_c),
        depth_scale(chi),
        phase(chi),
    )
