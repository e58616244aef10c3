"""Going back in time: right where f is gentle, wrong where it contracts or is not smooth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from isosweep.measurement.reversal import reversal_errors
from isosweep.networks.residual import Residual, Scheme


def network(scale: float, step: float, steps: int, scheme: Scheme = "euler") -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    layers = [nn.Linear(9, 9, dtype=torch.float64) for _ in range(3)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(scale * torch.randn(9, 9, generator=generator, dtype=torch.float64) / 3)
            layer.bias.zero_()
    blocks = [Residual(nn.Sequential(layer, nn.Tanh()), step, scheme, steps) for layer in layers[:2]]
    return nn.Sequential(nn.Identity(), *blocks, layers[2])


def inputs() -> torch.Tensor:
    return torch.randn(5, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("heun", 3), ("ssp3", 3)])
def test_the_error_vanishes_with_the_step_as_the_scheme_says(scheme, order: int) -> None:
    """Over a fixed time: R(−z)R(z) − 1 is −z² for Euler, z⁴/4 for Heun, O(z⁴) for the third-order scheme."""
    coarse, fine = (reversal_errors(network(1.0, 1 / n, n, scheme=scheme), inputs()) for n in (32, 64))
    assert math.log2(coarse.state / fine.state) == pytest.approx(order, abs=0.25)
    assert fine.gradient < coarse.gradient < 0.1


def test_a_linear_block_by_hand() -> None:
    """x → (1 − Δt a)x forwards, (1 + Δt a) backwards: the error of the state is (Δt a)² after one step."""
    block = Residual(nn.Sequential(nn.Linear(1, 1, bias=False, dtype=torch.float64)), 0.1)
    with torch.no_grad():
        block.branch[0].weight.fill_(-2.0)
    errors = reversal_errors(nn.Sequential(block), torch.ones(1, 1, dtype=torch.float64))
    assert errors.state == pytest.approx(0.04, rel=1e-12)


def test_a_contraction_is_lost_going_back() -> None:
    strong = network(1.0, 1.0, 12)
    with torch.no_grad():
        for block in strong[1:3]:
            block.branch[0].weight.copy_(-0.99 * torch.eye(9, dtype=torch.float64))
    assert reversal_errors(strong, inputs()).state > 0.9
    assert reversal_errors(network(0.01, 0.01, 1), inputs()).state < 1e-6


def test_without_blocks_there_is_nothing_to_reverse() -> None:
    with pytest.raises(ValueError, match="no residual block"):
        reversal_errors(nn.Sequential(nn.Linear(9, 9)), inputs())
