"""The whole spectrum, and every layer's, from the dual matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import scipy.linalg
import torch
from torch import Tensor

from isosweep.curvature.block_summary import BlockSummarizer
from isosweep.curvature.centring import centred_dual, unit_cotangents
from isosweep.curvature.chain import check_gradients
from isosweep.curvature.dual_gram import DualAccumulator, layer_terms
from isosweep.curvature.spectra import BlockSpectrum, FisherSpectrum, error_units, first, numerical_rank
from isosweep.curvature.two_stage_eigenvalues import TWO_STAGE_ROWS, two_stage_eigenvalues
from isosweep.curvature.weighted_jacobian import WeightedJacobian
from isosweep.threads import Workers

__all__ = ["dual_eigenvalues", "dual_spectrum"]


def dual_spectrum(
    jacobian: WeightedJacobian, detail: Literal["none", "summary", "spectrum"], eigenvectors: int
) -> FisherSpectrum:
    """The spectrum of F through its dual matrix, in one pass over the layers.

    Args:
        jacobian: the network at a batch, and the rows.
        detail: what to return of every layer.
        eigenvectors: how many leading eigenvectors to return, at most the rank.
    """
    weights = jacobian.weights
    cotangents = unit_cotangents(weights) if weights.centred else weights.vectors
    dual = DualAccumulator(cotangents, jacobian.workers)
    blocks: dict[str, BlockSpectrum] = {}
    block = torch.empty_like(dual.matrix) if detail != "none" else None
    summarize = BlockSummarizer()
    walk = layer_terms(jacobian.chain, jacobian.trace, cotangents, jacobian.parameters, jacobian.workers)
    for layer in walk:
        if block is None:
            dual.add(layer)
            continue
        dual.add_alone(layer, block)
        check_gradients(block.diagonal())
        own = centred_dual(block, weights) if weights.centred else block
        blocks[layer.name] = _block(own, layer.parameters, detail == "spectrum", summarize, jacobian.workers)
    dual.flush()
    matrix = dual.matrix
    check_gradients(matrix.diagonal())
    errors_relative_to = None
    if weights.centred:
        errors_relative_to = _uncentred_largest(matrix, jacobian)
        matrix = centred_dual(matrix, weights)
    original = matrix.clone() if eigenvectors else matrix
    by_name = dict(reversed(blocks.items()))
    spectrum = _whole(matrix, jacobian.columns, by_name, errors_relative_to, jacobian.workers)
    if not eigenvectors:
        return spectrum
    matrix = original
    return replace(spectrum, eigenvectors=_eigenvectors(matrix, jacobian, min(eigenvectors, spectrum.rank)))


def dual_eigenvalues(matrix: Tensor, parameters: int, workers: Workers) -> Tensor:
    """The largest min(R, P) eigenvalues of a matrix whose lower triangle is valid: float64, descending, clipped at 0.

    The matrix may be overwritten.
    """
    rows = matrix.shape[0]
    if rows == 0:
        return matrix.new_empty(0, dtype=torch.float64)
    if matrix.device.type != "cpu":
        ascending = torch.linalg.eigvalsh(matrix)
    elif rows >= TWO_STAGE_ROWS and matrix.dtype == torch.float64:
        ascending = two_stage_eigenvalues(matrix, workers)
    else:
        # LAPACK reads columns first: the transpose's upper triangle is this one's lower.
        columns = matrix.numpy().T
        found = scipy.linalg.eigvalsh(columns, lower=False, driver="evd", overwrite_a=True, check_finite=False)
        ascending = torch.from_numpy(found)
    descending: Tensor = ascending.to(torch.float64).flip(0)
    return descending[: min(rows, parameters)].clamp_(min=0)


def _block(
    matrix: Tensor, parameters: int, in_full: bool, summarize: BlockSummarizer, workers: Workers
) -> BlockSpectrum:
    if not in_full:
        lambda_max, trace, rank = summarize(matrix)
        return BlockSpectrum(None, lambda_max, trace, rank)
    trace = float(matrix.diagonal().sum())
    eigenvalues = dual_eigenvalues(matrix, parameters, workers)
    rank = numerical_rank(eigenvalues, matrix.shape[0], matrix.dtype)
    return BlockSpectrum(eigenvalues, first(eigenvalues), trace, rank)


def _whole(
    matrix: Tensor,
    parameters: int,
    blocks: dict[str, BlockSpectrum],
    errors_relative_to: float | None,
    workers: Workers,
) -> FisherSpectrum:
    trace = float(matrix.diagonal().sum())
    eigenvalues = dual_eigenvalues(matrix, parameters, workers)
    scale = first(eigenvalues) if errors_relative_to is None else errors_relative_to
    return FisherSpectrum(
        eigenvalues=eigenvalues,
        trace=trace,
        frobenius=float(eigenvalues.norm()),
        rank=numerical_rank(eigenvalues, matrix.shape[0], matrix.dtype),
        abs_error=error_units(matrix.shape[0]) * torch.finfo(matrix.dtype).eps * scale,
        parameters=parameters,
        blocks=blocks,
    )


def _uncentred_largest(outputs_dual: Tensor, jacobian: WeightedJacobian) -> float:
    """max_i ‖q_i‖² λ_max(K⁰): the scale of the errors that centring carries over from the larger K⁰."""
    if jacobian.weights.rows == 0:
        return 0.0
    norms = torch.linalg.matrix_norm(jacobian.weights.vectors.permute(1, 2, 0), ord=2)
    full = torch.tril(outputs_dual) + torch.tril(outputs_dual, -1).T
    return float(norms.amax()) ** 2 * BlockSummarizer().largest(full)


def _eigenvectors(matrix: Tensor, jacobian: WeightedJacobian, count: int) -> Tensor:
    """v = Gᵀu/√λ of the `count` largest eigenvalues, (count, P) float64."""
    if count == 0:
        return matrix.new_empty(0, jacobian.columns, dtype=torch.float64)
    if matrix.is_cuda:
        values, vectors = torch.linalg.eigh(matrix)
        values, vectors = values[len(values) - count :], vectors[:, len(vectors) - count :]
    else:
        last = len(matrix) - 1
        subset = (last - count + 1, last)
        found = scipy.linalg.eigh(matrix.numpy(), lower=True, subset_by_index=subset, check_finite=False)
        values, vectors = (torch.from_numpy(part) for part in found)
    rows: Tensor = jacobian.transposed_times(vectors.flip(1).T.contiguous()) / values.flip(0).sqrt()[:, None]
    return rows.to(torch.float64)
