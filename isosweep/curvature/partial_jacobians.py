"""How the Jacobian grows from layer to layer: the norms of ∂x^l/∂x^start for every l."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isosweep.curvature.chain import chain_of
from isosweep.curvature.errors import CurvatureError
from isosweep.curvature.graded_svd import LN2
from isosweep.curvature.jacobian_factors import jacobian_factors
from isosweep.curvature.plain_chain import partial_products
from isosweep.threads import single_threaded

__all__ = ["PartialNorms", "partial_jacobian_norms"]


class PartialNorms(NamedTuple):
    """Natural logarithms of norms of ∂x^l/∂x^start, l = start + 1 … L, each (inputs, L − start) float64; −inf for zero.

    Where residual blocks hold several layers, there is one l for each block.

    Attributes:
        log_frobenius: of the Frobenius norm. E of its square over N_start is the product of the χ of mean field.
        log_spectral: of the largest singular value.
    """

    log_frobenius: Tensor
    log_spectral: Tensor


def partial_jacobian_norms(network: nn.Module, inputs: Tensor, start: int = 0) -> PartialNorms:
    """The norms of the partial Jacobians, from the plain product with its scale kept apart: norms need no more.

    Args:
        network: `torch.nn.Sequential` of supported layers.
        inputs: (m, N_0), of the weights' dtype and device.
        start: the layer that is differentiated by, 0 ≤ start < L.

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
        CurvatureError: start is not a layer before the readout's input.
    """
    with single_threaded(), torch.no_grad():
        chain = chain_of(network, inputs)
        if not 0 <= start < chain.depth:
            raise CurvatureError(f"start must satisfy 0 <= start < {chain.depth}, got {start}")
        groups = jacobian_factors(chain, inputs, start, chain.depth)
        factors = [factor for group in groups for factor in group]
        ends = set(itertools.accumulate(len(group) for group in groups))
        frobenius, spectral = [], []
        for count, (product, exponents) in enumerate(partial_products(factors, len(inputs)), start=1):
            if count not in ends:
                continue
            scale = LN2 * exponents.to(torch.float64)
            # Frobenius by way of the largest entry, so that squares neither overflow nor underflow.
            largest = product.abs().amax(dim=(1, 2))
            safe = torch.where(largest > 0, largest, 1.0)
            scaled = product / safe[:, None, None]
            log_size = torch.log(largest.to(torch.float64)) + scale
            frobenius.append(torch.linalg.matrix_norm(scaled).clamp(min=1).to(torch.float64).log() + log_size)
            spectral.append(torch.linalg.matrix_norm(scaled, ord=2).to(torch.float64).log().clamp(min=0) + log_size)
        return PartialNorms(torch.stack(frobenius, dim=1), torch.stack(spectral, dim=1))
