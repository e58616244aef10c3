"""Fisher information under a categorical likelihood, in the wide limit: the (nC × nC) matrix of Karakida, Akaho &
Amari.

Its blocks are (αM/n)[κ_2 Q_iᵀQ_j + δ_ij(κ_1 − κ_2) Q_iᵀQ_i] with Q_iᵀQ_i = diag(p_i) − p_ip_iᵀ. The softmax outputs p_i
are those of the network, if given; else those of logits drawn from their Gaussian law, averaged over a few seeded
draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.activations import Activation
from isosweep.theory.karakida import karakida
from isosweep.theory.propagation import propagate

__all__ = ["SoftmaxFisher", "drawn_probabilities", "softmax_fisher", "softmax_lambda_max", "softmax_spectrum"]

Array = NDArray[np.float64]

_DRAWS = 4


@dataclass(frozen=True)
class SoftmaxFisher:
    """Mean eigenvalue β_1κ_1/M over the parameters, λ_max and its spread over the draws of the logits, and β_1."""

    mean: float
    lambda_max: float
    spread: float
    beta_1: float

    @property
    def learning_rate_max(self) -> float:
        """2/λ_max."""
        return 2 / self.lambda_max if self.lambda_max > 0 else math.inf


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    result: Array = shifted / shifted.sum(-1, keepdims=True)
    return result


def _roots(p: Array) -> Array:
    """(n, C, C): Q_i = diag(√p) − √p pᵀ, for which Q_iᵀQ_i = diag(p) − ppᵀ, as √p has norm 1."""
    root = np.sqrt(p)
    result: Array = root[:, :, None] * np.eye(p.shape[1]) - root[:, :, None] * p[:, None, :]
    return result


def softmax_spectrum(p: Array, kappa_1: float, kappa_2: float, alpha_width: float) -> Array:
    """All eigenvalues of the (nC × nC) matrix, largest first.

    Args:
        p: (n, C) class probabilities, rows summing to 1.
        alpha_width: αM, as in `karakida`.
    """
    n, c = p.shape
    q = _roots(p)
    stacked = q.transpose(1, 0, 2).reshape(c, n * c)
    # Q is laid out so that block (i, j) is Q_iᵀQ_j; the layer sums multiply H-weighted products of Jacobians.
    matrix = kappa_2 * stacked.T @ stacked
    for i in range(n):
        block = slice(i * c, (i + 1) * c)
        matrix[block, block] += (kappa_1 - kappa_2) * q[i].T @ q[i]
    result: Array = np.linalg.eigvalsh(matrix)[::-1] * (alpha_width / n)
    return result


def softmax_lambda_max(p: Array, kappa_1: float, kappa_2: float, alpha_width: float) -> float:
    """The largest eigenvalue alone, by Lanczos on the matrix's structure: O(nC²) a step, never formed.

    The matrix is κ_2 AᵀA + (κ_1 − κ_2) blockdiag(H_i) with A = (Q_1 … Q_n) of C rows; a fixed start makes the result
    deterministic.
    """
    n, c = p.shape
    q = _roots(p)
    stacked = np.ascontiguousarray(q.transpose(1, 0, 2).reshape(c, n * c))
    # A start in the span of A's rows, where the outliers are, tilted so that no symmetry hides one.
    v = stacked.T @ np.cos(1.0 + np.arange(c)) + 1e-3 * np.sin(1.0 + np.arange(n * c))
    steps = min(24, n * c)
    basis: Array = np.zeros((steps, n * c))
    diagonal, off = np.zeros(steps), np.zeros(steps)
    norm = float(np.linalg.norm(v))
    if norm == 0:
        return 0.0
    v = v / norm
    count = steps
    for k in range(steps):
        basis[k] = v
        blocks = v.reshape(n, c)
        weighted = p * blocks - p * (p * blocks).sum(1, keepdims=True)
        w = kappa_2 * (stacked.T @ (stacked @ v)) + (kappa_1 - kappa_2) * weighted.ravel()
        diagonal[k] = v @ w
        for _ in range(2):  # twice: what is left of nearly nothing would else lie within the basis again
            w = w - basis[: k + 1].T @ (basis[: k + 1] @ w)
        off[k] = np.linalg.norm(w)
        if off[k] <= 1e-11 * abs(diagonal[: k + 1]).max():
            count = k + 1
            break
        v = w / off[k]
    small = np.diag(diagonal[:count]) + np.diag(off[: count - 1], 1) + np.diag(off[: count - 1], -1)
    return float(np.linalg.eigvalsh(small)[-1] * (alpha_width / n))


@lru_cache(maxsize=64)
def _standard_draws(samples: int, outputs: int, draws: int) -> tuple[Array, Array]:
    generator = np.random.Generator(np.random.Philox(key=[samples, outputs]))
    return generator.standard_normal((draws, 1, outputs)), generator.standard_normal((draws, samples, outputs))


def drawn_probabilities(variance: float, covariance: float, samples: int, outputs: int, draws: int = _DRAWS) -> Array:
    """(draws, n, C) softmax outputs of logits with this variance, and this covariance between samples; the same draws
    each time.
    """
    shared, own = _standard_draws(samples, outputs, draws)
    common = min(max(covariance, 0.0), variance)
    return _softmax(math.sqrt(common) * shared + math.sqrt(variance - common) * own)


@lru_cache(maxsize=4096)
def softmax_fisher(
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
) -> SoftmaxFisher:
    """The categorical Fisher's mean and largest eigenvalue at initialisation, over the Gaussian law of the logits.

    Raises:
        ValueError, OverflowError: as `karakida`.
    """
    law = karakida(
        activation,
        sigma_w,
        sigma_b,
        depth,
        width,
        samples=samples,
        outputs=outputs,
        inputs=inputs,
        mean_square=mean_square,
        correlation=correlation,
    )
    signal = propagate(activation, sigma_w, sigma_b, depth, mean_square, correlation)
    p = drawn_probabilities(float(signal.q[-1]), float(signal.q_pair[-1]), samples, outputs)
    beta = 1 - float(np.mean((p**2).sum(-1)))
    tops = [softmax_lambda_max(draw, law.kappa_1, law.kappa_2, law.alpha * width) for draw in p]
    return SoftmaxFisher(beta * law.kappa_1 / width, float(np.mean(tops)), float(np.std(tops, ddof=1)), beta)
