"""Small networks that every quantity of the curvature engine is checked on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isosweep.networks.activations import ACTIVATION_MODULES

Likelihood = Literal["categorical", "gaussian"]


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], tuple[nn.Sequential, Tensor]]


def dense_network(
    widths: list[int],
    activation: str = "tanh",
    *,
    gain: float = 1.2,
    bias_std: float = 0.3,
    bias: bool = True,
    orthogonal: bool = False,
    seed: int = 0,
) -> nn.Sequential:
    """A float64 network of these widths, inputs and outputs included, with its own generator."""
    generator = torch.Generator().manual_seed(seed)
    modules: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(widths)):
        layer = nn.Linear(before, after, bias=bias, dtype=torch.float64)
        weight = torch.randn(after, before, generator=generator, dtype=torch.float64)
        if orthogonal:
            tall = weight if after >= before else weight.T
            weight = torch.linalg.qr(tall).Q * math.sqrt(max(1.0, after / before))
            weight = weight if after >= before else weight.T
        else:
            weight /= math.sqrt(before)
        with torch.no_grad():
            layer.weight.copy_(gain * weight)
            if bias:
                layer.bias.copy_(bias_std * torch.randn(after, generator=generator, dtype=torch.float64))
        modules.append(layer)
        if index < len(widths) - 2:
            modules.append(ACTIVATION_MODULES[activation]())
    return nn.Sequential(*modules)


def samples(count: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _activation(name: str) -> Case:
    return Case(name, lambda: (dense_network([6, 8, 8, 8, 4], name), samples(7, 6)))


def _duplicated() -> tuple[nn.Sequential, Tensor]:
    return dense_network([6, 8, 8, 4]), samples(3, 6).repeat(3, 1)


def _constant_outputs() -> tuple[nn.Sequential, Tensor]:
    network = dense_network([6, 8, 8, 4])
    nn.init.zeros_(network[-1].weight)
    return network, samples(7, 6)


def _saturated() -> tuple[nn.Sequential, Tensor]:
    """A softmax that is sure of itself: class probabilities down to 1e-20."""
    network = dense_network([6, 8, 8, 4])
    with torch.no_grad():
        network[-1].weight.mul_(12)
    return network, samples(7, 6)


def _nested() -> tuple[nn.Sequential, Tensor]:
    network = dense_network([6, 8, 8, 4], "relu")
    return nn.Sequential(network[:2], nn.Sequential(network[2], network[3]), network[4]), samples(7, 6)


CASES = [
    *(_activation(name) for name in ACTIVATION_MODULES),
    Case("deep", lambda: (dense_network([10] * 30 + [5], gain=1.5), samples(8, 10))),
    Case("rectangular", lambda: (dense_network([13, 5, 17, 3, 9, 6], "silu"), samples(9, 13))),
    Case("orthogonal", lambda: (dense_network([8] * 6 + [4], orthogonal=True), samples(9, 8))),
    Case("without bias", lambda: (dense_network([6, 8, 8, 4], bias=False), samples(7, 6))),
    Case("one dense layer", lambda: (dense_network([6, 4]), samples(7, 6))),
    Case("one sample", lambda: (dense_network([6, 8, 8, 4]), samples(1, 6))),
    Case("one output", lambda: (dense_network([6, 8, 8, 1]), samples(7, 6))),
    Case("two outputs", lambda: (dense_network([6, 8, 8, 2]), samples(7, 6))),
    Case("more rows than parameters", lambda: (dense_network([3, 2, 4], bias=False), samples(40, 3))),
    Case("many samples", lambda: (dense_network([5, 6, 3]), samples(333, 5))),
    Case("many outputs", lambda: (dense_network([6, 8, 60]), samples(5, 6))),
    Case("duplicated inputs", _duplicated),
    Case("constant outputs", _constant_outputs),
    Case("saturated softmax", _saturated),
    Case("nested", _nested),
]
