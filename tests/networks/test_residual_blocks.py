"""Residual blocks are the explicit schemes they are called after."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from isosweep.networks.residual import SCHEMES, Residual


class Decay(nn.Module):
    """dx/dt = −x."""

    def forward(self, input: Tensor) -> Tensor:
        return -input


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_order_of_accuracy(scheme) -> None:
    def error(steps: int) -> float:
        block = Residual(nn.Sequential(Decay()), 1.0 / steps, scheme, steps)
        return abs(float(block(torch.ones(1, dtype=torch.float64))) - math.exp(-1))

    order = math.log2(error(32) / error(64))
    assert order == pytest.approx(SCHEMES[scheme], abs=0.1)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_amplification_is_the_taylor_polynomial(scheme) -> None:
    """One step of dx/dt = λx multiplies by Σ_{k ≤ order} (λΔt)^k/k!, which every explicit scheme of that order does."""
    found = float(Residual(nn.Sequential(Decay()), 0.3, scheme)(torch.ones(1, dtype=torch.float64)))
    assert found == pytest.approx(sum((-0.3) ** k / math.factorial(k) for k in range(SCHEMES[scheme] + 1)), rel=1e-15)


def test_a_branch_is_one_object_however_often_it_is_evaluated() -> None:
    block = Residual(nn.Sequential(nn.Linear(3, 3)), 0.1, "ssp3", 5)
    assert sum(module is block.branch for module in block.unrolled()) == 15
    assert len(list(block.parameters())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0,), "positive"), ((0.1, "rk4"), "euler, heun, ssp3"), ((0.1, "euler", 0), "at least one step")],
)
def test_bad_arguments(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Residual(nn.Sequential(), *arguments)
