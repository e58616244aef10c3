from __future__ import annotations

import math

import pytest
import torch
from cases import CASES, Case, dense_network, samples
from explicit_jacobian import weighted_jacobian
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.curvature import CurvatureError, block_norms, fisher_bounds
from isosweep.curvature.likelihoods import Likelihood
from isosweep.networks.activations import ACTIVATION_MODULES


@given(
    depth=st.integers(1, 5),
    width=st.integers(2, 7),
    outputs=st.integers(2, 4),
    count=st.integers(1, 6),
    activation=st.sampled_from(sorted(ACTIVATION_MODULES)),
    gain=st.floats(0.5, 3.0),
    shift=st.floats(-2, 2),
    likelihood=st.sampled_from(["categorical", "gaussian"]),
    orthogonal=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_bounds_are_never_exceeded(
    depth: int,
    width: int,
    outputs: int,
    count: int,
    activation: str,
    gain: float,
    shift: float,
    likelihood: str,
    orthogonal: bool,
    seed: int,
) -> None:
    network = dense_network([width] * (depth + 1) + [outputs], activation, gain=gain, orthogonal=orthogonal, seed=seed)
    inputs = samples(count, width, seed + 1) + shift
    bounds = fisher_bounds(network, inputs, likelihood)  # type: ignore[arg-type]
    assert bounds.block_rows is not None
    assert bounds.block_norms is not None
    slack = 1 + 1e-12
    assert bounds.lambda_max <= bounds.block_norms * slack
    assert bounds.block_norms <= bounds.block_rows * slack
    assert bounds.lambda_max <= bounds.layer_sum * slack


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_block_norms_are_those_of_the_explicit_matrix(case: Case, likelihood: str) -> None:
    network, inputs = case.build()
    if network(inputs).shape[1] == 1 and likelihood == "categorical":
        assert fisher_bounds(network, inputs, likelihood).lambda_max == 0
        return
    if not case.plain:
        with pytest.raises(CurvatureError, match="plain chains of dense layers"):
            fisher_bounds(network, inputs, likelihood)
        return
    parts = list(weighted_jacobian(network, inputs[:20], likelihood).values())
    norms = torch.tensor([[float(torch.linalg.matrix_norm(a.T @ b, ord=2)) for b in parts] for a in parts])
    bounds = fisher_bounds(network, inputs[:20], likelihood)
    assert bounds.block_rows == pytest.approx(float(norms.sum(1).max()), rel=1e-6)
    assert bounds.block_norms == pytest.approx(float(torch.linalg.eigvalsh(norms)[-1]), rel=1e-6)


def test_sokol_park_is_an_approximation_only() -> None:
    """It is of the order of λ_max for a wide network of one kind, and is exceeded for others (THEORY.md)."""
    network, inputs = dense_network([40] * 5 + [5], "tanh", gain=1.0, bias_std=0.1), samples(20, 40)
    bounds = fisher_bounds(network, inputs, blocks=False)
    assert bounds.block_rows is None
    assert bounds.block_norms is None
    assert 0.05 < bounds.sokol_park / bounds.lambda_max < 50
    networks = [dense_network([12] * 5 + [3], "tanh", gain=0.5, bias_std=0.0, seed=seed) for seed in range(20)]
    found = [fisher_bounds(network, samples(10, 12) + 1.0, blocks=False) for network in networks]
    assert all(math.isfinite(bound.sokol_park) for bound in found)
    assert any(bound.lambda_max > bound.sokol_park for bound in found)


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_block_norms_of_large_networks_are_those_of_small_ones(
    monkeypatch: pytest.MonkeyPatch, activation: str, likelihood: Likelihood
) -> None:
    network, inputs = dense_network([20] * 8 + [5], activation), samples(12, 20)
    exact = fisher_bounds(network, inputs, likelihood)
    monkeypatch.setattr(block_norms, "EXACT_OPERATIONS", 0.0)
    found = fisher_bounds(network, inputs, likelihood)
    assert exact.block_rows is not None
    assert exact.block_norms is not None
    assert found.block_rows == pytest.approx(exact.block_rows * 1.001, rel=2e-3)
    assert found.block_norms == pytest.approx(exact.block_norms * 1.002, rel=4e-3)
    assert found.lambda_max <= found.block_norms <= found.block_rows  # type: ignore[operator]
    assert fisher_bounds(network, inputs, likelihood, workers=3) == found
