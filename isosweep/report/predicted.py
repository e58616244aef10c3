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
    """The law and the last layer's variance; or None and why there is none."""

    law: JacobianLaw | None
    q: float = math.nan
    reason: str = ""


def _number(settings: Mapping[str, Any], name: str) -> float | None:
    value = plain(settings.get(name))
    return None if value is None else float(value)


def _not_of_a_chain(settings: Mapping[str, Any]) -> str:
    """Why the law of a chain of dense layers of one width is not that of this network; empty where it is."""
    kind, normalization = plain(settings.get("architecture")), plain(settings.get("normalization"))
    if kind not in (None, "dense"):
        return f"no law for the whole spectrum of {kind} networks"
    if normalization not in (None, "none"):
        return f"no law with {normalization} normalisation"
    named = {"tied": "tied layers", "weight_bits": "quantised weights", "activation_bits": "quantised activations"}
    named["widths"] = "uneven widths, but for its edge"
    return next((f"no law for {words}" for key, words in named.items() if plain(settings.get(key))), "")


def predicted_law(settings: Mapping[str, Any]) -> Predicted:
    """The law of ∂x^L/∂x^0 of a run, at its layers' own variances.

    They follow from the mean square of the run's inputs; where the tables do not have it, and without biases or with
    a homogeneous activation, every layer is taken to be at the fixed point q*. It is the wide limit; only the counts of
    active units of relu and hard_tanh, which set the rank, are those expected at this width. The input dimension is
    taken as the width where the tables do not have it.
    """
    from isosweep.theory.activations import activation
    from isosweep.theory.mean_field import variance_fixed_point
    from isosweep.theory.network import Network
    from isosweep.theory.run_jacobian import layer_variances, leaves_fixed_point, run_law

    gain, bias, depth, width = (_number(settings, name) for name in ("gain", "bias_std", "depth", "width"))
    init, name = plain(settings.get("init")), plain(settings.get("activation"))
    reason = _not_of_a_chain(settings)
    if reason:
        return Predicted(None, reason=reason)
    if gain is None or bias is None or depth is None or width is None or name is None:
        return Predicted(None, reason="its gain, biases, depth, width or activation are not in the table")
    if init not in ("orthogonal", "gaussian"):
        return Predicted(None, reason=f"the law is known for orthogonal and gaussian weights, not for {init}")
    square, q_star = _number(settings, "input_mean_square"), _number(settings, "q_star")
    inputs = int(_number(settings, "data_inputs") or width)
    try:
        phi = activation(str(name), _number(settings, "negative_slope"))
        if square is None:
            point = variance_fixed_point(phi, gain, bias)
            q_star = point.q_star
            if not phi.homogeneous and (q_star is None or not 0 < q_star < math.inf):
                return Predicted(None, reason=point.explain())
            square = 1.0 if phi.homogeneous or q_star is None else (q_star - bias**2) / gain**2
        kind = cast(Literal["orthogonal", "gaussian"], init)
        network = Network(
            phi, gain, bias, int(depth), int(width), kind, q_star, inputs=inputs, mean_square=float(f"{square:.12g}")
        )
        if leaves_fixed_point(network):
            return Predicted(None, reason="its layers are at an unstable fixed point, which finite networks leave")
        law = run_law(network, finite_width=True)
        q = layer_variances(network)
    except (ValueError, KeyError, RuntimeError, ArithmeticError) as error:
        return Predicted(None, reason=str(error))
    return Predicted(law, q[-1] if isinstance(q, tuple) else q)
