"""Fisher information under a categorical likelihood, in the wide limit: the (nC × nC) matrix of Karakida, Akaho &
Amari.

Its blocks are (αM/n)[κ_2 Q_iQ_jᵀ + δ_ij(κ_1 − κ_2) Q_iQ_iᵀ] with Q_iᵀQ_i = H_i = diag(p_i) − p_ip_iᵀ: for κ_1 = κ_2 its
eigenvalues are those of the mean of the H_i. (The transposes matter: these Q_i are not symmetric.) The softmax outputs
p_i are those of the network, if given; else those of logits drawn from their Gaussian law, averaged over a few seeded
draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isosweep.theory.karakida import karakida
from isosweep.theory.network import Network
from isosweep.theory.propagation import propagate

__all__ = [
    "ExpectedSoftmax",
    "SoftmaxFisher",
    "drawn_probabilities",
    "expected_softmax",
    "softmax_fisher",
    "softmax_lambda_max",
    "softmax_spectrum",
]

Array = NDArray[np.float64]

_DRAWS, _SAMPLES = 60, 48
_DIMENSIONS = 24  # from which a few Lanczos steps cost less than all eigenvectors


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
    stacked = q.reshape(n * c, c)
    # F = (1/n) Σ J_iᵀQ_iᵀQ_iJ_i has the dual blocks Q_iJ_iJ_jᵀQ_jᵀ, and J_iJ_jᵀ is a multiple of the identity
    matrix = kappa_2 * stacked @ stacked.T
    for i in range(n):
        block = slice(i * c, (i + 1) * c)
        matrix[block, block] += (kappa_1 - kappa_2) * q[i] @ q[i].T
    result: Array = np.linalg.eigvalsh(matrix)[::-1] * (alpha_width / n)
    return result


def softmax_lambda_max(p: Array, kappa_1: float, kappa_2: float, alpha_width: float) -> float:
    """The largest eigenvalue alone, by Lanczos on the matrix's structure: O(nC²) a step, never formed.

    Args:
        p, kappa_1, kappa_2, alpha_width: as `softmax_spectrum`.
    """
    return float(_lambda_max(p[None], kappa_1, kappa_2)[0] * alpha_width / p.shape[0])


def _lambda_max(p: Array, kappa_1: float, kappa_2: float) -> Array:
    """(draws) largest eigenvalues of κ_2 AᵀA + (κ_1 − κ_2) blockdiag(Q_iQ_iᵀ) for p of shape (draws, n, C).

    A = (Q_1ᵀ … Q_nᵀ) has C rows. All draws take their steps together; a fixed start makes the result deterministic.
    """
    draws, n, c = p.shape
    root = np.sqrt(p)
    # A v = Σ_i Q_iᵀ v_i with Q_i = diag(√p_i) − √p_i p_iᵀ, and (Aᵀ w)_i = Q_i w, without the matrices

    def transposed(v: Array) -> Array:
        weighted = root * v
        result: Array = weighted - p * weighted.sum(-1, keepdims=True)
        return result

    def straight(w: Array) -> Array:
        result: Array = root * (w - (p * w).sum(-1, keepdims=True))
        return result

    def backwards(w: Array) -> Array:
        return straight(w[:, None])

    # A start in the span of A's rows, where the outliers are, tilted so that no symmetry hides one.
    v = backwards(np.broadcast_to(np.cos(1.0 + np.arange(c)), (draws, c)))
    v = (v + 1e-3 * np.sin(1.0 + np.arange(n * c)).reshape(n, c)).reshape(draws, n * c)
    v = v / np.sqrt((v * v).sum(1, keepdims=True))
    steps = min(24, n * c)
    basis: Array = np.zeros((draws, steps, n * c))
    small: Array = np.zeros((draws, steps, steps))
    largest = np.zeros(draws)
    for k in range(steps):
        basis[:, k] = v
        blocks = v.reshape(draws, n, c)
        own = transposed(blocks)
        w = (kappa_2 * backwards(own.sum(1)) + (kappa_1 - kappa_2) * straight(own)).reshape(draws, n * c)
        small[:, k, k] = (v * w).sum(1)
        largest = np.maximum(largest, np.abs(small[:, k, k]))
        known = basis[:, : k + 1]
        for _ in range(2):  # twice: what is left of nearly nothing would else lie within the basis again
            w = w - ((known @ w[:, :, None]).mT @ known)[:, 0]
        off = np.sqrt((w * w).sum(1))
        # where the space is exhausted the next vectors are 0, and so are their rows of the small matrix
        alive = off > 1e-11 * largest
        if not alive.any() or k + 1 == steps:
            break
        small[:, k, k + 1] = small[:, k + 1, k] = np.where(alive, off, 0.0)
        v = np.where(alive[:, None], w / np.where(off > 0, off, 1.0)[:, None], 0.0)
    result: Array = np.asarray(np.linalg.eigvalsh(small)[:, -1], np.float64)
    return result


def _leading(matrices: Array) -> tuple[Array, Array]:
    """(draws) largest eigenvalues and (draws, C) their vectors of (draws, C, C); of many rows by 24 Lanczos steps."""
    draws, rows, _ = matrices.shape
    if rows <= _DIMENSIONS:
        values, vectors = np.linalg.eigh(matrices)
        return values[:, -1], vectors[:, :, -1]
    basis: Array = np.zeros((draws, _DIMENSIONS, rows))
    v = np.diagonal(matrices, axis1=1, axis2=2) ** 2 + 1e-6 * np.cos(1.0 + np.arange(rows))
    for k in range(_DIMENSIONS):
        known = basis[:, :k]
        for _ in range(2):
            v = v - ((known @ v[:, :, None]).mT @ known)[:, 0]
        norm = np.sqrt((v * v).sum(1, keepdims=True))
        basis[:, k] = np.where(norm > 0, v / np.where(norm > 0, norm, 1.0), 0.0)
        v = (matrices @ basis[:, k, :, None])[:, :, 0]
    values, vectors = np.linalg.eigh(basis @ matrices @ basis.mT)
    return values[:, -1], (vectors[:, None, :, -1] @ basis)[:, 0]


@dataclass(frozen=True)
class _Plane:
    """(draws) what λ_max takes from the probabilities: see `_plane`."""

    size: Array
    own: Array
    across: Array
    shared: Array
    second: Array

    def top(self, pair: float, extra: float) -> Array:
        """(draws) λ_max of (1/m)[pair Q_iQ_jᵀ] + extra δ_ij Q_iQ_iᵀ."""
        with np.errstate(all="ignore"):
            a = pair * self.size + extra * self.own
            b = extra * self.across
            d = pair * self.shared + extra * self.second
            top = (a + d) / 2 + np.sqrt((a - d) ** 2 / 4 + b**2)
        result: Array = np.where(np.isfinite(top), top, pair * self.size)
        return result


def _plane(p: Array) -> _Plane:
    """The two-dimensional space in which λ_max is sought, for p of shape (draws, m, C).

    It is the span of Q w and of what the diagonal makes of it, w the leading eigenvector of the mean of the H_i: what
    that leaves out is of second order in extra over λ_max.
    """
    m = p.shape[1]
    mean = -(p.mT @ p) / m
    diagonal = np.arange(p.shape[2])
    mean[:, diagonal, diagonal] += p.mean(1)
    size, w = _leading(mean)
    w = w[:, None]

    def hessian(y: Array) -> Array:
        weighted = p * y
        result: Array = weighted - p * weighted.sum(-1, keepdims=True)
        return result

    first = hessian(w)
    with np.errstate(all="ignore"):
        own = (first * first).sum((1, 2)) / (m * size)  # of Q w, whose squared norm is m times size
        rest = first - own[:, None, None] * w
        second = hessian(rest)
        square = (rest * second).sum((1, 2))
        across = (first * second).sum((1, 2)) / np.sqrt(square * m * size)
        shared = second.sum(1)
        return _Plane(
            size, own, across, (shared * shared).sum(1) / (m * square), (second * second).sum((1, 2)) / square
        )


@lru_cache(maxsize=64)
def _standard_draws(samples: int, outputs: int) -> tuple[Array, Array]:
    """(draws, 1, C) and (draws, n, C). The shared ones, on which λ_max depends most, in orthogonal directions and of
    lengths in even steps of their distribution, in a random order: their mean has half the error of independent draws.
    """
    generator = np.random.Generator(np.random.Philox(key=[samples, outputs]))
    frames = -(-_DRAWS // outputs)
    q, r = np.linalg.qr(generator.standard_normal((frames, outputs, outputs)))
    directions = (q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]).reshape(-1, outputs)[:_DRAWS]
    from scipy.special import chdtri

    lengths = np.sqrt(chdtri(outputs, 1 - (generator.permutation(_DRAWS) + 0.5) / _DRAWS))
    return (directions * lengths[:, None])[:, None], generator.standard_normal((_DRAWS, samples, outputs))


def drawn_probabilities(variance: float, covariance: float, samples: int, outputs: int) -> Array:
    """(draws, n, C) softmax outputs of logits with this variance, and this covariance between samples; the same draws
    each time.
    """
    shared, own = _standard_draws(samples, outputs)
    common = min(max(covariance, 0.0), variance)
    return _softmax(math.sqrt(common) * shared + math.sqrt(variance - common) * own)


@dataclass(frozen=True)
class ExpectedSoftmax:
    """Over the Gaussian law of the logits: β_1 = 1 − E Σ_k p_k², and λ_max's mean and spread over draws."""

    beta_1: float
    lambda_max: float
    spread: float


@lru_cache(maxsize=256)
def _drawn(variance: float, covariance: float, some: int, outputs: int, halves: bool) -> tuple[float, list[_Plane]]:
    """β_1, and the planes of all samples and, if asked for, of either half: with Karakida's sums and with a run's."""
    p = drawn_probabilities(variance, covariance, some, outputs)
    parts = [p, p[:, : some // 2], p[:, some // 2 :]] if halves else [p]
    return 1 - float(np.mean((p**2).sum(-1))), [_plane(part) for part in parts]


@lru_cache(maxsize=16384)
def expected_softmax(
    own: float, pair: float, variance: float, covariance: float, samples: int, outputs: int
) -> ExpectedSoftmax:
    """λ_max of (1/n)[pair Q_iQ_jᵀ + δ_ij (own − pair) Q_iQ_iᵀ] for logits that are drawn.

    It depends on the few logits that all samples share: many draws of some samples serve better than few of all. With
    m of n samples the diagonal's share is pair + (m/n)(own − pair), and λ_max is too large by O(1/m − 1/n), which half
    as many samples measure.

    Args:
        own, pair: αMκ_1 and αMκ_2, or the sums with biases.
        variance, covariance: of the logits, and between two samples.
        samples, outputs: n and C.
    """
    some = min(samples, _SAMPLES if outputs <= _DIMENSIONS else _SAMPLES // 2)
    beta_1, planes = _drawn(variance, covariance, some, outputs, some < samples)
    tops, *halves = (plane.top(pair, (own - pair) / samples) for plane in planes)
    if halves:
        tops = tops + (tops - (halves[0] + halves[1]) / 2) * (1 - some / samples)
    return ExpectedSoftmax(beta_1, float(tops.mean()), float(tops.std(ddof=1)))


@lru_cache(maxsize=4096)
def softmax_fisher(network: Network) -> SoftmaxFisher:
    """The categorical Fisher's mean and largest eigenvalue at initialisation, over the Gaussian law of the logits.

    Raises:
        ValueError, OverflowError: as `karakida`.
    """
    n, law = network, karakida(network)
    signal = propagate(n.activation, n.sigma_w, n.sigma_b, n.depth, n.mean_square, n.correlation)
    scale, gain, bias = law.alpha * n.width, n.sigma_w**2, n.sigma_b**2
    variance, covariance = float(gain * signal.x[-1] + bias), float(gain * signal.x_pair[-1] + bias)
    found = expected_softmax(scale * law.kappa_1, scale * law.kappa_2, variance, covariance, n.samples, n.outputs)
    return SoftmaxFisher(found.beta_1 * law.kappa_1 / n.width, found.lambda_max, found.spread, found.beta_1)
