"""How much the largest Fisher eigenvalues vary from network to network: plain networks, limits, columns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from plain_networks import largest_eigenvalues

from isosweep.theory.activations import activation, custom_activation
from isosweep.theory.columns import theory_columns
from isosweep.theory.finite_width import log_growth
from isosweep.theory.fisher_spread import fisher_spread
from isosweep.theory.network import Init, Network
from isosweep.theory.outlier_split import outlier_split
from isosweep.theory.slope_law import slope_law

TANH = Network(activation("tanh"), 1.3, 0.2, 3, 100, samples=16, outputs=5)
RELU = replace(TANH, activation=activation("relu"), sigma_w=math.sqrt(2), sigma_b=0.0)


@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("network", [TANH, RELU], ids=["tanh", "relu"])
def test_networks_vary_as_predicted(network: Network, init: Init) -> None:
    network = replace(network, init=init)
    tops = np.array([largest_eigenvalues(network, seed).mean() for seed in range(80)])
    # the standard deviation of 80 is known to 8 %; two of these, and what is left out at this width
    assert tops.std(ddof=1) / tops.mean() == pytest.approx(fisher_spread(network), rel=0.3)


def test_it_falls_as_the_root_of_the_width_and_grows_with_relus_depth() -> None:
    wide = [fisher_spread(replace(TANH, width=width)) for width in (10**4, 10**6)]
    assert wide[0] / wide[1] == pytest.approx(10, rel=0.03)
    # deep relu networks: all inputs' kernel fluctuates as one, as ‖Ju‖² does, by 3/N a layer with orthogonal weights
    deep = replace(RELU, depth=160, width=1000)
    grown = log_growth(slope_law(RELU.activation, 1.0), 1000, 160, math.sqrt(2), "orthogonal").variance
    assert fisher_spread(deep) ** 2 == pytest.approx(grown, rel=0.1)
    assert fisher_spread(replace(RELU, init="gaussian")) > fisher_spread(RELU)


def test_a_linear_orthogonal_network_varies_by_its_biases_alone() -> None:
    linear = replace(TANH, activation=activation("linear"), sigma_w=1.0, sigma_b=0.0)
    assert fisher_spread(linear) == pytest.approx(0, abs=1e-6)
    assert fisher_spread(replace(linear, sigma_b=0.5)) > 0.01
    assert fisher_spread(replace(linear, init="gaussian")) > 0.01


def test_columns_have_it_beside_the_splitting() -> None:
    network = replace(TANH, sigma_b=0.6)
    row = theory_columns(network)
    top = row["theory_fisher_lambda_max"]
    assert isinstance(top, float)
    assert row["theory_fisher_lambda_max_spread"] == pytest.approx(top * fisher_spread(network))
    assert row["theory_fisher_lambda_max_split"] == pytest.approx(top * outlier_split(network).largest)
    softmax = theory_columns(replace(network, likelihood="categorical"))
    spread, split = softmax["theory_fisher_lambda_max_spread"], softmax["theory_fisher_lambda_max_split"]
    assert isinstance(spread, float)
    assert isinstance(softmax["theory_fisher_lambda_max"], float)
    assert spread > fisher_spread(network) * softmax["theory_fisher_lambda_max"]  # the draw of the logits comes to it
    assert split == softmax["theory_fisher_lambda_max"]  # a softmax's is one


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="depth"):
        fisher_spread(replace(TANH, depth=0))
    with pytest.raises(OverflowError, match="layer"):
        fisher_spread(replace(RELU, sigma_w=1e30, depth=20))
    step = custom_activation(np.sign, np.zeros_like, discontinuities=(0.0,), odd=True)
    with pytest.raises(ValueError, match="discontinuous"):
        fisher_spread(replace(TANH, activation=step))
