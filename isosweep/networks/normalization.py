"""Batch normalisation with the statistics of one batch, held fixed: what its curvature, and its loss on a split, are
defined by here. There are no running averages: nothing that a network computes depends on the steps that led to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["freeze_batch_statistics", "has_batch_statistics"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether a layer of the network normalises by the statistics of a batch."""
    return any(isinstance(module, _BATCH_NORMS) for module in network.modules())


def freeze_batch_statistics(network: nn.Module, inputs: Tensor) -> None:
    """Gives every BatchNorm of the network the statistics of these inputs, layer by layer, and evaluation mode.

    The variance is the biased one, by which training normalises; so the outputs at these inputs are those of training
    mode. Derivatives taken afterwards treat the statistics as constants. The network is changed.
    """
    layers = [module for module in network.modules() if isinstance(module, _BATCH_NORMS)]
    if not layers:
        return

    def measure(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(module, _BATCH_NORMS)
        (values,) = arguments
        others = [0, *range(2, values.ndim)]
        variance, mean = torch.var_mean(values, dim=others, correction=0)
        module.running_mean, module.running_var = mean.detach().clone(), variance.detach().clone()

    network.eval()
    hooks = [layer.register_forward_pre_hook(measure) for layer in layers]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
