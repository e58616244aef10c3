"""The law that theory predicts for the Jacobian of a run, from its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from isosweep.report.axes import plain

if TYPE_CHECKING:
    from isosweep.theory.jacobian_law import JacobianLaw

__all__ = ["Predicted", "predicted_law"]


@dataclass(frozen=True)
class Predicted:
    """The law, or None and why there is none."""

    law: JacobianLaw | None
    q: float = math.nan
    reason: str = ""


def _number(settings: Mapping[str, Any], name: str) -> float | None:
    value = plain(settings.get(name))
    return None if value is None else float(value)


def predicted_law(settings: Mapping[str, Any]) -> Predicted:
    """The law of ∂x^L/∂x^0 at the fixed point q* of these settings.

    It is the wide limit; only the counts of active units of relu and hard_tanh, which set the rank, are those expected
    at this width. The input dimension is taken as the width where the tables do not have it.
    """
    from isosweep.theory.activations import activation
    from isosweep.theory.jacobian_law import jacobian_law
    from isosweep.theory.mean_field import variance_fixed_point

    gain, bias, depth, width = (_number(settings, name) for name in ("gain", "bias_std", "depth", "width"))
    init, name = plain(settings.get("init")), plain(settings.get("activation"))
    if gain is None or bias is None or depth is None or width is None or name is None:
        return Predicted(None, reason="its gain, biases, depth, width or activation are not in the table")
    if init not in ("orthogonal", "gaussian"):
        return Predicted(None, reason=f"the law is known for orthogonal and gaussian weights, not for {init}")
    inputs = _number(settings, "data_inputs") or width
    try:
        phi = activation(str(name), _number(settings, "negative_slope"))
        if phi.homogeneous:
            q = 1.0  # φ' does not depend on q
        else:
            point = variance_fixed_point(phi, gain, bias)
            if point.q_star is None or not 0 < point.q_star < math.inf:
                return Predicted(None, reason=point.explain())
            q = point.q_star
        kind = cast(Literal["orthogonal", "gaussian"], init)
        law = jacobian_law(phi, q, gain, int(depth), kind, inputs / width, int(width))
    except (ValueError, KeyError, RuntimeError, ArithmeticError) as error:
        return Predicted(None, reason=str(error))
    return Predicted(law, q)
