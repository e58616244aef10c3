"""Leading eigenvalues and a spectral density without the dual matrix, each with its error.

Where n·C is too large for R², K = GGᵀ (or F = GᵀG where P < R) is only applied to vectors. Lanczos with full
re-orthogonalisation gives the leading eigenvalues; stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017, "Fast
estimation of tr f(A) via stochastic Lanczos quadrature") the density of all of them, as an average over random probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from isosweep.curvature.chain import check_gradients
from isosweep.curvature.dual_gram import layer_terms
from isosweep.curvature.lanczos import Krylov, krylov
from isosweep.curvature.layers import Parameters
from isosweep.curvature.spectra import FisherSpectrum, error_units
from isosweep.curvature.spectral_density import SpectralDensity
from isosweep.curvature.tiles import pieces
from isosweep.curvature.weighted_jacobian import WeightedJacobian
from isosweep.draws import generator

__all__ = ["exact_trace", "leading_eigenvalues", "matrix_free_spectrum", "operator_of", "spectral_density"]

# Rows of cotangents that are pulled back together for the exact trace.
TRACE_ROWS = 2048


def matrix_free_spectrum(jacobian: WeightedJacobian, count: int, steps: int, probes: int) -> FisherSpectrum:
    """The leading part of the spectrum, the exact trace, and with `probes` > 0 the density; see `fisher`."""
    trace = exact_trace(jacobian)
    values, errors = leading_eigenvalues(jacobian, count, steps)
    density = spectral_density(jacobian, probes, steps) if probes else None
    device = jacobian.trace.outputs.device
    return FisherSpectrum(
        eigenvalues=values.to(device),
        trace=trace,
        frobenius=math.sqrt(density.expectation(torch.square)[0]) if density else math.nan,
        rank=-1,
        abs_error=float(errors.max()) if len(errors) else 0.0,
        parameters=jacobian.columns,
        method="lanczos",
        errors=errors.to(device),
        density=density,
    )


def operator_of(jacobian: WeightedJacobian) -> tuple[Callable[[Tensor], Tensor], int]:
    """K or F, whichever is smaller, as v ↦ Av, and its dimension."""
    if jacobian.rows <= jacobian.columns:
        return jacobian.dual_times, jacobian.rows
    return jacobian.fisher_times, jacobian.columns


def leading_eigenvalues(jacobian: WeightedJacobian, count: int, steps: int) -> tuple[Tensor, Tensor]:
    """The `count` largest eigenvalues by Lanczos, as many as `steps` can show.

    Stops once all of them are within 1e-12 of λ_max. A start vector has a share of every eigenvector with probability
    one, but copies of one eigenvalue are seen once: a multiple eigenvalue counts as one here.

    Returns:
        The Ritz values, largest first, and for each the bound min(r, r²/gap) of its distance to an eigenvalue; float64.
    """
    operator, dimension = operator_of(jacobian)
    count = min(count, dimension)

    def converged(space: Krylov) -> bool:
        return len(space.values) >= count and bool(space.residuals[-count:].max() <= 1e-12 * space.values[-1])

    space = krylov(operator, _probe(jacobian, dimension, 0, gaussian=True), steps, converged)
    values = space.values[::-1][:count].copy()
    residuals = space.residuals[::-1][:count].copy()
    errors = np.minimum(residuals, residuals**2 / np.maximum(_gaps(space.values)[::-1][:count], 1e-300))
    rounding = torch.finfo(jacobian.trace.outputs.dtype).eps * error_units(jacobian.rows) * float(space.values[-1])
    return torch.from_numpy(values).clamp(min=0), torch.from_numpy(errors + rounding)


def _gaps(ascending: np.ndarray) -> np.ndarray:
    """Every value's distance to its nearest neighbour; infinite for a single one."""
    padded = np.concatenate([[-np.inf], ascending, [np.inf]])
    gaps = np.diff(padded)
    nearest: np.ndarray = np.minimum(gaps[:-1], gaps[1:])
    return nearest


def spectral_density(jacobian: WeightedJacobian, probes: int, steps: int, seed: int = 0) -> SpectralDensity:
    """The density of the eigenvalues of K or F by stochastic Lanczos quadrature.

    Args:
        jacobian: G.
        probes: random sign vectors; the error falls as 1/√probes.
        steps: Krylov dimension of each.
        seed: of the probes, drawn on the CPU.
    """
    operator, dimension = operator_of(jacobian)
    steps = min(steps, dimension)
    nodes = np.full((probes, steps), np.nan)
    weights = np.zeros((probes, steps))
    for index in range(probes):
        space = krylov(operator, _probe(jacobian, dimension, seed + 1 + index, gaussian=False), steps)
        nodes[index, : len(space.values)] = np.maximum(space.values, 0)
        weights[index, : len(space.values)] = space.vectors[0] ** 2
    return SpectralDensity(torch.from_numpy(nodes), torch.from_numpy(weights), min(jacobian.rows, jacobian.columns))


def _probe(jacobian: WeightedJacobian, dimension: int, seed: int, gaussian: bool) -> Tensor:
    dice = generator(seed, "curvature/probe")
    vector = dice.standard_normal(dimension) if gaussian else 2.0 * dice.integers(0, 2, dimension) - 1
    like = jacobian.trace.outputs
    return torch.from_numpy(vector).to(dtype=like.dtype, device=like.device)


def exact_trace(jacobian: WeightedJacobian) -> float:
    """tr F = tr K, exact, by pulling every row back in shards: no R² memory.

    Centred, Σ_i q_iᵀ(J_i − J̄)(J_i − J̄)ᵀ q_i = Σ_i q_iᵀ J_i J_iᵀ q_i − q_iᵀ(A_i + A_iᵀ − Ā) q_i with A_i = J_i J̄ᵀ and Ā
    its mean: the second part takes one pass back and one forward for each output. Its error is relative to the
    uncentred trace.
    """
    vectors = jacobian.weights.vectors
    k, n, outputs = vectors.shape
    parameters: Parameters = jacobian.parameters

    def task(piece: tuple[int, int]) -> float:
        part = slice(*piece)
        trace = jacobian.trace.select(part)
        total = 0.0
        walk = layer_terms(jacobian.chain, trace, vectors[:, part], parameters, jacobian.workers.alone())
        for product in (product for layer in walk for product in layer.products):
            total += float((product.cotangents_alike.sum(dim=0) * product.samples_alike).sum())
        check_gradients(vectors.new_tensor(total))
        return total

    whole = math.fsum(jacobian.workers.run(task, pieces(n, max(1, TRACE_ROWS // k))))
    if not jacobian.weights.centred:
        return whole
    overlaps = vectors.new_empty(n, outputs, outputs)
    for output in range(outputs):
        unit = vectors.new_zeros(1, n, outputs)
        unit[0, :, output] = 1 / n
        overlaps[:, :, output] = jacobian.output_tangents(jacobian.gradients(unit)[0])
    removed = overlaps + overlaps.mT - overlaps.mean(dim=0)
    return max(0.0, whole - float(torch.einsum("knc,ncd,knd->", vectors, removed, vectors)))
