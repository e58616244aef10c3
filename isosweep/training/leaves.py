"""A network for one thread's automatic differentiation."""

from __future__ import annotations

import copy

from torch import Tensor, nn

__all__ = ["with_leaves"]


def with_leaves(network: nn.Sequential) -> tuple[nn.Sequential, list[Tensor]]:
    """A copy of the network's modules whose parameters are new leaves over the same memory, and these leaves in the
    order of `network.parameters()`.

    A graph and gradients of its own for each thread: `torch.func.functional_call` puts the parameters into the one
    module for the time of the call, where another thread's call finds them.
    """
    leaves = {id(p): p.detach().requires_grad_() for p in network.parameters()}
    copied: nn.Sequential = copy.deepcopy(network, dict(leaves))
    return copied, list(leaves.values())
