"""Quantised layers with straight-through coarse gradients.

Forwards, weights and activations take the values of their grids. Backwards, the derivative of rounding is replaced by
1 (Yin et al. 2019): ∂Q(w)/∂w = 1, and φ'(h) = 1 for 0 ≤ h ≤ α, 0 elsewhere. What the curvature engine measures of
such a network is the Fisher matrix and the Jacobian of this coarse derivative, not of the piecewise constant function.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LARGEST_BITS", "QuantizedLinear", "QuantizedReLU", "blend_weights", "quantize_weights"]

LARGEST_BITS = 16
_LEAST_SQUARES_STEPS = 50


def _check_bits(bits: int) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= LARGEST_BITS:
        raise ValueError(f"bits must be a whole number from 1 to {LARGEST_BITS}, got {bits!r}")


def quantize_weights(weights: Tensor, bits: int) -> Tensor:
    """Q(w): one scale for the tensor and `bits` bits a weight.

    1 bit: mean|w|·sign(w), which is the least-squares scale; sign(0) is 1. More: δ·k with whole |k| ≤ 2^(bits−1) − 1,
    δ and k by alternating least squares, min |w − δk|², from δ = max|w|/(2^(bits−1) − 1) on: each step lowers the
    error; it ends where nothing changes, at a local minimum.

    Raises:
        ValueError: bits that are not a whole number from 1 to 16.
    """
    _check_bits(bits)
    if bits == 1:
        signs = torch.where(weights < 0, -1.0, 1.0).to(weights.dtype)
        quantized: Tensor = signs * weights.abs().mean()
        return quantized
    most = 2 ** (bits - 1) - 1
    scale = weights.abs().max() / most
    if not scale > 0:
        return torch.zeros_like(weights)
    levels = (weights / scale).round().clamp(-most, most)
    for _ in range(_LEAST_SQUARES_STEPS):
        scale = (weights * levels).sum() / levels.square().sum()
        found = (weights / scale).round().clamp(-most, most)
        if torch.equal(found, levels):
            break
        levels = found
    rounded: Tensor = scale * levels
    return rounded


class QuantizedLinear(nn.Linear):
    """h = Q(W)x + b, the derivative in W as if Q were the identity.

    Args:
        in_features, out_features, bias, device, dtype: as of `torch.nn.Linear`.
        bits: bits a weight; biases are not quantised.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_bits(bits)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.bits = bits

    def quantized(self) -> Tensor:
        """Q(W), without a gradient."""
        return quantize_weights(self.weight.detach(), self.bits)

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight + (self.quantized() - self.weight).detach()
        return nn.functional.linear(input, weight, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bits={self.bits}"


@torch.no_grad()
def blend_weights(network: nn.Module, share: float) -> None:
    """w ← (1 − ρ)w + ρ·Q(w) of every quantised layer, ρ = `share`: the first half of a step of blended coarse gradient
    descent (Yin et al. 2019), whose other half is −η times the coarse gradient, taken at Q(w).
    """
    for module in network.modules():
        if isinstance(module, QuantizedLinear):
            module.weight.lerp_(module.quantized(), share)


class QuantizedReLU(nn.Module):
    """min(max(h, 0), α) rounded to the grid of 2^bits − 1 equal steps from 0 to α; coarse derivative 1 on [0, α].

    Args:
        bits: bits an activation.
        clip: α.
    """

    def __init__(self, bits: int, clip: float = 1.0) -> None:
        _check_bits(bits)
        if not clip > 0:
            raise ValueError(f"the clip α must be positive, got {clip!r}")
        super().__init__()
        self.bits, self.clip = bits, clip

    def forward(self, input: Tensor) -> Tensor:
        clipped = input.clamp(0.0, self.clip)
        step = self.clip / (2**self.bits - 1)
        rounded = (clipped / step).round() * step
        outputs: Tensor = clipped + (rounded - clipped).detach()
        return outputs

    def extra_repr(self) -> str:
        return f"bits={self.bits}, clip={self.clip!r}"
