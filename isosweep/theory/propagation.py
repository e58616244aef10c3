"""Signals at finite depth: variances and correlations layer by layer, from the inputs' own norm and correlation, and
gradients backwards.

Layers are numbered as in the networks: h^1 … h^L are the hidden pre-activations and h^{L+1} the readout. A chain of
layers is computed once for its (activation, σ_w, σ_b, input) and read off by every depth that needs it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.correlation import pair_averages

__all__ = ["Signal", "propagate"]

Array = NDArray[np.float64]

_STILL = 1e-14  # a variance that moves by less than this share has arrived


@dataclass(frozen=True)
class Signal:
    """Second moments of a wide network of depth L on two inputs s, t.

    Attributes:
        q, q_pair: (L+1) variance and covariance of the pre-activations h^1 … h^L and of the readout.
        x, x_pair: (L+1) mean square and mean product of x^0 … x^L, per unit.
        slope, slope_pair: (L) E φ'(h^l)² and E φ'(h_s^l)φ'(h_t^l).
        back, back_pair: (L+1) squared norm, and product, of ∂h^g/∂h^l for one output: q̃^l; 1 at the readout.
    """

    q: Array
    q_pair: Array
    x: Array
    x_pair: Array
    slope: Array
    slope_pair: Array
    back: Array
    back_pair: Array

    @property
    def correlation(self) -> Array:
        """(L+1) the correlation of the pre-activations in each layer."""
        with np.errstate(invalid="ignore", divide="ignore"):
            result: Array = self.q_pair / self.q
        return result


@dataclass
class _Chain:
    """The forward recursion, grown on demand."""

    activation: Activation
    sigma_w: float
    sigma_b: float
    x: list[float]
    x_pair: list[float]
    q: list[float] = field(default_factory=list)
    q_pair: list[float] = field(default_factory=list)
    slope: list[float] = field(default_factory=list)
    slope_pair: list[float] = field(default_factory=list)

    def grow(self, depth: int) -> None:
        a, b = self.sigma_w**2, self.sigma_b**2
        while len(self.q) <= depth:
            q, pair = a * self.x[-1] + b, a * self.x_pair[-1] + b
            if self.q and math.isfinite(q) and abs(q - self.q[-1]) <= _STILL * q:
                pair *= self.q[-1] / q if q > 0 else 1.0
                q = self.q[-1]
            self.q.append(q)
            self.q_pair.append(pair)
            if not (math.isfinite(q) and 1e-290 < q < 1e290):
                layer = len(self.q)
                self.q.pop(), self.q_pair.pop()
                raise OverflowError(
                    f"the variance of layer {layer} is {q:g}: "
                    f"{self.activation.label} with σ_w = {self.sigma_w:g} leaves float64"
                )
            # The pair with itself, c = 1, gives V(q) and μ_1(q) from the same evaluation.
            value, slope = pair_averages(self.activation, q, q, [pair / q, 1.0])
            self.x_pair.append(float(value[0]))
            self.x.append(float(value[1]))
            self.slope_pair.append(float(slope[0]))
            self.slope.append(float(slope[1]))


@lru_cache(maxsize=4096)
def _chain(activation: Activation, sigma_w: float, sigma_b: float, mean_square: float, correlation: float) -> _Chain:
    return _Chain(activation, sigma_w, sigma_b, [mean_square], [mean_square * correlation])


@lru_cache(maxsize=8192)
def propagate(
    activation: Activation,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    mean_square: float = 1.0,
    correlation: float = 0.0,
) -> Signal:
    """The recursions of a network with `depth` hidden layers.

    Args:
        mean_square: |x^0|²/N_0 of either input.
        correlation: x_s^0·x_t^0 over |x^0|².

    Raises:
        ValueError: depth below 1, a mean square that is not above 0, a correlation beyond ±1, or a discontinuous
            activation.
        OverflowError: the variance leaves the range of float64, which names the layer.
    """
    if depth < 1:
        raise ValueError(f"depth counts hidden layers and is 1 or more, not {depth}")
    if not (math.isfinite(mean_square) and mean_square > 0):
        raise ValueError(f"the inputs' mean square must be above 0 and finite, not {mean_square!r}")
    if not abs(correlation) <= 1:
        raise ValueError(f"the inputs' correlation must be between -1 and 1, not {correlation!r}")
    if activation.discontinuous:
        raise ValueError(f"{activation.label} is discontinuous: gradients have no finite mean square")
    chain = _chain(activation, sigma_w, sigma_b, mean_square, correlation)
    chain.grow(depth)
    slope, slope_pair = np.array(chain.slope[:depth]), np.array(chain.slope_pair[:depth])

    def back(slopes: Array) -> Array:
        with np.errstate(over="ignore"):
            result: Array = np.cumprod(np.append(sigma_w**2 * slopes, 1.0)[::-1])[::-1]
        return result

    return Signal(
        np.array(chain.q[: depth + 1]),
        np.array(chain.q_pair[: depth + 1]),
        np.array(chain.x[: depth + 1]),
        np.array(chain.x_pair[: depth + 1]),
        slope,
        slope_pair,
        back(slope),
        back(slope_pair),
    )
