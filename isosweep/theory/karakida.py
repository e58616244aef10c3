"""Fisher information of a wide network, Gaussian likelihood: its eigenvalues' mean, second moment and maximum
(Karakida, Akaho & Amari 2019).

Two sums over the layers carry it, κ_1 for one input and κ_2 for a pair, each of forward mean squares times backward
ones. Weights only: the biases' share is smaller by the width. The C largest eigenvalues coincide in this limit; at
finite width they spread about it, and their mean is the sharper test. It needs κ_2 > 0: without biases, an odd
activation on uncorrelated inputs has no such outliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.propagation import propagate

__all__ = ["KarakidaFisher", "fisher_growth", "karakida", "kernel_ratio"]


@dataclass(frozen=True)
class KarakidaFisher:
    """The law of the Fisher spectrum over n samples and C outputs.

    Attributes:
        kappa_1, kappa_2: the layer sums of one input and of a pair.
        alpha: Σ_l α_l α_{l−1} over the hidden layers; the number of weights is about αM².
        mean: the mean of all αM² eigenvalues, κ_1 C/M.
        second_moment: their mean square, αC[((n−1)/n) κ_2² + κ_1²/n].
        lambda_max: αM[((n−1)/n) κ_2 + κ_1/n], C-fold.
    """

    kappa_1: float
    kappa_2: float
    alpha: float
    mean: float
    second_moment: float
    lambda_max: float

    @property
    def learning_rate_max(self) -> float:
        """2/λ_max: above it gradient descent leaves the minimum that this Fisher matrix describes."""
        return 2 / self.lambda_max if self.lambda_max > 0 else float("inf")


def _sums(
    activation: Activation, sigma_w: float, sigma_b: float, depth: int, ratio: float, mean_square: float, c: float
) -> tuple[float, float, float]:
    """κ_1, κ_2 and α."""
    signal = propagate(activation, sigma_w, sigma_b, depth, mean_square, c)
    before = np.ones(depth + 1)
    before[0] = ratio  # α_{l−1}: the layer below, in units of the width
    alpha = ratio + depth - 1
    one = float(np.sum(before * signal.back * signal.x)) / alpha
    two = float(np.sum(before * signal.back_pair * signal.x_pair)) / alpha
    return one, two, alpha


def karakida(
    activation: Activation,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    width: int,
    *,
    samples: int,
    outputs: int,
    inputs: int | None = None,
    mean_square: float = 1.0,
    correlation: float = 0.0,
) -> KarakidaFisher:
    """κ_1, κ_2 and what follows from them for `depth` hidden layers of `width` units and a linear readout.

    Args:
        samples, outputs: n and C.
        inputs: the input dimension; the width if None.
        mean_square: |x^0|²/N_0 of the inputs; the paper's is 1.
        correlation: of two different inputs; the paper's is 0.

    Raises:
        ValueError: a count below 1, or what `propagate` refuses.
        OverflowError: as `propagate`.
    """
    for name, value in (("width", width), ("samples", samples), ("outputs", outputs), ("inputs", inputs)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
    ratio = (inputs or width) / width
    one, two, alpha = _sums(activation, sigma_w, sigma_b, depth, ratio, mean_square, correlation)
    n = samples
    return KarakidaFisher(
        one,
        two,
        alpha,
        one * outputs / width,
        alpha * outputs * ((n - 1) / n * two**2 + one**2 / n),
        alpha * width * ((n - 1) / n * two + one / n),
    )


def kernel_ratio(
    activation: Activation,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    mean_square: float = 1.0,
    correlation: float = 0.0,
) -> float:
    """κ_2/κ_1, the infinite-width NTK's off-diagonal over its diagonal; deep on the critical line tanh tends to 1/3,
    ReLU to 1/4.
    """
    one, two, _ = _sums(activation, sigma_w, sigma_b, depth, 1.0, mean_square, correlation)
    return float(two / one)


def fisher_growth(
    activation: Activation,
    sigma_w: float,
    sigma_b: float,
    depths: list[int],
    width: int,
    *,
    samples: int,
    outputs: int,
    mean_square: float = 1.0,
    correlation: float = 0.0,
) -> NDArray[np.float64]:
    """λ_max at each of `depths`: at criticality it grows in proportion to the depth, in the chaotic phase
    exponentially.
    """
    return np.array(
        [
            karakida(
                activation,
                sigma_w,
                sigma_b,
                depth,
                width,
                samples=samples,
                outputs=outputs,
                mean_square=mean_square,
                correlation=correlation,
            ).lambda_max
            for depth in depths
        ]
    )
