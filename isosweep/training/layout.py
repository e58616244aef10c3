"""Where each parameter of a network lies in one flat vector: weights that move together next to each other.

Optimizers work on contiguous pieces, and same-shaped matrices as one (layers, rows, columns) tensor; the network's own
parameters are views of the same memory, so that whatever moves the vector moves the network.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Layout", "Stack", "layout_of"]


@dataclass(frozen=True)
class Stack:
    """Hidden weights of one shape.

    Attributes:
        layers: 1-based numbers of the dense layers, ascending.
        start: where the first begins in the flat vector.
        rows, columns: the shape of each.
    """

    layers: tuple[int, ...]
    start: int
    rows: int
    columns: int

    def view(self, flat: Tensor) -> Tensor:
        """(layers, rows, columns), of the memory of `flat`."""
        count = len(self.layers)
        end = self.start + count * self.rows * self.columns
        return flat[self.start : end].view(count, self.rows, self.columns)


@dataclass(frozen=True)
class Layout:
    """The places of all parameters.

    Attributes:
        size: P.
        stacks: the stacked hidden weights; they come first.
        rest: where everything else begins.
        places: for each parameter in the order of `network.parameters()`, where it begins, and its shape.
    """

    size: int
    stacks: tuple[Stack, ...]
    rest: int
    places: tuple[tuple[int, torch.Size], ...]

    def views(self, flat: Tensor) -> list[Tensor]:
        """The parameters in `flat`, in the order of `network.parameters()`."""
        return [flat[start : start + shape.numel()].view(shape) for start, shape in self.places]

    def adopt(self, network: nn.Module, flat: Tensor) -> None:
        """Copies the network's parameters into `flat` and lets them live there."""
        with torch.no_grad():
            for parameter, view in zip(network.parameters(), self.views(flat), strict=True):
                view.copy_(parameter)
                parameter.data = view


def layout_of(network: nn.Sequential, stacked: bool) -> Layout:
    """The layout of a network's parameters.

    Args:
        network: a sequence of modules, its last `nn.Linear` the readout.
        stacked: whether hidden weights are stacked by shape; else all parameters are one piece in their own order.
    """
    dense = [module for module in network.modules() if isinstance(module, nn.Linear)]
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    if stacked:
        for number, module in enumerate(dense[:-1], start=1):
            groups[(module.out_features, module.in_features)].append(number)
    placed: dict[int, int] = {}
    stacks = []
    at = 0
    for (rows, columns), layers in groups.items():
        stacks.append(Stack(tuple(layers), at, rows, columns))
        for number in layers:
            placed[id(dense[number - 1].weight)] = at
            at += rows * columns
    rest = at
    for parameter in network.parameters():
        if id(parameter) not in placed:
            placed[id(parameter)] = at
            at += parameter.numel()
    places = tuple((placed[id(parameter)], parameter.shape) for parameter in network.parameters())
    return Layout(at, tuple(stacks), rest, places)
