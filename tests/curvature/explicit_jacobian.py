"""The oracle: H^{1/2} J / √n written out with torch.func, and its singular values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def parameter_jacobian(network: nn.Sequential, inputs: Tensor) -> dict[str, Tensor]:
    """∂logits/∂θ of every parameter by its name, (n, C, numel)."""
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def logits(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(network, values, (x[None],))[0]

    jacobian = torch.func.vmap(torch.func.jacrev(logits), (None, 0))(parameters, inputs)
    return {name: j.detach().flatten(2) for name, j in jacobian.items()}


def symmetric_root(logits: Tensor, likelihood: str) -> Tensor:
    """Q = S(I − ssᵀ), C × C, with Q Qᵀ = diag(p) − ppᵀ, S = diag(s) and s = √p: (I − ssᵀ) is its own square. (n, C,
    C).
    """
    classes = logits.shape[1]
    identity = torch.eye(classes, dtype=logits.dtype).expand(len(logits), -1, -1)
    if likelihood == "gaussian":
        return identity
    s = torch.log_softmax(logits, 1).div(2).exp()
    return s[:, :, None] * (identity - s[:, :, None] * s[:, None, :])


def weighted_jacobian(network: nn.Sequential, inputs: Tensor, likelihood: str) -> dict[str, Tensor]:
    """Rows (sample, output) of H^{1/2} J / √n for every parameter, (nC, numel)."""
    with torch.no_grad():
        root = symmetric_root(network(inputs), likelihood) / math.sqrt(len(inputs))
    return {name: (root.mT @ j).flatten(0, 1) for name, j in parameter_jacobian(network, inputs).items()}


def spectrum_of(rows: Tensor, count: int) -> Tensor:
    """The `count` largest eigenvalues of rowsᵀ rows, zeros added where there are fewer."""
    values = torch.linalg.svdvals(rows).square() if rows.numel() else rows.new_zeros(0)
    padded = values.new_zeros(count)
    padded[: min(count, len(values))] = values[:count]
    return padded


def selected(name: str, parameters: str) -> bool:
    return parameters == "all" or name.endswith("weight")
