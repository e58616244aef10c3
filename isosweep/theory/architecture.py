"""How a network differs from the plain chain of dense layers that the theory is of, as far as it still covers it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["PLAIN", "Architecture", "LayerFactors"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerFactors:
    """Of the layers 1 … L + 1, h = a·W x + c·b: what the parameters' gradients are multiplied by.

    Attributes:
        weights: a², squared factors of the weights.
        biases: c², of the biases; 0 where there are none.
    """

    weights: Array
    biases: Array


@dataclass(frozen=True)
class Architecture:
    """What may differ. All of it leaves the map of the variance, χ and the correlations of a chain what they were.

    Attributes:
        widths: N_1 … N_L, where they are not all the network's width.
        biases: whether there are any.
        parametrization: "standard", "ntk" or "mup", with the factors of `isosweep.networks.scaled`: the same function
            at initialisation, but for the readout of "mup", which is smaller by √N.
        readout_scale: a factor of the readout's σ_w.
        time_step: Δt of residual blocks of single Euler steps with weights of their own; None: a chain.
        images: whether the layers are convolutions of images, the inputs' dimension that of one place (the channels).
    """

    widths: tuple[int, ...] | None = None
    biases: bool = True
    parametrization: Literal["standard", "ntk", "mup"] = "standard"
    readout_scale: float = 1.0
    time_step: float | None = None
    images: bool = False

    def layer_widths(self, inputs: int, width: int, depth: int, outputs: int) -> tuple[int, ...]:
        """N_0 … N_L and C."""
        return (inputs, *(self.widths or (width,) * depth), outputs)

    def readout_gain(self, width: int) -> float:
        """What the readout's σ_w is multiplied by in the function itself."""
        return self.readout_scale / (math.sqrt(width) if self.parametrization == "mup" else 1.0)

    def factors(self, sigma_w: float, sigma_b: float, widths: tuple[int, ...]) -> LayerFactors:
        """The layers' factors, for `layer_widths`."""
        layers = len(widths) - 1
        weights, biases = np.ones(layers), np.full(layers, 1.0 if self.biases else 0.0)
        if self.parametrization == "ntk":
            weights = sigma_w**2 / np.array(widths[:-1], float)
            weights[-1] *= self.readout_scale**2
            biases *= sigma_b**2
        elif self.parametrization == "mup":
            width = widths[1]
            weights[0] *= width
            biases[0] *= width
            weights[-1] /= width
        return LayerFactors(weights, biases)


PLAIN = Architecture()
