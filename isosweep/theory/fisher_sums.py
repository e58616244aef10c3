"""The Fisher matrix as isosweep measures it: every bias a parameter, widths as they are.

The dual matrix has the terms (x_i^{l−1}·x_j^{l−1} + 1)(B_i^l·B_j^l), of which the 1 belongs to the biases. In the wide
limit all of it is in two sums over the layers, T_1 = Σ_l (N_{l−1} x̂^{l−1} + 1) q̃^l of one input and T_2, the same of a
pair. They stand in the place of αMκ_1 and αMκ_2 of Karakida, Akaho & Amari 2019 and agree with them to O(1/M) while the
signal lives; where it dies out, in the ordered phase, the biases of the last layers are all that is left.

With factors outside of the weights, h = a·W x + c·b, the terms are (a² x_i·x_j + c²)(B_i^l·B_j^l). Of the NTK's
parametrisation that is q^l q̃^l, summed over the layers: the neural tangent kernel itself (Jacot et al. 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from isosweep.theory.architecture import PLAIN, Architecture
from isosweep.theory.network import Network
from isosweep.theory.propagation import propagate
from isosweep.theory.residual import propagate_residual
from isosweep.theory.softmax_fisher import expected_softmax

__all__ = ["LayerSums", "MeasuredFisher", "layer_sums", "measured_fisher"]

_CLEAR = 2.0
"""How many times the inputs' random products an outlier must exceed to be told from the bulk."""


@dataclass(frozen=True)
class LayerSums:
    """Sums over the layers for one output.

    Attributes:
        own: T_1, the squared norm of one output's gradient over all parameters.
        pair: T_2, the product of two inputs' gradients.
        parameters: P, weights and biases.
        reach: the mean number of layers that a parameter's share of T_1 has passed through, forwards and backwards (a
            bias only backwards): how many layers' fluctuations the sums have at finite width.
        q, q_pair: variance and covariance of an output.
    """

    own: float
    pair: float
    parameters: int
    reach: float
    q: float
    q_pair: float


@lru_cache(maxsize=16384)
def layer_sums(network: Network, architecture: Architecture = PLAIN) -> LayerSums:
    """T_1, T_2 of a network with a linear readout.

    Raises:
        ValueError: a count below 1, or what `propagate` refuses.
        OverflowError: as `propagate`; or the sums themselves leave float64.
    """
    network.check_counts()
    n, depth = network, network.depth
    widths = architecture.layer_widths(n.input_dimension, n.width, depth, n.outputs)
    below, above = np.array(widths[:-1]), np.array(widths[1:])
    factors = architecture.factors(n.sigma_w, n.sigma_b, widths)
    gain = architecture.readout_gain(widths[1])
    if architecture.time_step is None:
        signal = propagate(n.activation, n.sigma_w, n.sigma_b, depth, n.mean_square, n.correlation)
        x, x_pair, back, back_pair = signal.x, signal.x_pair, signal.back, signal.back_pair
    else:
        residual = propagate_residual(
            n.activation, n.sigma_w, n.sigma_b, depth, n.mean_square, n.correlation, architecture.time_step
        )
        x, x_pair, back, back_pair = residual.x, residual.x_pair, residual.back, residual.back_pair
    # one output's cotangents at all layers but its own
    scale = np.append(np.full(depth, gain**2), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        weights, biases = factors.weights * below * x * back * scale, factors.biases * back * scale
        own = float(np.sum(weights + biases))
        pair = float(np.sum((factors.weights * below * x_pair + factors.biases) * back_pair * scale))
        backwards = np.arange(depth, -1, -1)
        reach = float(np.sum(weights * depth + biases * backwards)) / own
    if not (math.isfinite(own) and math.isfinite(pair) and math.isfinite(reach)):
        raise OverflowError("the gradients leave float64")
    parameters = int(np.sum(above * (below + (1 if architecture.biases else 0))))
    variance = (n.sigma_w * gain) ** 2
    return LayerSums(
        own,
        pair,
        parameters,
        reach,
        float(variance * x[-1] + n.sigma_b**2),
        float(variance * x_pair[-1] + n.sigma_b**2),
    )


@dataclass(frozen=True)
class MeasuredFisher:
    """What a run's Fisher matrix over n samples and C outputs should measure.

    Attributes:
        trace: sum of all eigenvalues: C T_1, or β_1 T_1 for a softmax with β_1 = 1 − E Σ_k p_k².
        mean: trace over the number of parameters.
        lambda_max: ((n−1)/n) T_2 + T_1/n (C-fold), or the largest of the softmax's (nC × nC) matrix.
        outlier: whether λ_max stands clear of the bulk. If not, the random products of the inputs set it, of which
            these sums know nothing.
        reach: as in `LayerSums`.
        drawn: the standard deviation of λ_max over draws of a softmax's logits; 0 for a Gaussian likelihood.
    """

    trace: float
    mean: float
    lambda_max: float
    outlier: bool
    reach: float
    drawn: float = 0.0


@lru_cache(maxsize=16384)
def measured_fisher(network: Network, architecture: Architecture = PLAIN) -> MeasuredFisher:
    """Trace and λ_max of a run's Fisher matrix, biases counted where there are any, under the network's likelihood.

    Raises:
        ValueError, OverflowError: as `layer_sums`; or fewer than 2 outputs of a categorical likelihood.
    """
    sums = layer_sums(network, architecture)
    n, inputs, outputs = network.samples, network.input_dimension, network.outputs
    # Products of random inputs are about 1/√N_0: the bulk T_1/n (1 + √(n/N_0))² of a Wishart matrix, less its mean.
    random = sums.own * (2 / math.sqrt(n * inputs) + 1 / inputs)
    outlier = n == 1 or sums.pair * (n - 1) / n > _CLEAR * random
    if network.likelihood == "gaussian":
        trace, top = outputs * sums.own, ((n - 1) * sums.pair + sums.own) / n
        return MeasuredFisher(trace, trace / sums.parameters, top, outlier, sums.reach)
    if outputs < 2:
        raise ValueError("a categorical likelihood needs 2 outputs or more")
    found = expected_softmax(sums.own, sums.pair, sums.q, sums.q_pair, n, outputs)
    trace, top = found.beta_1 * sums.own, found.lambda_max
    return MeasuredFisher(trace, trace / sums.parameters, top, outlier, sums.reach, found.spread)
