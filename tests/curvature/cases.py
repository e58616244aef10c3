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
from isosweep.networks.normalization import freeze_batch_statistics
from isosweep.networks.quantized import QuantizedLinear, QuantizedReLU
from isosweep.networks.residual import SCHEMES, Residual, Scheme
from isosweep.networks.scaled import ScaledLinear

Likelihood = Literal["categorical", "gaussian"]


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], tuple[nn.Sequential, Tensor]]
    plain: bool = True
    """Whether it is a plain chain of dense layers and activations."""


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


def _drawn(network: nn.Sequential, seed: int = 3) -> nn.Sequential:
    """The network in float64, all its parameters drawn anew, those of normalisations about 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double()
    for parameter in dict.fromkeys(network.parameters()):
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        with torch.no_grad():
            parameter.copy_(draw * 1.3 / math.sqrt(fan_in))
    for module in network.modules():
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d)) and module.weight is not None:
            with torch.no_grad():
                module.weight.add_(1.0)
    return network


def _branch(width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.Tanh())


def _residual(scheme: Scheme, steps: int) -> Case:
    return Case(
        f"residual {scheme} {steps}",
        lambda: (
            _drawn(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), Residual(_branch(), 0.4, scheme, steps), nn.Linear(6, 4))),
            samples(7, 5),
        ),
        plain=False,
    )


def _nested_residual() -> tuple[nn.Sequential, Tensor]:
    """Pre-normalised blocks, one within another, two dense layers in a branch, and one at the very beginning."""
    inner = Residual(nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 6)), 0.7)
    outer = Residual(nn.Sequential(inner, nn.RMSNorm(6), nn.Linear(6, 6)), 0.5)
    return _drawn(nn.Sequential(Residual(_branch(), 0.3), outer, nn.Tanh(), nn.Linear(6, 4))), samples(7, 6)


def _tied() -> tuple[nn.Sequential, Tensor]:
    shared = nn.Linear(6, 6)
    return (
        _drawn(
            nn.Sequential(nn.Linear(5, 6), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), shared, nn.Linear(6, 4))
        ),
        samples(9, 5),
    )


def _convolutional(padding_mode: str) -> tuple[nn.Sequential, Tensor]:
    network = nn.Sequential(
        nn.Unflatten(1, (2, 5, 4)),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode=padding_mode),
        nn.Tanh(),
        nn.Conv2d(4, 4, (3, 2), padding=(2, 1), stride=(2, 1), padding_mode=padding_mode, groups=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 1, bias=False),
        nn.Flatten(),
        nn.Linear(12, 4),
    )
    return _drawn(network), samples(6, 40)


def _pooled() -> tuple[nn.Sequential, Tensor]:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding="same", dilation=2),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5),
        nn.BatchNorm1d(5),
        nn.Tanh(),
        nn.Linear(5, 4),
    )
    inputs = samples(6, 36).view(6, 1, 6, 6)
    freeze_batch_statistics(_drawn(network), inputs)
    return network, inputs


def _convolutional_residual() -> tuple[nn.Sequential, Tensor]:
    branch = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.Tanh())
    network = nn.Sequential(
        nn.Unflatten(1, (2, 3, 3)), Residual(branch, 0.5, "heun", 2), nn.Flatten(), nn.Linear(18, 3)
    )
    return _drawn(network), samples(5, 18)


def _few_places() -> tuple[nn.Sequential, Tensor]:
    """Images so small that pairs of places are cheaper than gradients; the last convolution has one place."""
    network = nn.Sequential(
        nn.Unflatten(1, (3, 2, 2)),
        nn.Conv2d(3, 9, 3, padding=1, padding_mode="circular"),
        nn.Tanh(),
        nn.Conv2d(9, 9, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(9, 5, 2),
        nn.Flatten(),
        nn.Linear(5, 3),
    )
    return _drawn(network), samples(7, 12)


def _tied_convolutions() -> tuple[nn.Sequential, Tensor]:
    """One convolution at two sizes of the image, of which one has few places."""
    shared = nn.Conv2d(8, 8, 3, padding=1)
    network = nn.Sequential(
        nn.Unflatten(1, (8, 4, 4)), shared, nn.Tanh(), nn.AvgPool2d(2), shared, nn.Flatten(), nn.Linear(32, 3)
    )
    return _drawn(network), samples(5, 128)


def _normalized() -> tuple[nn.Sequential, Tensor]:
    network = nn.Sequential(
        nn.LayerNorm(6),
        nn.Linear(6, 8),
        nn.LayerNorm(8),
        nn.Tanh(),
        nn.Linear(8, 8),
        nn.RMSNorm(8),
        nn.Tanh(),
        nn.LayerNorm(8, elementwise_affine=False),
        nn.LayerNorm(8, bias=False),
        nn.Linear(8, 4),
    )
    return _drawn(network), samples(7, 6)


def _quantized() -> tuple[nn.Sequential, Tensor]:
    network = nn.Sequential(
        QuantizedLinear(6, 8, 1),
        QuantizedReLU(2, 1.5),
        QuantizedLinear(8, 8, 2),
        QuantizedReLU(8, 2.0),
        QuantizedLinear(8, 8, 4, bias=False),
        QuantizedReLU(1, 1.0),
        nn.Linear(8, 4),
    )
    return _drawn(network), samples(7, 6)


def _scaled() -> tuple[nn.Sequential, Tensor]:
    network = nn.Sequential(
        ScaledLinear(6, 8, 0.3, 2.0), nn.Tanh(), ScaledLinear(8, 8, 1.7, 0.0), nn.Tanh(), ScaledLinear(8, 4, 2.5, 0.4)
    )
    return _drawn(network), samples(7, 6)


CASES = [
    *(_activation(name) for name in ACTIVATION_MODULES),
    Case("sigmoid", lambda: (_drawn(nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 4))), samples(7, 6))),
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
    *(_residual(scheme, steps) for scheme in SCHEMES for steps in (1, 3)),
    Case("residual within residual", _nested_residual, plain=False),
    Case("tied layers", _tied, plain=False),
    Case("convolutional, zeros", lambda: _convolutional("zeros"), plain=False),
    Case("convolutional, circular", lambda: _convolutional("circular"), plain=False),
    Case("convolutional, pooled", _pooled, plain=False),
    Case("convolutional, few places", _few_places, plain=False),
    Case("convolutional, tied", _tied_convolutions, plain=False),
    Case("convolutional, residual", _convolutional_residual, plain=False),
    Case("normalised", _normalized, plain=False),
    Case("quantised", _quantized),
    Case("scaled", _scaled, plain=False),
]
