"""Fisher information of a wide network, Gaussian likelihood: its eigenvalues' mean, second moment and maximum
(Karakida, Akaho & Amari 2019).

Two sums over the layers carry it, κ_1 for one input and κ_2 for a pair, each of forward mean squares times backward
ones. Weights only: the biases' share is smaller by the width. The C largest eigenvalues coincide in this limit; at
finite width they spread about it, and their mean is the sharper test. It needs κ_2 > 0: without biases, an odd
activation on uncorrelated inputs has no such outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.network import Network
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


def _sums(n: Network) -> tuple[float, float, float]:
    """κ_1, κ_2 and α."""
    depth, ratio = n.depth, n.input_ratio
    signal = propagate(n.activation, n.sigma_w, n.sigma_b, depth, n.mean_square, n.correlation)
    before = np.ones(depth + 1)
    before[0] = ratio  # α_{l−1}: the layer below, in units of the width
    alpha = ratio + depth - 1
    one = float(np.sum(before * signal.back * signal.x)) / alpha
    two = float(np.sum(before * signal.back_pair * signal.x_pair)) / alpha
    return one, two, alpha


def karakida(network: Network) -> KarakidaFisher:
    """κ_1, κ_2 and what follows from them for a network with a linear readout, whatever its likelihood; the paper's
    inputs have mean square 1 and are uncorrelated.

    Raises:
        ValueError: a count below 1, or what `propagate` refuses.
        OverflowError: as `propagate`.
    """
    network.check_counts()
    one, two, alpha = _sums(network)
    n, outputs, width = network.samples, network.outputs, network.width
    return KarakidaFisher(
        one,
        two,
        alpha,
        one * outputs / width,
        alpha * outputs * ((n - 1) / n * two**2 + one**2 / n),
        alpha * width * ((n - 1) / n * two + one / n),
    )


def kernel_ratio(network: Network) -> float:
    """κ_2/κ_1, the infinite-width NTK's off-diagonal over its diagonal; deep on the critical line tanh tends to 1/3,
    ReLU to 1/4.
    """
    one, two, _ = _sums(replace(network, inputs=None))
    return float(two / one)


def fisher_growth(network: Network, depths: Sequence[int]) -> NDArray[np.float64]:
    """λ_max of the network at each of `depths`: at criticality it grows in proportion to the depth, in the chaotic
    phase exponentially.
    """
    return np.array([karakida(replace(network, depth=depth)).lambda_max for depth in depths])
