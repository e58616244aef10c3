from __future__ import annotations

import math
from collections.abc import Iterable

import flint
import pytest
import torch
from cases import CASES
from high_precision import derivative
from torch import nn

from isosweep.curvature.layers import Elementwise, rule_for, supported_layers
from isosweep.networks.activations import ACTIVATION_MODULES
from isosweep.networks.residual import Residual

MODULES = {**{name: build() for name, build in ACTIVATION_MODULES.items()}, "sigmoid": nn.Sigmoid()}


@pytest.mark.parametrize("name", list(MODULES))
def test_derivative_is_right_to_rounding(name: str) -> None:
    module = MODULES[name]
    rule = rule_for(module)
    assert isinstance(rule, Elementwise)
    points = [sign * 10**exponent for exponent in (-8, -3, -1, 0.0, 0.3, 0.7, 1.0, 1.25) for sign in (-1, 1)]
    found = rule.derivative(module, torch.tensor(points, dtype=torch.float64)).tolist()
    before, flint.ctx.prec = flint.ctx.prec, 400
    try:
        for point, value in zip(points, found, strict=True):
            exact = derivative(module, point)
            if exact == 0:
                assert value == 0
                continue
            condition = abs(point) + 1
            assert abs(float((flint.arb(value) - exact) / exact)) <= 8e-16 * condition * condition, point
    finally:
        flint.ctx.prec = before


@pytest.mark.parametrize("name", list(MODULES))
def test_derivative_is_torchs_at_and_around_kinks(name: str) -> None:
    module = MODULES[name]
    rule = rule_for(module)
    assert isinstance(rule, Elementwise)
    points = torch.tensor([-1.0, 0.0, -0.0, 1.0, -2.0, 2.0, math.pi], dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(module(points).sum(), points)
    torch.testing.assert_close(rule.derivative(module, points.detach()), exact, rtol=1e-13, atol=1e-15)


def test_every_activation_of_a_sweep_is_supported() -> None:
    names = supported_layers()
    for module in MODULES.values():
        assert type(module).__name__ in names
    assert "Linear" in names


def test_every_rule_goes_through_the_common_cases() -> None:
    """A new file in `isosweep/curvature/layers` needs a case in `cases.py`, which all quantities are checked on."""

    def kinds(modules: Iterable[nn.Module]) -> set[str]:
        return {type(module).__name__ for module in modules}

    found: set[str] = set()
    for case in CASES:
        network, _ = case.build()
        found |= kinds(network.modules())
        for block in network.modules():
            found |= kinds(block.unrolled()) if isinstance(block, Residual) else set()
    assert set(supported_layers()) - found == set()


def test_a_subclass_has_no_rule() -> None:
    class Scaled(nn.Tanh):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    assert rule_for(Scaled()) is None
