"""Dense layers whose scale stands outside of the weights, as parametrisations of wide networks have it.

The function at initialisation may be the same; what differs is the gradient by the weights, and so the Fisher matrix.

| parametrisation | layer 1 | hidden layers | readout |
|---|---|---|---|
| standard | w ~ σ_w²/N_0, no factor | w ~ σ_w²/N, no factor | w ~ σ_w²/N, no factor |
| ntk (Jacot et al. 2018) | w ~ 1, factor σ_w/√N_0 | w ~ 1, factor σ_w/√N | w ~ 1, factor σ_w/√N |
| mup (Yang and Hu 2021, table 1) | w ~ σ_w²/(N N_0), factor √N | w ~ σ_w²/N, no factor | w ~ σ_w²/N, factor 1/√N |

In "ntk" biases are standard normal with the factor σ_b; in "mup" those of layer 1 have the factor √N too, and those of
the others none. With orthogonal weights "w ~ v" reads as the Haar matrix of that mean square.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ScaledLinear"]


class ScaledLinear(nn.Linear):
    """h = a·W x + c·b.

    Args:
        in_features, out_features, bias, device, dtype: as of `torch.nn.Linear`.
        weight_factor: a.
        bias_factor: c.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_factor: float,
        bias_factor: float = 1.0,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self.weight_factor, self.bias_factor = weight_factor, bias_factor

    def forward(self, input: Tensor) -> Tensor:
        outputs = nn.functional.linear(input * self.weight_factor, self.weight)
        return outputs if self.bias is None else outputs + self.bias_factor * self.bias

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, weight_factor={self.weight_factor!r}, bias_factor={self.bias_factor!r}"
