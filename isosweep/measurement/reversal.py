"""What goes wrong when a residual network is run backwards in time to save memory.

The reversed method keeps only the last state and integrates dx/dt = f(x) back from it, by the same scheme with −Δt, to
have the states at which gradients are taken. That is the inverse of the forward scheme only to its order, and where f
contracts forwards it expands backwards: ReLU blocks, or many steps, lose the state altogether (Gholami, Keutzer and
Biros 2019, "ANODE", section 3). Here both errors are measured; nothing else in isosweep uses the method.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isosweep.networks.residual import Residual

__all__ = ["ReversalErrors", "reversal_errors"]


@dataclass(frozen=True)
class ReversalErrors:
    """Errors of the reversed method, relative to discretise-then-optimise; infinite where it overflows.

    Attributes:
        state: |x̂ − x|/|x| of the first block's inputs x, over all samples, x̂ as found by going back.
        gradient: |ĝ − g|/|g| of the gradient of ½|outputs|²/n by all parameters.
    """

    state: float
    gradient: float


def reversal_errors(network: nn.Sequential, inputs: Tensor) -> ReversalErrors:
    """The errors for one network, whose residual blocks stand at its top level, at these inputs (n, N_0).

    Raises:
        ValueError: a network without residual blocks.
    """
    modules = list(network)
    blocks = [index for index, module in enumerate(modules) if isinstance(module, Residual)]
    if not blocks:
        raise ValueError("the network has no residual block to go back through")
    states = [inputs]
    with torch.no_grad():
        for module in modules:
            states.append(module(states[-1]))
    exact = _gradient(network, modules, states, states)
    found = list(states)
    with torch.no_grad():
        for index in reversed(range(len(modules))):
            module = modules[index]
            if isinstance(module, Residual):
                # what follows a block is what was found there, unless a module that is kept stands between
                after = found[index + 1] if index + 1 in blocks else states[index + 1]
                found[index] = _reversed(module)(after)
    first = blocks[0]
    return ReversalErrors(
        _relative(found[first], states[first]), _relative(_gradient(network, modules, states, found), exact)
    )


def _reversed(block: Residual) -> Residual:
    """The block by −Δt."""
    back = copy.copy(block)
    back.step = -block.step
    return back


def _gradient(network: nn.Sequential, modules: list[nn.Module], states: list[Tensor], at: list[Tensor]) -> Tensor:
    """The gradient by all parameters, each module differentiated at the inputs `at`."""
    parameters = list(network.parameters())
    total = {id(p): torch.zeros_like(p) for p in parameters}
    cotangent = states[-1] / len(states[-1])
    for module, x in reversed(list(zip(modules, at, strict=False))):
        own = list(module.parameters())
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            trainable = [p.requires_grad_() for p in own]
            outputs = module(leaf)
            cotangent, *parts = torch.autograd.grad(outputs, [leaf, *trainable], cotangent, allow_unused=True)
        for parameter, part in zip(own, parts, strict=True):
            if part is not None:
                total[id(parameter)] += part
    return torch.cat([total[id(p)].flatten() for p in parameters])


def _relative(found: Tensor, exact: Tensor) -> float:
    error = float((found - exact).norm() / exact.norm())
    return error if math.isfinite(error) else math.inf
