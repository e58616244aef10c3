"""Small eigenvalues too: the singular values of the weighted Jacobian itself, written out.

Squaring a matrix loses half of the digits of what is small in it: the dual's eigenvalues are right to a few ε·λ_max,
so those below 1e-12·λ_max keep three digits. A singular value s of G has an error of a few ε·s_max; s² is then right to
ε·√(λ·λ_max), ten digits at 1e-12·λ_max. It takes the memory of G, R × P, so it is for small networks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Literal

import scipy.linalg
import torch
from torch import Tensor

from isosweep.curvature.dual_gram import LayerTerms
from isosweep.curvature.lapack import jacobi_singular_values
from isosweep.curvature.layers import Term
from isosweep.curvature.output_weights import OutputWeights
from isosweep.curvature.spectra import BlockSpectrum, FisherSpectrum, error_units, first, numerical_rank

__all__ = ["explicit_rows", "explicit_spectrum", "squared_singular_values"]

# Edge up to which the one-sided Jacobi method is used after the QR decomposition.
JACOBI_ROWS = 1500


def explicit_spectrum(
    layers: list[LayerTerms], weights: OutputWeights, detail: Literal["none", "summary", "spectrum"]
) -> FisherSpectrum:
    """The whole spectrum and the layers' own from the explicit weighted Jacobian.

    Args:
        layers: the terms of every layer, the readout first; see `explicit_rows`.
        weights: the rows.
        detail: what to return of every layer.
    """
    rows = {layer.name: explicit_rows(layer, weights) for layer in reversed(layers)}
    device, dtype = weights.vectors.device, weights.vectors.dtype
    blocks = {}
    for name, own in rows.items() if detail != "none" else ():
        values = squared_singular_values([own])
        kept = values.to(device) if detail == "spectrum" else None
        rank = numerical_rank(values, weights.rows, dtype)
        blocks[name] = BlockSpectrum(kept, first(values), float(own.square().sum()), rank)
    eigenvalues = squared_singular_values(rows.values()).to(device)
    return FisherSpectrum(
        eigenvalues=eigenvalues,
        trace=float(sum(own.square().sum() for own in rows.values())),
        frobenius=float(eigenvalues.norm()),
        rank=numerical_rank(eigenvalues, weights.rows, dtype),
        abs_error=error_units(weights.rows) * torch.finfo(dtype).eps * first(eigenvalues),
        parameters=sum(layer.parameters for layer in layers),
        method="explicit",
        blocks=blocks,
    )


def explicit_rows(layer: LayerTerms, weights: OutputWeights) -> Tensor:
    """The columns of G that belong to one layer, (R, P_layer).

    Args:
        layer: its terms, for the cotangents `weights.vectors`, or for unit vectors (C, n, C) if centred.
        weights: the rows.
    """
    parts = [reduce(torch.add, map(_columns, places)) for places in zip(*layer.uses, strict=True)]
    rows = torch.cat(parts, dim=2)
    if weights.centred:
        rows = torch.einsum("knc,cnp->knp", weights.vectors, rows - rows.mean(dim=1, keepdim=True))
    return rows.flatten(0, 1)


def _columns(term: Term) -> Tensor:
    """The gradients of which the term is the Gram matrix, (k, n, ·)."""
    parts = []
    if term.samples is not None:
        parts.append((term.cotangents[..., None] * term.samples[:, None, :]).flatten(2))
    if term.offset:
        parts.append(term.cotangents * term.offset**0.5)
    return torch.cat(parts, dim=2)


def squared_singular_values(blocks: Iterable[Tensor]) -> Tensor:
    """The squared singular values of the blocks side by side (each (R, ·)), largest first, float64 on the CPU."""
    matrix = torch.cat(list(blocks), dim=1).to(device="cpu", dtype=torch.float64).numpy()
    if min(matrix.shape) == 0:
        return torch.zeros(0, dtype=torch.float64, device="cpu")
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    (triangle,) = scipy.linalg.qr(tall, mode="r", check_finite=False)
    triangle = triangle[: tall.shape[1]]
    if len(triangle) <= JACOBI_ROWS:
        values = jacobi_singular_values(triangle.T)
    else:
        values = scipy.linalg.svdvals(triangle, check_finite=False)
    return torch.from_numpy(values.copy()).square()
