"""Mean field of residual networks, x^{l+1} = x^l + Δt·φ(W^{l+1} x^l + b^{l+1}), by Euler steps with fresh weights each.

At infinite width the units of x^l and of h^{l+1} are independent given the layer before, so that (Yang and Schoenholz
2017 for Δt = 1, extended by the mean m of x, which an activation that is not odd has)

    q_h = σ_w² q_x + σ_b²,    q_x ← q_x + 2Δt m E φ(h) + Δt² E φ(h)²,    m ← m + Δt E φ(h),
    p_x ← p_x + Δt m (E φ(h_s) + E φ(h_t)) + Δt² E φ(h_s)φ(h_t),

and the mean square singular value of the Jacobian is multiplied by 1 + Δt² σ_w² E φ'(h)² in each block: it grows with
depth at any σ_w, as 1 + O(L Δt²). Where φ is not odd, one singular value stands out of this mean: that along x, which
grows as |x|² does; at finite width its square over N may rule the mean square. A block whose several steps share their
weights is not covered.

Backwards, with b^L = σ_w² at the last state and b^{l−1} = b^l (1 + Δt² σ_w² E φ'²), one output's squared gradient at
h^l is Δt² E φ'(h^l)² b^l, and in the first, dense, layer E φ'² b^1; likewise for a pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.averages import mean_value, second_moment, slope_moment
from isosweep.theory.correlation import pair_averages

__all__ = ["ResidualSignal", "propagate_residual", "residual_growth_variance"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResidualSignal:
    """Moments along a residual network of L layers, the first of them dense, at two inputs of one norm.

    Attributes:
        q: (L + 1) variance of the pre-activations h^1 … h^L and of the readout.
        correlation: (L + 1) of the two inputs' pre-activations.
        x: (L + 1) mean square of x^0 … x^L.
        log_jacobian: (L) ln of the mean squared singular value, over N_0 columns, of ∂x^l/∂x^0, l = 1 … L.
        x_pair: (L + 1) mean product of the two inputs' x^0 … x^L.
        back, back_pair: (L + 1) squared norm, and product, of ∂h^g/∂h^l for one output; 1 at the readout.
        slope: (L) E φ'(h^l)².
    """

    q: Array
    correlation: Array
    x: Array
    log_jacobian: Array
    x_pair: Array
    back: Array
    back_pair: Array
    slope: Array


def propagate_residual(
    activation: Activation,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    mean_square: float,
    correlation: float = 0.0,
    time_step: float = 1.0,
) -> ResidualSignal:
    """The recursion, from inputs with mean |x|²/N_0 = `mean_square` and this correlation.

    Raises:
        ValueError: a depth below 1, a time step that is not positive, a variance that overflows.
    """
    if depth < 1:
        raise ValueError(f"a network has at least one layer, got depth {depth}")
    if not time_step > 0:
        raise ValueError(f"the time step Δt must be positive, got {time_step}")
    a, b = sigma_w**2, sigma_b**2
    mean, x, pair = 0.0, mean_square, mean_square * correlation
    qs, correlations, squares, logs = [], [], [x], []
    products, slopes, slope_pairs = [pair], [], []
    log_jacobian = 0.0
    for layer in range(1, depth + 1):
        q, q_pair = a * x + b, a * pair + b
        if not math.isfinite(q):
            raise ValueError(f"the variance overflows in layer {layer}")
        c = min(1.0, max(-1.0, q_pair / q)) if q > 0 else 1.0
        qs.append(q)
        correlations.append(c)
        phi, square, slope = mean_value(activation, q), second_moment(activation, q), slope_moment(activation, q)
        product, slope_pair = (float(np.squeeze(part)) for part in pair_averages(activation, q, q, c))
        if layer == 1:  # a dense layer
            mean, x, pair = phi, square, product
            growth = a * slope
        else:
            x += 2 * time_step * mean * phi + time_step**2 * square
            pair += 2 * time_step * mean * phi + time_step**2 * product
            mean += time_step * phi
            growth = 1 + time_step**2 * a * slope
        log_jacobian += math.log(growth) if growth > 0 else -math.inf
        squares.append(x)
        products.append(pair)
        slopes.append(slope)
        slope_pairs.append(slope_pair)
        logs.append(log_jacobian)
    q, q_pair = a * x + b, a * pair + b
    qs.append(q)
    correlations.append(min(1.0, max(-1.0, q_pair / q)) if q > 0 else 1.0)
    return ResidualSignal(
        np.array(qs),
        np.array(correlations),
        np.array(squares),
        np.array(logs),
        np.array(products),
        _back(slopes, a, time_step),
        _back(slope_pairs, a, time_step),
        np.array(slopes),
    )


def _back(slopes: list[float], a: float, time_step: float) -> Array:
    """(L + 1) of ∂h^g/∂h^l from E φ'(h^l)², or from E φ'(h_s^l)φ'(h_t^l)."""
    state, back = a, [1.0]
    with np.errstate(over="ignore"):
        for layer in range(len(slopes) - 1, -1, -1):
            slope = slopes[layer]
            back.append(state * slope * (time_step**2 if layer else 1.0))
            state *= 1 + time_step**2 * a * slope
    return np.array(back[::-1])


def residual_growth_variance(
    activation: Activation, signal: ResidualSignal, sigma_w: float, width: int, time_step: float, init: str
) -> float:
    """The variance over seeds of ln‖Ju‖² to leading order in 1/N, weights alone.

    A block multiplies ‖u‖² by 1 + 2Δt û·DWû + Δt²|DWû|², whose variance is (4s + s²(3μ_2/μ_1² − 1))/N with
    s = Δt² σ_w² μ_1 (−3 for orthogonal weights), against a mean of 1 + s; the first layer is dense.
    """
    less = 1 if init == "gaussian" else 3
    total = 0.0
    for layer, (q, first) in enumerate(zip(signal.q, signal.slope, strict=False)):
        own = max(0.0, 3 * slope_moment(activation, float(q), 2) / first**2 - less) if first > 0 else 0.0
        share = time_step**2 * sigma_w**2 * first
        total += own if layer == 0 else (4 * share + share**2 * own) / (1 + share) ** 2
    return total / width
