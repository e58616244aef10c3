"""The spectrum of the Fisher information matrix of a network, exact, through the dual matrix."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from isosweep.curvature.block_summary import BlockSummarizer, rank_threshold
from isosweep.curvature.chain import chain_of
from isosweep.curvature.dual_gram import DualAccumulator, LayerTerms, layer_terms
from isosweep.curvature.layers import Parameters
from isosweep.curvature.likelihoods import Likelihood, check_likelihood, hessian_root
from isosweep.curvature.spectra import BlockSpectrum, FisherSpectrum
from isosweep.curvature.threads import Workers, single_threaded

__all__ = ["fisher", "fisher_spectrum"]

LayerDetail = Literal["none", "summary", "spectrum"]

# Bound on |error|/λ_max of an eigenvalue from the dual, in rounding units; tests hold it over all cases.
DUAL_ERROR_UNITS = 45.0


def fisher_spectrum(network: nn.Module, inputs: Tensor, likelihood: Likelihood = "categorical") -> Tensor:
    """All eigenvalues of the Fisher information matrix that are not zero by construction.

    F = (1/n) Σ_i J_iᵀ H_i J_i over all weights and biases, J_i = ∂logits/∂θ at sample i, H_i the Hessian of −log p in
    the
    logits: diag(p) − ppᵀ for a softmax, I for a unit-variance Gaussian.

    Args:
        network: `torch.nn.Sequential` of supported layers; nothing of it is changed.
        inputs: (n, N_0), of the weights' dtype and device.
        likelihood: "categorical" or "gaussian".

    Returns:
        min(n(C − 1), P) values (categorical) or min(nC, P) (gaussian): a 1-d float64 tensor on the inputs' device,
        largest first, clipped at 0, never cut by a threshold. The absolute error of each is at most 1e-14 of the
        largest.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
    """
    return fisher(network, inputs, likelihood).eigenvalues


def fisher(
    network: nn.Module,
    inputs: Tensor,
    likelihood: Likelihood = "categorical",
    *,
    layers: LayerDetail = "none",
    parameters: Parameters = "all",
    workers: int = 1,
) -> FisherSpectrum:
    """The spectrum of the Fisher information matrix and, from the same pass, of every layer's diagonal block.

    Args:
        network: `torch.nn.Sequential` of supported layers; nothing of it is changed.
        inputs: (n, N_0), of the weights' dtype and device.
        likelihood: "categorical" or "gaussian"; see `fisher_spectrum`.
        layers: "none"; "summary": λ_max, trace and rank of each layer's block; "spectrum": its eigenvalues too.
        parameters: "all", or "weights": biases do not count.
        workers: single-threaded workers that share the tiles; the result's bits do not depend on it.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
    """
    check_likelihood(likelihood)
    with single_threaded(), torch.no_grad(), Workers(workers) as crew:
        chain = chain_of(network, inputs)
        trace = chain.forward(inputs, crew)
        cotangents = hessian_root(trace.outputs, likelihood) / math.sqrt(inputs.shape[0])
        dual = DualAccumulator(cotangents, crew)
        blocks: dict[str, BlockSpectrum] = {}
        total_parameters = 0
        block = torch.empty_like(dual.matrix) if layers != "none" else None
        summarize = BlockSummarizer()
        for layer in layer_terms(chain, trace, cotangents, parameters, crew):
            total_parameters += layer.parameters
            if block is None:
                dual.add(layer)
            else:
                dual.add_alone(layer, block)
                blocks[layer.name] = _block_spectrum(layer, block, layers, summarize)
        dual.flush()
        del trace
        return _spectrum(dual.matrix, total_parameters, dict(reversed(blocks.items())))


def _eigenvalues(matrix: Tensor, parameters: int) -> Tensor:
    """The largest min(R, P) eigenvalues of a matrix whose lower triangle is valid: float64, descending, clipped at
    0.
    """
    if matrix.shape[0] == 0:
        return matrix.new_empty(0, dtype=torch.float64)
    values: Tensor = torch.linalg.eigvalsh(matrix).to(torch.float64).flip(0)
    return values[: min(matrix.shape[0], parameters)].clamp_(min=0)


def _rank(eigenvalues: Tensor, rows: int, dtype: torch.dtype) -> int:
    if eigenvalues.numel() == 0:
        return 0
    return int((eigenvalues > rank_threshold(float(eigenvalues[0]), rows, dtype)).sum())


def _block_spectrum(layer: LayerTerms, block: Tensor, detail: LayerDetail, summarize: BlockSummarizer) -> BlockSpectrum:
    if block.shape[0] == 0:
        return BlockSpectrum(_eigenvalues(block, 0) if detail == "spectrum" else None, 0.0, 0.0, 0)
    if detail == "summary":
        lambda_max, trace, rank = summarize(block)
        return BlockSpectrum(None, lambda_max, trace, rank)
    eigenvalues = _eigenvalues(block, layer.parameters)
    rank = _rank(eigenvalues, block.shape[0], block.dtype)
    return BlockSpectrum(eigenvalues, float(eigenvalues[0]), float(block.diagonal().sum()), rank)


def _spectrum(matrix: Tensor, parameters: int, blocks: dict[str, BlockSpectrum]) -> FisherSpectrum:
    trace = float(matrix.diagonal().sum())
    eigenvalues = _eigenvalues(matrix, parameters)
    rounding = torch.finfo(matrix.dtype).eps
    return FisherSpectrum(
        eigenvalues=eigenvalues,
        trace=trace,
        frobenius=float(eigenvalues.norm()),
        rank=_rank(eigenvalues, matrix.shape[0], matrix.dtype),
        abs_error=DUAL_ERROR_UNITS * rounding * (float(eigenvalues[0]) if eigenvalues.numel() else 0.0),
        parameters=parameters,
        blocks=blocks,
    )
