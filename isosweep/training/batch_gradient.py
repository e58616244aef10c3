"""Which of the two ways to a gradient a network takes: by its structure, so that it is a run's own."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from isosweep.curvature.layers import Elementwise, rule_for
from isosweep.threads import Workers
from isosweep.training.autograd_gradient import AutogradGradient
from isosweep.training.gradient import BatchGradient, BatchLoss

__all__ = ["LossAndGradient", "batch_gradient", "is_plain_chain"]


class LossAndGradient(Protocol):
    """The loss of one network over a batch, and its gradient."""

    def __call__(self, inputs: Tensor, labels: Tensor) -> BatchLoss:
        """Writes the gradient of the mean loss over the batch, and returns the sums."""

    def losses(self, inputs: Tensor, labels: Tensor) -> BatchLoss:
        """The sums alone."""


def batch_gradient(
    network: nn.Sequential,
    gradients: list[Tensor] | None,
    batch: int,
    loss: str,
    workers: Workers,
    *,
    batch_statistics: bool = False,
) -> LossAndGradient:
    """`BatchGradient` for a plain chain, else `AutogradGradient`, with or without `batch_statistics`."""
    if is_plain_chain(network):
        return BatchGradient(network, gradients, batch, loss, workers)
    return AutogradGradient(network, gradients, loss, workers, batch_statistics=batch_statistics)


def is_plain_chain(network: nn.Sequential) -> bool:
    """Whether it is a sequence of `nn.Linear` and activations alone, each in one place."""
    modules = [module for module in network.modules() if type(module) is not nn.Sequential]
    parts = sum(1 for _ in _leaves(network))
    plain = all(type(module) is nn.Linear or isinstance(rule_for(module), Elementwise) for module in modules)
    return plain and parts == len(modules)


def _leaves(network: nn.Module) -> list[nn.Module]:
    """Every module in every place."""
    if type(network) is not nn.Sequential:
        return [network]
    return [leaf for child in network for leaf in _leaves(child)]
