"""The losses of training: negative log-likelihoods of the two output models, and their cotangents at the outputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "loss_and_cotangents", "targets_of"]

LOSSES = {"categorical": "cross_entropy", "gaussian": "squared_error"}


def targets_of(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """(n, C): the labels' unit vectors."""
    return functional.one_hot(labels, classes).to(dtype)


def loss_and_cotangents(loss: str, outputs: Tensor, labels: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """The loss of each sample, and ∂(Σ loss / samples)/∂outputs.

    Args:
        loss: "cross_entropy" (−log softmax at the label) or "squared_error" (½|f − e_label|²).
        outputs: (n, C).
        labels: class numbers (n,), or targets (n, C): probabilities or vectors.
        samples: what the sum is divided by: all samples that count, of which these may be some.

    Returns:
        (n,) and (n, C), of the outputs' dtype.
    """
    targets = labels if labels.ndim == 2 else targets_of(labels, outputs.shape[1], outputs.dtype)
    if loss == "cross_entropy":
        logs = torch.log_softmax(outputs, dim=1)
        each = -(targets * logs).sum(dim=1)
        cotangents = torch.exp(logs).mul_(targets.sum(dim=1, keepdim=True)).sub_(targets)
    else:
        cotangents = outputs - targets
        each = 0.5 * cotangents.square().sum(dim=1)
    return each, cotangents.div_(samples)
