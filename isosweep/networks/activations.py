"""The activations of a sweep as torch modules.

Those torch has are torch's own; `Erf`, `ScaledErf` and `Sin` are added. `linear` is `torch.nn.Identity`, so that every
network of a depth has the same structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["ACTIVATION_MODULES", "Erf", "ScaledErf", "Sin", "activation_module"]


class Erf(nn.Module):
    """φ(x) = erf(x), element-wise."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.erf(input)


class ScaledErf(nn.Module):
    """φ(x) = erf(√π x / 2), element-wise: the error function with slope 1 at 0."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.erf(input * (math.sqrt(math.pi) / 2))


class Sin(nn.Module):
    """φ(x) = sin x, element-wise."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.sin(input)


# torch's softplus becomes the identity above its threshold; at 40 the two differ by less than a rounding error, at the
# default 20 they do not.
_SOFTPLUS_THRESHOLD = 40.0

ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "hard_tanh": nn.Hardtanh,
    "erf": Erf,
    "scaled_erf": ScaledErf,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": lambda: nn.Softplus(threshold=_SOFTPLUS_THRESHOLD),
    "sin": Sin,
}


def activation_module(name: str, negative_slope: float | None = None) -> nn.Module:
    """The module of the activation `name`; `negative_slope` is leaky_relu's slope below 0 (torch's 0.01 if None).

    Raises:
        KeyError: no such activation; the message lists those there are.
    """
    if name not in ACTIVATION_MODULES:
        raise KeyError(f"no activation {name!r}; there are {', '.join(ACTIVATION_MODULES)}")
    if name == "leaky_relu" and negative_slope is not None:
        return nn.LeakyReLU(negative_slope)
    return ACTIVATION_MODULES[name]()
