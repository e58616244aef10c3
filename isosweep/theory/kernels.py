"""Infinite-width kernels on given inputs: the NNGP kernel of the logits and the NTK, for networks of any depth here.

The NTK in these networks' own parameters (not rescaled by the width) is Θ_ij = Σ_l (N_{l−1} E[x_i^{l−1}x_j^{l−1}] +
1)·q̃^l_ij, biases counted. The Gaussian-likelihood Fisher matrix has the eigenvalues of Θ/n, each C-fold. Lee et al.
2018; Jacot et al. 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.correlation import hermite_coefficients, pair_averages

__all__ = ["InfiniteWidth", "infinite_width"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class InfiniteWidth:
    """Kernels of n inputs.

    Attributes:
        nngp: (n, n) covariance of one logit over the inputs.
        ntk: (n, n) product of parameter gradients of one logit, weights and biases.
        q: (L+1) mean over the inputs of the pre-activations' variance, hidden layers then readout.
        c: (L+1) mean over the pairs of their correlation; NaN for a single input.
    """

    nngp: Array
    ntk: Array
    q: Array
    c: Array

    def fisher_eigenvalues(self) -> Array:
        """(n) eigenvalues of the Gaussian-likelihood Fisher matrix, largest first; each counts once per output."""
        result: Array = np.linalg.eigvalsh(self.ntk)[::-1] / len(self.ntk)
        return result


def _all_pairs(activation: Activation, q: Array, c: Array) -> tuple[Array, Array]:
    """E φφ and E φ'φ' for every pair, (n, n); row by row, which bounds hard-tanh's memory."""
    if np.all(q == q[0]):
        return pair_averages(activation, float(q[0]), float(q[0]), c)
    coefficients = hermite_coefficients(activation, q)
    if coefficients is None:
        rows = [pair_averages(activation, q[i], q, c[i]) for i in range(len(q))]
        return np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])
    a, b = coefficients
    value, slope = np.zeros_like(c), np.zeros_like(c)
    for k in range(a.shape[1] - 1, -1, -1):
        value *= c
        value += np.outer(a[:, k], a[:, k])
        slope *= c
        slope += np.outer(b[:, k], b[:, k])
    return value, slope


def infinite_width(
    activation: Activation, gram: Array, sigma_w: float, sigma_b: float, depth: int, width: int, inputs: int
) -> InfiniteWidth:
    """The kernels of `depth` hidden layers of `width` units and a linear readout.

    Args:
        gram: (n, n) input products x_i·x_j / N_0.
        inputs: N_0.

    Raises:
        ValueError: depth below 1, a Gram matrix that is not square, or a zero input without biases.
    """
    if depth < 1:
        raise ValueError(f"depth counts hidden layers and is 1 or more, not {depth}")
    gram = np.asarray(gram, float)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ValueError(f"the inputs' Gram matrix is square, not of shape {gram.shape}")
    forward = [gram]
    slopes: list[Array] = []
    q_mean: list[float] = []
    c_mean: list[float] = []
    upper = np.triu_indices(len(gram), 1)
    for layer in range(depth + 1):
        k = sigma_w**2 * forward[-1] + sigma_b**2
        q = np.diagonal(k).copy()
        if not np.all(q > 0):
            raise ValueError("an input of norm 0 without biases has no correlation with the others")
        c = np.clip(k / np.sqrt(np.outer(q, q)), -1, 1)
        q_mean.append(float(q.mean()))
        c_mean.append(float(c[upper].mean()) if len(gram) > 1 else math.nan)
        if layer == depth:
            break
        value, slope = _all_pairs(activation, q, c)
        forward.append(value)
        slopes.append(slope)
    sizes = [inputs] + [width] * depth
    back = np.ones_like(gram)
    ntk = sizes[depth] * forward[depth] + 1.0
    for layer in range(depth - 1, -1, -1):
        back = back * sigma_w**2 * slopes[layer]
        ntk = ntk + (sizes[layer] * forward[layer] + 1.0) * back
    return InfiniteWidth(k, ntk, np.array(q_mean), np.array(c_mean))
