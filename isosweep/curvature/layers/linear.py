"""A dense layer h = W x + b.

The gradient of cotangent c at sample i is c x_iᵀ for W and c for b, so the dual's entries are (x_i·x_j + 1)(c_ia·c_jb).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import GramTerm, Parameters, Rule
from isosweep.curvature.products import multiply

__all__ = ["RULE", "Linear"]


class Linear(Rule):
    types: tuple[type[nn.Module], ...] = (nn.Linear,)
    counts = True

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        return outputs, inputs

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        weight = cast(Tensor, module.weight)
        multiply(cotangents.flatten(0, 1), weight, out.view(-1, weight.shape[1]))

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        return cast(Tensor, module.weight)

    def gram_terms(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> list[GramTerm]:
        with_bias = parameters == "all" and module.bias is not None
        return [GramTerm(samples=saved, offset=1.0 if with_bias else 0.0, cotangents=cotangents)]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        of_weight = (cotangents.mT @ saved).flatten(1)
        if parameters == "weights" or module.bias is None:
            return of_weight
        return torch.cat([of_weight, cotangents.sum(dim=1)], dim=1)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return tangents @ cast(Tensor, module.weight).T

    def push_parameters(self, module: nn.Module, saved: Tensor, direction: Tensor, parameters: Parameters) -> Tensor:
        weight = cast(Tensor, module.weight)
        change = saved @ direction[: weight.numel()].view_as(weight).T
        return change + direction[weight.numel() :] if len(direction) > weight.numel() else change

    def parameter_count(self, module: nn.Module, parameters: Parameters) -> int:
        with_bias = parameters == "all" and module.bias is not None
        weight = cast(Tensor, module.weight)
        return weight.numel() + (weight.shape[0] if with_bias else 0)

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        width = cast(nn.Linear, module).in_features
        return None if shape == (width,) else f"width {width}"


RULE = Linear()
