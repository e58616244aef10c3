"""Laws of rectangular layers: those of equal widths where they are equal, and simulated products where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isosweep.networks.activations import activation_module
from isosweep.networks.initializations import INITIALIZATIONS
from isosweep.theory.activations import activation
from isosweep.theory.jacobian_law import jacobian_edge, jacobian_variance
from isosweep.theory.propagation import propagate
from isosweep.theory.uneven_widths import uneven_edge, uneven_growth_variance, uneven_mean, uneven_variance
from isosweep.threads import single_threaded

SIGMA_W, SEEDS = 1.3, 6


@pytest.mark.parametrize("init", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("name", ["tanh", "relu", "linear", "gelu"])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_equal_widths_have_the_known_law(name: str, init, ratio: float) -> None:
    phi, depth, q = activation(name), 6, 0.5
    variances, widths = (q,) * depth, (int(400 * ratio), *(400,) * depth)
    assert uneven_edge(phi, variances, SIGMA_W, widths, init) == pytest.approx(
        jacobian_edge(phi, q, SIGMA_W, depth, init, ratio), rel=1e-11
    )
    assert uneven_variance(phi, variances, SIGMA_W, widths, init) == pytest.approx(
        jacobian_variance(phi, q, SIGMA_W, depth, init, ratio), rel=1e-11, abs=1e-11
    )


def squares_of(name: str, init: str, widths: tuple[int, ...], seed: int) -> np.ndarray:
    """Squared singular values of one network without biases, at one input of mean square 1."""
    x = torch.randn(widths[0], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x *= math.sqrt(widths[0]) / x.norm()
    jacobian = torch.eye(widths[0], dtype=torch.float64)
    for layer in range(1, len(widths)):
        weight = SIGMA_W * INITIALIZATIONS[init](seed, layer, widths[layer], widths[layer - 1])
        h = (weight @ x).requires_grad_()
        y = activation_module(name)(h)
        (slope,) = torch.autograd.grad(y.sum(), h)
        jacobian, x = slope[:, None] * (weight @ jacobian), y.detach()
    return torch.linalg.eigvalsh(jacobian.T @ jacobian).flip(0).numpy()


@pytest.mark.parametrize("init", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("name", ["tanh", "linear"])
def test_simulated_products_have_this_law(name: str, init) -> None:
    phi, widths = activation(name), (300, 500, 200, 400)
    variances = tuple(propagate(phi, SIGMA_W, 0.0, 3, 1.0).q[:3].tolist())
    with single_threaded():
        drawn = [squares_of(name, init, widths, seed) for seed in range(SEEDS)]
    # the draws' common factors: one network's mean varies by this, and with it all of its values
    spread = math.sqrt(uneven_growth_variance(phi, variances, widths, init) / SEEDS)
    mean = uneven_mean(phi, variances, SIGMA_W, widths)
    assert np.mean(drawn) == pytest.approx(mean, rel=4 * spread + 0.02)
    relative = [one.var() / one.mean() ** 2 for one in drawn]
    expected = uneven_variance(phi, variances, SIGMA_W, widths, init) / mean**2
    assert np.mean(relative) == pytest.approx(expected, rel=4 * np.std(relative) / SEEDS**0.5 / expected + 0.05)
    tops = [one[0] / one.mean() for one in drawn]
    assert np.mean(tops) == pytest.approx(uneven_edge(phi, variances, SIGMA_W, widths, init) / mean, rel=0.08)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="2 layers have as many variances, not 1"):
        uneven_edge(activation("tanh"), (0.5,), 1.0, (3, 4, 5), "gaussian")
