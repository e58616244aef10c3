"""The Jacobian's law of a network as it is: at its layers' own variances, from the recursion that its inputs start.

Only inputs scaled to q* have the fixed point's law in every layer. Any others approach it, or leave it, and the laws of
φ'² follow their variances.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from isosweep.theory.averages import slope_moment
from isosweep.theory.finite_width import growth_variance, zero_mass
from isosweep.theory.jacobian_law import (
    JacobianLaw,
    Variances,
    jacobian_law,
    projection_shares,
    relative_slope_square,
)
from isosweep.theory.mean_field import variance_fixed_point, variance_map_slope
from isosweep.theory.network import Network
from isosweep.theory.propagation import propagate

__all__ = ["expected_zero_mass", "layer_variances", "leaves_fixed_point", "log_variance", "run_law"]

_AT_FIXED_POINT = 0.01
"""Layers whose multipliers' product is within this of χ^L, in its logarithm, count as being at the fixed point. Inputs
are scaled as a whole, and those measured are some of them: their mean square differs by some 0.1 % from seed to seed.
"""

_DIGITS = 4  # of the inputs' mean square, where the layers are not at the fixed point: seeds share their laws then


@lru_cache(maxsize=16384)
def layer_variances(network: Network) -> Variances:
    """q^1 … q^L from the mean square of the network's inputs; q* alone where they are all there.

    Raises:
        ValueError, OverflowError: as `propagate`.
    """
    n = network
    if n.activation.homogeneous:
        return 1.0  # φ' does not depend on it
    fixed = n.q_star or variance_fixed_point(n.activation, n.sigma_w, n.sigma_b).q_star
    signal = propagate(n.activation, n.sigma_w, n.sigma_b, n.depth, n.mean_square, n.correlation)
    if fixed and math.isfinite(fixed):
        there = slope_moment(n.activation, fixed)
        if abs(float(np.sum(np.log(signal.slope / there)))) < _AT_FIXED_POINT:
            return fixed
    square = float(f"{n.mean_square:.{_DIGITS}g}")
    return tuple(propagate(n.activation, n.sigma_w, n.sigma_b, n.depth, square).q[: n.depth].tolist())


def leaves_fixed_point(network: Network) -> bool:
    """Whether the layers are all at a fixed point that the variance map leads away from: the recursion stays there, a
    network of finite width does not.
    """
    q = layer_variances(network)
    if isinstance(q, tuple) or network.activation.homogeneous or network.depth == 1:
        return False
    return abs(variance_map_slope(network.activation, q, network.sigma_w)) > 1 + 1e-9


def log_variance(network: Network) -> float:
    """The variance of ln‖Ju‖² over seeds, to leading order in 1/width."""
    n = network
    return growth_variance(relative_slope_square(n.activation, layer_variances(n), n.depth), n.width, n.depth, n.init)


def expected_zero_mass(network: Network) -> float:
    """The share of exact zeros expected at the network's width; 0 where φ' does not vanish on an interval."""
    shares = projection_shares(network.activation, layer_variances(network), network.depth)
    if shares is None:
        return 0.0
    return zero_mass(network.width, shares if len(set(shares)) > 1 else shares[0], network.depth)


def run_law(network: Network, finite_width: bool = False) -> JacobianLaw:
    """The law at the layers' own variances, density included.

    Args:
        finite_width: for φ' of 0 or 1, let the layers' ranks differ as expected at the network's width.

    Raises:
        ValueError, NoDensity: as `jacobian_law`.
        OverflowError: as `propagate`.
    """
    n = network
    return jacobian_law(
        n.activation,
        layer_variances(n),
        n.sigma_w,
        n.depth,
        n.init,
        n.input_ratio,
        n.width if finite_width else None,
    )
