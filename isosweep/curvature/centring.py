"""The dual matrix of the centred Fisher matrix, from the dual matrix of the outputs.

With K⁰_(ic),(jd) = ⟨∇f_c(x_i), ∇f_d(x_j)⟩, subtracting the batch's mean gradient is a projection on both sides, and
the rows q_ia combine its outputs: K_(ia),(jb) = q_iaᵀ [(1 − 11ᵀ/n) K⁰ (1 − 11ᵀ/n)]_ij q_jb. The C eigenvalues that
the projection removes are the largest, so the errors of the rest are relative to those.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isosweep.curvature.output_weights import OutputWeights

__all__ = ["centred_dual", "unit_cotangents"]


def unit_cotangents(weights: OutputWeights) -> Tensor:
    """(C, n, C): every output of every sample on its own, the rows of K⁰."""
    _, n, outputs = weights.vectors.shape
    unit = torch.eye(outputs, dtype=weights.vectors.dtype, device=weights.vectors.device)
    return unit[:, None, :].expand(-1, n, -1).contiguous()


def centred_dual(outputs_dual: Tensor, weights: OutputWeights) -> Tensor:
    """K (R, R), both triangles, from K⁰ (Cn, Cn) with its lower triangle valid; rows (output, sample)."""
    k, n, c = weights.vectors.shape
    full = torch.tril(outputs_dual) + torch.tril(outputs_dual, -1).T
    blocks = full.view(c, n, c, n)
    blocks = blocks - blocks.mean(dim=1, keepdim=True)
    blocks = blocks - blocks.mean(dim=3, keepdim=True)
    per_sample = weights.vectors.permute(1, 0, 2)  # (n, k, C)
    left = torch.bmm(per_sample, blocks.permute(1, 0, 2, 3).reshape(n, c, c * n))  # (i, a, (d, j))
    left = left.view(n, k, c, n).permute(3, 2, 1, 0).reshape(n, c, k * n)  # (j, d, (a, i))
    both = torch.bmm(per_sample, left).view(n, k, k, n)  # (j, b, a, i)
    return both.permute(2, 3, 1, 0).reshape(k * n, k * n)
