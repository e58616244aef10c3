"""The recursion over the places of an image against wide convolutional networks of the project's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from isosweep.networks.convolutional import KERNELS, convolution
from isosweep.networks.initializations import standard_biases
from isosweep.theory.activations import activation
from isosweep.theory.convolutional import propagate_places
from isosweep.theory.jacobian_law import jacobian_edge
from isosweep.theory.propagation import propagate
from isosweep.threads import single_threaded

WIDTH, DEPTH, SEEDS = 128, 5, 4
SIGMA_W, SIGMA_B = 1.2, 0.3


def image(channels: int = 3) -> torch.Tensor:
    drawn = torch.randn(1, channels, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return drawn * torch.linspace(0.2, 2, 20, dtype=torch.float64).view(1, 1, 4, 5)


def variances(init: str, padding, seed: int) -> np.ndarray:
    """Mean over the channels of h^l(p)², (L, 4, 5), of one network."""
    x, found = image(), []
    for layer in range(1, DEPTH + 1):
        kernel = SIGMA_W * KERNELS[init](seed, layer, WIDTH, x.shape[1], 3)
        made = convolution(kernel, SIGMA_B * standard_biases(seed, layer, WIDTH), padding, torch.float64)
        h = made(x).detach()
        found.append(h.square().mean(dim=(0, 1)).numpy())
        x = torch.tanh(h)
    return np.array(found)


@pytest.mark.parametrize(
    ("init", "padding"),
    [("gaussian", "circular"), ("gaussian", "zeros"), ("orthogonal", "circular"), ("orthogonal", "zeros")],
)
def test_every_place_has_its_variance(init, padding) -> None:
    with single_threaded():
        measured = np.mean([variances(init, padding, seed) for seed in range(SEEDS)], axis=0)
    squares = image().square().mean(dim=(0, 1)).numpy()
    predicted = propagate_places(activation("tanh"), SIGMA_W, SIGMA_B, DEPTH, squares, init, padding)
    ratio = np.log(measured / predicted)
    # a mean of WIDTH · SEEDS squares of Gaussian numbers varies by √(2/(WIDTH · SEEDS)), the layers before beside it
    one = math.sqrt(2 / (WIDTH * SEEDS))
    assert np.abs(ratio).max() <= 6 * one
    assert np.abs(ratio.mean(axis=(1, 2))).max() <= 4 * one


def test_uniform_images_are_dense_networks_and_zero_padding_is_not() -> None:
    squares = np.full((4, 4), 0.7)
    dense = propagate(activation("tanh"), SIGMA_W, SIGMA_B, DEPTH, 0.7).q[:DEPTH]
    for init in ("gaussian", "orthogonal"):
        found = propagate_places(activation("tanh"), SIGMA_W, SIGMA_B, DEPTH, squares, init, "circular")
        np.testing.assert_allclose(found, np.broadcast_to(dense[:, None, None], found.shape), rtol=1e-12)
    edges = propagate_places(activation("tanh"), SIGMA_W, 0.0, 40, squares, "gaussian", "zeros")
    assert edges[-1].max() < 0.5 * propagate(activation("tanh"), SIGMA_W, 0.0, 40, 0.7).q[39]
    assert edges[3, 0, 0] < edges[3, 1, 1]


def test_a_delta_orthogonal_network_has_the_dense_orthogonal_law() -> None:
    """relu, 64 channels from the image on: σ_max of the whole Jacobian, all places, against the dense edge."""
    channels, depth, tops = 64, 3, []
    with single_threaded():
        for seed in range(3):
            layers: list[nn.Module] = []
            for layer in range(1, depth + 1):
                kernel = KERNELS["orthogonal"](seed, layer, channels, channels, 3)
                layers += [convolution(math.sqrt(2) * kernel, None, "circular", torch.float64), nn.ReLU()]
            network = nn.Sequential(*layers)
            x = torch.randn(1, channels, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            jacobian = torch.autograd.functional.jacobian(network, x).reshape(channels * 9, channels * 9)
            tops.append(float(torch.linalg.eigvalsh(jacobian.T @ jacobian)[-1]))
    edge = jacobian_edge(activation("relu"), 1.0, math.sqrt(2), depth, "orthogonal")
    assert np.mean(tops) == pytest.approx(edge, rel=0.08)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, np.ones((2, 2))), "at least one layer"),
        ((1, np.ones(4)), "height, width"),
        ((1, -np.ones((2, 2))), "0 or above"),
    ],
)
def test_bad_input(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        propagate_places(activation("tanh"), 1.0, 0.0, *arguments)
    with pytest.raises(ValueError, match="odd edge"):
        propagate_places(activation("tanh"), 1.0, 0.0, 1, np.ones((2, 2)), kernel=2)
