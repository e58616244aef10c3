"""The tangent kernel along training: how far it has moved, and how it is aligned with the labels.

K_(ia),(jb) = ⟨∂f_ia/∂θ, ∂f_jb/∂θ⟩ over n inputs and C outputs. Its drift is ‖K_t − K_0‖_F/‖K_0‖_F. Its alignment with
the labels is ⟨k, t⟩_F/(‖k‖_F ‖t‖_F) of the kernel of inputs k_ij = Σ_a K_(ia),(ja) with the ideal one t_ij =
[y_i = y_j] − 1/C (kernel-target alignment, Cristianini et al. 2001): 1 where k is a multiple of t.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isosweep.curvature.chain import chain_of
from isosweep.curvature.dual_gram import DualAccumulator, layer_terms
from isosweep.curvature.likelihoods import hessian_root
from isosweep.threads import Workers
from isosweep.training.losses import targets_of

__all__ = ["alignment", "drift", "tangent_kernel"]


def tangent_kernel(network: nn.Sequential, inputs: Tensor, workers: Workers) -> Tensor:
    """K over all parameters, (C·n, C·n) with rows ordered (output, input), symmetric."""
    chain = chain_of(network, inputs)
    trace = chain.forward(inputs, workers)
    cotangents = hessian_root(trace.outputs, "gaussian").contiguous()
    total = DualAccumulator(cotangents, workers)
    for layer in layer_terms(chain, trace, cotangents, "all", workers):
        total.add(layer)
    total.flush()
    lower = torch.tril(total.matrix)
    return lower + torch.tril(total.matrix, -1).mT


def drift(kernel: Tensor, first: Tensor) -> float:
    """‖K_t − K_0‖_F/‖K_0‖_F."""
    return float(torch.linalg.matrix_norm(kernel - first) / torch.linalg.matrix_norm(first))


def alignment(kernel: Tensor, labels: Tensor, classes: int) -> float:
    """⟨k, t⟩_F/(‖k‖_F ‖t‖_F), in [−1, 1].

    Args:
        kernel: from `tangent_kernel`.
        labels: (n,) class numbers.
        classes: C, at least 2.
    """
    n = len(labels)
    of_inputs = kernel.view(classes, n, classes, n).diagonal(dim1=0, dim2=2).sum(dim=-1)
    centred = targets_of(labels, classes, kernel.dtype) - 1 / classes
    ideal = centred @ centred.mT
    norms = torch.linalg.matrix_norm(of_inputs) * torch.linalg.matrix_norm(ideal)
    return float((of_inputs * ideal).sum() / norms)
