"""A dense layer with factors, h = a·W x + c·b: the dual's entries are (a² x_i·x_j + c²)(c_ia·c_jb)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.linear import Linear
from isosweep.curvature.layers.rule import GramTerm, Parameters
from isosweep.networks.scaled import ScaledLinear

__all__ = ["RULE"]


class ScaledDense(Linear):
    types = (ScaledLinear,)

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        return outputs, inputs * _factors(module)[0]

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        super().pull_back(module, saved, cotangents, out)
        out *= _factors(module)[0]

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        return super().jacobian(module, saved, shape) * _factors(module)[0]

    def gram_terms(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> list[GramTerm]:
        with_bias = parameters == "all" and module.bias is not None
        return [GramTerm(samples=saved, offset=_factors(module)[1] ** 2 if with_bias else 0.0, cotangents=cotangents)]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        found = super().gradients(module, saved, cotangents, parameters)
        found[:, cast(Tensor, module.weight).numel() :] *= _factors(module)[1]
        return found

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return super().push_forward(module, saved, tangents * _factors(module)[0])

    def push_parameters(self, module: nn.Module, saved: Tensor, direction: Tensor, parameters: Parameters) -> Tensor:
        count = cast(Tensor, module.weight).numel()
        scaled = torch.cat([direction[:count], direction[count:] * _factors(module)[1]])
        return super().push_parameters(module, saved, scaled, parameters)


def _factors(module: nn.Module) -> tuple[float, float]:
    """a and c."""
    layer = cast(ScaledLinear, module)
    return layer.weight_factor, layer.bias_factor


RULE = ScaledDense()
