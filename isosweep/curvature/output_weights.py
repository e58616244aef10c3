"""The rows of the weighted Jacobian: which combinations of the outputs' gradients make up the Fisher matrix.

F = (1/n) Σ_i Σ_a g_ia g_iaᵀ with g_ia = J_iᵀ q_ia. True Fisher: q_ia are the columns of a root of the likelihood's
Hessian (`likelihoods`). Empirical Fisher: one q_i = ∂(−log p(y_i))/∂f, the gradient of the loss itself at the label,
p − e_y for a softmax and f − y for a Gaussian.

Centred: J_i − J̄ in place of J_i, J̄ the mean over the batch; the outputs' mean over the batch is subtracted, which
removes the C largest eigenvalues (Karakida, Akaho, Amari 2019, "The normalization method for alleviating pathological
sharpness").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from isosweep.curvature.errors import CurvatureError, ShapeMismatch
from isosweep.curvature.likelihoods import Likelihood, check_likelihood, hessian_root, root_columns

__all__ = ["FisherKind", "OutputWeights", "output_weights", "rows_per_sample"]

FisherKind = Literal["true", "empirical"]


@dataclass(frozen=True)
class OutputWeights:
    """q_ia/√n of every row.

    Attributes:
        vectors: (k, n, C).
        centred: whether J̄ is subtracted from every J_i.
    """

    vectors: Tensor
    centred: bool

    @property
    def rows(self) -> int:
        """R = k·n."""
        return self.vectors.shape[0] * self.vectors.shape[1]

    def combine(self, coefficients: Tensor) -> Tensor:
        """Σ_a u_ia q_ia/√n for coefficients (m, R): cotangents (m, n, C), centred if that is asked for."""
        k, n, _ = self.vectors.shape
        cotangents = torch.einsum("mkn,knc->mnc", coefficients.view(len(coefficients), k, n), self.vectors)
        # Σ_i (J_i − J̄)ᵀ c_i = Σ_i J_iᵀ (c_i − c̄)
        return cotangents - cotangents.mean(dim=1, keepdim=True) if self.centred else cotangents

    def project(self, tangents: Tensor) -> Tensor:
        """The transpose: tangents of the outputs (n, C) → coefficients (R,)."""
        if self.centred:
            tangents = tangents - tangents.mean(dim=0)
        return torch.einsum("knc,nc->kn", self.vectors, tangents).flatten()


def rows_per_sample(outputs: int, likelihood: Likelihood, kind: FisherKind) -> int:
    """k: C − 1 (categorical) or C (gaussian) for the true Fisher, 1 for the empirical one."""
    return 1 if kind == "empirical" else root_columns(outputs, likelihood)


def check_kind(kind: str, labels: Tensor | None, likelihood: str, samples: int) -> None:
    """Refuses unknown names, and labels that are missing, not asked for or of another number."""
    check_likelihood(likelihood)
    if kind not in get_args(FisherKind):
        raise CurvatureError(f"unknown kind {kind!r}; there are {', '.join(get_args(FisherKind))}")
    if (kind == "empirical") != (labels is not None):
        raise CurvatureError("labels belong to the empirical Fisher: give both kind='empirical' and labels, or neither")
    if labels is not None and len(labels) != samples:
        raise ShapeMismatch(f"{samples} inputs but {len(labels)} labels")


def output_weights(
    outputs: Tensor, likelihood: Likelihood, kind: FisherKind, labels: Tensor | None, centred: bool
) -> OutputWeights:
    """The rows for the outputs (n, C) of a network.

    Args:
        outputs: logits or means.
        likelihood: "categorical" or "gaussian".
        kind: "true" or "empirical".
        labels: for "empirical": class numbers (n,) (categorical), targets (n, C) (gaussian).
        centred: subtract J̄.

    Raises:
        ShapeMismatch: labels of another shape; a class number outside 0 … C − 1.
    """
    scale = 1 / math.sqrt(len(outputs))
    if kind == "true":
        return OutputWeights(hessian_root(outputs, likelihood) * scale, centred)
    assert labels is not None
    if likelihood == "gaussian":
        if labels.shape != outputs.shape:
            raise ShapeMismatch(f"targets must be {tuple(outputs.shape)}, got {tuple(labels.shape)}")
        return OutputWeights((outputs - labels)[None] * scale, centred)
    if labels.ndim != 1 or labels.is_floating_point():
        raise ShapeMismatch(
            f"labels must be class numbers, ({len(outputs)},), got {labels.dtype} {tuple(labels.shape)}"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= outputs.shape[1]:
        raise ShapeMismatch(
            f"labels must be in 0 … {outputs.shape[1] - 1}, got {int(labels.min())} … {int(labels.max())}"
        )
    residuals = outputs.softmax(dim=1)
    wrong = torch.nn.functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    # At the label itself p − 1 is minus the sum of the others, without cancellation.
    others = -(residuals * (1 - wrong)).sum(dim=1, keepdim=True)
    return OutputWeights(torch.where(wrong > 0, others, residuals)[None] * scale, centred)
