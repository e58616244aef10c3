"""The recursion of residual networks against wide networks of the project's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from isosweep.curvature import forward_statistics, jacobian_spectrum
from isosweep.networks.activations import activation_module
from isosweep.networks.initializations import gaussian, standard_biases
from isosweep.networks.residual import Residual
from isosweep.theory.activations import activation
from isosweep.theory.residual import propagate_residual

WIDTH, DEPTH = 240, 8


def network(name: str, sigma_w: float, sigma_b: float, time_step: float, seed: int) -> nn.Sequential:
    def dense(layer: int, rows: int) -> nn.Linear:
        made = nn.Linear(WIDTH, rows, dtype=torch.float64)
        with torch.no_grad():
            made.weight.copy_(sigma_w * gaussian(seed, layer, rows, WIDTH))
            made.bias.copy_(sigma_b * standard_biases(seed, layer, rows))
        return made

    blocks = [
        Residual(nn.Sequential(dense(layer, WIDTH), activation_module(name)), time_step)
        for layer in range(2, DEPTH + 1)
    ]
    return nn.Sequential(dense(1, WIDTH), activation_module(name), *blocks, dense(DEPTH + 1, WIDTH))


@pytest.mark.parametrize(("name", "time_step"), [("tanh", 0.5), ("relu", 0.3), ("relu", 1.0), ("silu", 0.7)])
def test_variances_correlations_and_jacobians_are_those_of_wide_networks(name: str, time_step: float) -> None:
    sigma_w, sigma_b = 1.3, 0.2
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(12, WIDTH, generator=generator, dtype=torch.float64)
    inputs /= inputs.norm(dim=1, keepdim=True) / math.sqrt(WIDTH)
    gram = inputs @ inputs.T / WIDTH
    correlation = float((gram.sum() - gram.trace()) / (12 * 11))
    predicted = propagate_residual(activation(name), sigma_w, sigma_b, DEPTH, 1.0, correlation, time_step)
    q, c, jacobian = [], [], []
    for seed in range(5):
        drawn = network(name, sigma_w, sigma_b, time_step, seed)
        statistics = forward_statistics(drawn, inputs)
        q.append(statistics.q.numpy())
        c.append(statistics.c.numpy())
        # the largest singular value is the outlier along x itself
        values = jacobian_spectrum(drawn, inputs[:1], end=DEPTH, method="plain").singular_values[:, 1:]
        jacobian.append([math.log(float(values.square().sum()) / WIDTH)])
    for measured, law, slack in (
        (np.log(q), np.log(predicted.q), 0.02),
        (np.array(c), predicted.correlation, 0.01),
        (np.array(jacobian), predicted.log_jacobian[-1:], 0.03),
    ):
        error = measured.std(axis=0, ddof=1) / math.sqrt(5)
        assert np.abs(measured.mean(axis=0) - law).max() <= 4 * error.max() + slack


def test_small_steps_lose_nothing() -> None:
    """A linear branch with L·Δt² → 0: the Jacobian's mean square stays at that of the first layer."""
    signal = propagate_residual(activation("linear"), 1.0, 0.0, 1001, 1.0, 0.0, 1e-3)
    assert signal.log_jacobian[-1] == pytest.approx(1000 * math.log1p(1e-6), rel=1e-12)
    assert signal.x[-1] == pytest.approx((1 + 1e-6) ** 1000, rel=1e-12)


@pytest.mark.parametrize(
    ("depth", "step", "message"), [(0, 1.0, "at least one layer"), (3, 0.0, "Δt must be positive")]
)
def test_bad_input(depth: int, step: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        propagate_residual(activation("tanh"), 1.0, 0.0, depth, 1.0, 0.0, step)
