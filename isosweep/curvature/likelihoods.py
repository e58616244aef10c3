"""Square roots of the likelihood's Hessian in the outputs: H = Q Qᵀ, one Q for each sample.

Categorical: H = diag(p) − ppᵀ = S(I − ssᵀ)S with s = √p and S = diag(s). I − ssᵀ projects on the complement of the
unit vector s, and the Householder reflection that takes s to a unit vector gives an orthonormal basis U of that
complement in its other columns. So Q = S U has C − 1 columns and is exact, where a root from an eigendecomposition
would have C columns and lose the small ones. The reflection's pivot is the largest p, which keeps full relative
accuracy also when the softmax saturates.

Gaussian (unit variance): H = I.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from isosweep.curvature.errors import CurvatureError

__all__ = ["Likelihood", "check_likelihood", "hessian_root", "root_columns"]

Likelihood = Literal["categorical", "gaussian"]


def check_likelihood(likelihood: str) -> None:
    """Raises CurvatureError for an unknown name, listing those there are."""
    if likelihood not in get_args(Likelihood):
        raise CurvatureError(f"unknown likelihood {likelihood!r}; there are {', '.join(get_args(Likelihood))}")


def root_columns(outputs: int, likelihood: Likelihood) -> int:
    """The number of columns of Q for C outputs: C − 1 (categorical) or C (gaussian)."""
    return outputs - 1 if likelihood == "categorical" else outputs


def hessian_root(logits: Tensor, likelihood: Likelihood) -> Tensor:
    """Q with H_i = Q_i Q_iᵀ for each sample.

    Args:
        logits: (n, C).
        likelihood: "categorical" (softmax) or "gaussian" (unit variance).

    Returns:
        (columns, n, C), its entry (a, i, c) being Q_i[c, a]: cotangents at the logits, without the factor 1/√n.
    """
    samples, classes = logits.shape
    if likelihood == "gaussian":
        return torch.eye(classes, dtype=logits.dtype, device=logits.device)[:, None, :].expand(-1, samples, -1)
    s = torch.exp(0.5 * torch.log_softmax(logits, dim=1))
    pivot = s.argmax(dim=1)
    # Column j ≠ pivot of the reflection: e_j − (s + e_pivot) s_j / (1 + s_pivot). The pivot's own column is dropped
    # below.
    reflection = torch.eye(classes, dtype=logits.dtype, device=logits.device).expand(samples, -1, -1).clone()
    rows = torch.arange(samples, device=logits.device)
    direction = s.clone()
    direction[rows, pivot] += 1
    reflection -= direction[:, :, None] * (s / (1 + s[rows, pivot, None]))[:, None, :]
    root = s[:, :, None] * reflection
    kept = torch.arange(classes - 1, device=logits.device).expand(samples, -1)
    kept = kept + (kept >= pivot[:, None])
    root = root.gather(2, kept[:, None, :].expand(-1, classes, -1))
    return root.permute(2, 0, 1).contiguous()


def per_sample_weight(samples: int) -> float:
    """1/√n: F is the mean over samples, so every row of the weighted Jacobian carries this factor."""
    return 1 / math.sqrt(samples)
