"""Flatten and unflatten: the same numbers in another shape."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import Rule

__all__ = ["RULE", "Reshape"]


class Reshape(Rule):
    types = (nn.Flatten, nn.Unflatten)
    is_identity = True

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        return outputs, inputs.new_empty(len(inputs), 0)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        out.view(cotangents.shape).copy_(cotangents)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        outputs: Tensor = module(tangents)
        return outputs

    def check(self, module: nn.Module) -> str | None:
        if isinstance(module, nn.Flatten):
            return None if module.start_dim >= 1 else f"Flatten(start_dim={module.start_dim}), which mixes samples"
        name = cast(nn.Unflatten, module).dim
        return None if isinstance(name, int) and name != 0 else f"Unflatten(dim={name!r}), which cuts samples apart"

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        if isinstance(module, nn.Unflatten):
            unflatten = module
            sizes = cast(tuple[int, ...], unflatten.unflattened_size)
            dim = int(unflatten.dim)
            position = dim - 1 if dim > 0 else len(shape) + dim
            wanted = torch.Size(sizes).numel()
            fits = 0 <= position < len(shape) and (shape[position] == wanted or -1 in sizes)
            return None if fits else f"{wanted} numbers to arrange as {tuple(sizes)}"
        return None


RULE = Reshape()
