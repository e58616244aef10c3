"""The splitting of the C largest Fisher eigenvalues: limits, and plain networks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from plain_networks import largest_eigenvalues

from isosweep.theory.activations import activation
from isosweep.theory.network import Init, Network
from isosweep.theory.outlier_split import outlier_split


@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_networks_split_as_predicted(name: str, init: Init) -> None:
    phi = activation(name)
    sigma_w, sigma_b, square = (math.sqrt(2), 0.0, 1.0) if name == "relu" else (1.4, 0.6, 1.0)
    network = Network(phi, sigma_w, sigma_b, 3, 300, init, samples=24, outputs=6, mean_square=square)
    tops = np.array([largest_eigenvalues(network, seed) for seed in range(6)])
    tops /= tops.mean(1, keepdims=True)
    found = outlier_split(network)
    largest = tops[:, 0]
    # finite samples of the bulk add a little to the smaller ones
    assert largest.mean() - 1 == pytest.approx(found.largest - 1, rel=0.35)
    assert 1 - tops[:, -1].mean() == pytest.approx(1 - found.smallest, rel=0.35)


def test_it_vanishes_with_the_width_and_one_output_has_none() -> None:
    network = Network(activation("tanh"), 1.4, 0.6, 4, 100, "gaussian")
    narrow, wide = outlier_split(network), outlier_split(replace(network, width=10_000))
    assert narrow.spread / wide.spread == pytest.approx(10, rel=0.02)
    assert wide.largest - 1 < 0.05
    one = outlier_split(replace(network, outputs=1))
    assert one.largest == one.smallest == 1.0


def test_linear_orthogonal_networks_do_not_split() -> None:
    linear = Network(activation("linear"), 1.0, 0.5, 5, 50, "orthogonal")
    assert outlier_split(linear).spread == pytest.approx(0, abs=1e-7)
    assert outlier_split(replace(linear, init="gaussian")).spread > 0.1


def test_the_reference_of_ten_outputs() -> None:
    """Karakida's example with C = 10 at width 1000 simulates 1.04 to 1.08 of the C-fold value for the first and 0.94 to
    0.98 for the tenth.
    """
    found = outlier_split(Network(activation("tanh"), math.sqrt(3), 0.8, 2, 1000, "gaussian"))
    assert 1.04 < found.largest < 1.08
    assert 0.94 < found.smallest < 0.98
