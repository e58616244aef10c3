"""Kernels, and the statistics of batch normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isosweep.curvature import jacobian_spectrum
from isosweep.networks.convolutional import convolution, delta_orthogonal, gaussian_kernel
from isosweep.networks.normalization import freeze_batch_statistics


@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_a_delta_orthogonal_convolution_keeps_lengths_in_every_direction(padding: str) -> None:
    layers = [convolution(delta_orthogonal(4, layer, 4, 4, 3), None, padding, torch.float64) for layer in (1, 2, 3)]
    network = nn.Sequential(nn.Unflatten(1, (4, 5, 3)), *layers, nn.Flatten(), nn.Linear(60, 3).double())
    values = jacobian_spectrum(network, torch.randn(2, 60, dtype=torch.float64)).singular_values
    torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-13, atol=0)


def test_kernels_have_the_variance_that_the_gain_multiplies() -> None:
    for kernel in (delta_orthogonal(1, 1, 64, 48, 3), gaussian_kernel(1, 1, 64, 48, 3)):
        assert float(kernel.square().sum(dim=(1, 2, 3)).mean()) == pytest.approx(1.0, rel=0.05)
    assert not torch.equal(gaussian_kernel(1, 1, 4, 4, 3), gaussian_kernel(1, 2, 4, 4, 3))


def test_kernels_without_a_meaning() -> None:
    with pytest.raises(ValueError, match="at least as many output channels"):
        delta_orthogonal(0, 1, 3, 4, 3)
    with pytest.raises(ValueError, match="odd edge"):
        delta_orthogonal(0, 1, 4, 4, 2)


def test_frozen_statistics_give_the_outputs_of_training_mode() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 5), nn.BatchNorm1d(5)
    ).double()
    inputs = torch.randn(8, 2, 5, 5, dtype=torch.float64)
    training = network(inputs)
    freeze_batch_statistics(network, inputs)
    assert not network.training
    torch.testing.assert_close(network(inputs), training, rtol=1e-12, atol=1e-12)
