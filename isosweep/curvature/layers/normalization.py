"""Normalisation within a sample: LayerNorm and RMSNorm, over all of the sample's last dimension.

With r = 1/√(variance + ε) (RMSNorm: 1/√(mean square + ε)) and x̂ = r(x − mean) (RMSNorm: r·x), y = γ⊙x̂ + β and the
cotangent g = γ⊙c at x̂ becomes r(g − mean(g) − x̂ mean(g⊙x̂)) at x, for RMSNorm without mean(g).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from isosweep.curvature.layers.rule import GramTerm, Parameters, Rule

__all__ = ["RULE", "Normalization"]


class Normalization(Rule):
    types = (nn.LayerNorm, nn.RMSNorm)

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = module(inputs)
        layer = cast(nn.LayerNorm | nn.RMSNorm, module)
        shifted = inputs - inputs.mean(dim=1, keepdim=True) if _centres(module) else inputs
        epsilon = torch.finfo(inputs.dtype).eps if layer.eps is None else layer.eps
        rate = (shifted.square().mean(dim=1, keepdim=True) + epsilon).rsqrt()
        return outputs, torch.cat([shifted * rate, rate], dim=1)

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        out.copy_(self._turned(module, saved, self._scaled(module, cotangents)))

    def _scaled(self, module: nn.Module, values: Tensor) -> Tensor:
        weight = cast(Tensor | None, module.weight)
        return values if weight is None else values * weight

    def _turned(self, module: nn.Module, saved: Tensor, values: Tensor) -> Tensor:
        """∂x̂/∂x, which is symmetric, times the values (…, n, d)."""
        normal, rate = saved[:, :-1], saved[:, -1:]
        along = (values * normal).mean(dim=-1, keepdim=True)
        across = values - values.mean(dim=-1, keepdim=True) if _centres(module) else values
        return rate * (across - normal * along)

    def jacobian(self, module: nn.Module, saved: Tensor, shape: torch.Size) -> Tensor:
        unit = torch.eye(shape.numel(), dtype=saved.dtype, device=saved.device)[:, None, :]
        columns = self._turned(module, saved, unit)  # (d, n, d): row j is ∂x̂/∂x_j
        return self._scaled(module, columns).permute(1, 2, 0)

    def gram_terms(
        self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters
    ) -> list[GramTerm]:
        if not self.parameter_count(module, parameters):
            return []
        return [GramTerm(None, 1.0, self._sample_gradients(module, saved, cotangents, parameters))]

    def gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        return self._sample_gradients(module, saved, cotangents, parameters).sum(dim=1)

    def _sample_gradients(self, module: nn.Module, saved: Tensor, cotangents: Tensor, parameters: Parameters) -> Tensor:
        parts = [cotangents * saved[:, :-1]]
        if parameters == "all" and getattr(module, "bias", None) is not None:
            parts.append(cotangents)
        return torch.cat(parts, dim=2)

    def push_forward(self, module: nn.Module, saved: Tensor, tangents: Tensor) -> Tensor:
        return self._scaled(module, self._turned(module, saved, tangents))

    def push_parameters(self, module: nn.Module, saved: Tensor, direction: Tensor, parameters: Parameters) -> Tensor:
        width = saved.shape[1] - 1
        change = saved[:, :-1] * direction[:width]
        return change + direction[width:] if len(direction) > width else change

    def parameter_count(self, module: nn.Module, parameters: Parameters) -> int:
        weight, bias = cast(Tensor | None, module.weight), cast(Tensor | None, getattr(module, "bias", None))
        if weight is None:
            return 0
        return weight.numel() + (bias.numel() if bias is not None and parameters == "all" else 0)

    def expects(self, module: nn.Module, shape: torch.Size) -> str | None:
        wanted = cast(nn.LayerNorm, module).normalized_shape
        fits = len(shape) == 1 and tuple(wanted) == tuple(shape)
        return None if fits else f"width {wanted[0]}" if len(wanted) == 1 else "vectors: one dimension a sample"


def _centres(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm)


RULE = Normalization()
