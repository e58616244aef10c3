from __future__ import annotations

import math

import pytest
import torch
from cases import CASES, Case, dense_network, samples
from explicit_jacobian import parameter_jacobian, selected, spectrum_of, symmetric_root, weighted_jacobian
from torch import Tensor, nn

from isosweep.curvature import BudgetTooSmall, CurvatureError, ShapeMismatch, fisher, fisher_per_input
from isosweep.curvature.layers import Parameters

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
likelihoods = pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
parameter_sets = pytest.mark.parametrize("parameters", ["all", "weights"])


def joined(blocks: dict[str, Tensor], parameters: str) -> Tensor:
    return torch.cat([j for name, j in blocks.items() if selected(name, parameters)], dim=-1)


def rows_of(network: nn.Sequential, inputs: Tensor, likelihood: str) -> int:
    outputs = network(inputs).shape[1]
    return len(inputs) * (outputs - 1 if likelihood == "categorical" else outputs)


@cases
@likelihoods
@parameter_sets
def test_accurate_spectrum(case: Case, likelihood: str, parameters: str) -> None:
    network, inputs = case.build()
    whole = joined(weighted_jacobian(network, inputs, likelihood), parameters)
    exact = spectrum_of(whole, min(rows_of(network, inputs, likelihood), whole.shape[1]))
    found = fisher(network, inputs, likelihood, parameters=parameters, accurate=True, layers="spectrum")
    dual = fisher(network, inputs, likelihood, parameters=parameters, layers="spectrum")
    assert found.method == "explicit"
    assert found.eigenvalues.shape == exact.shape
    assert list(found.blocks) == list(dual.blocks)
    if exact.numel() == 0:
        return
    counted = exact > 1e-12 * exact[0]
    assert float(((found.eigenvalues - exact)[counted] / exact[counted]).abs().amax()) <= 1e-9
    for name, block in dual.blocks.items():
        assert block.eigenvalues is not None
        assert found.blocks[name].eigenvalues is not None
        error = (found.blocks[name].eigenvalues - block.eigenvalues).abs().amax()  # type: ignore[operator]
        assert float(error) <= 1e-14 * max(block.lambda_max, 1e-300)


@cases
@likelihoods
@pytest.mark.parametrize("accurate", [False, True], ids=["dual", "accurate"])
def test_centred_spectrum(case: Case, likelihood: str, accurate: bool) -> None:
    parameters: Parameters = "all"
    network, inputs = case.build()
    jacobian = joined(parameter_jacobian(network, inputs), parameters)
    with torch.no_grad():
        root = symmetric_root(network(inputs), likelihood) / math.sqrt(len(inputs))
    rows = (root.mT @ (jacobian - jacobian.mean(dim=0))).flatten(0, 1)
    exact = spectrum_of(rows, min(rows_of(network, inputs, likelihood), jacobian.shape[2]))
    found = fisher(
        network, inputs, likelihood, parameters=parameters, centred=True, accurate=accurate, layers="summary"
    )
    assert found.eigenvalues.shape == exact.shape
    if exact.numel():
        scale = float(exact[0]) if len(inputs) > 1 else 0.0
        uncentred = fisher(network, inputs, "gaussian", parameters=parameters).lambda_max
        assert float((found.eigenvalues - exact).abs().max()) <= max(found.abs_error, 1e-14 * scale, 1e-14 * uncentred)
        assert sum(block.trace for block in found.blocks.values()) == pytest.approx(found.trace, rel=1e-11, abs=1e-14)


def test_centring_removes_the_outliers() -> None:
    """Of a wide network the C largest eigenvalues go (Karakida et al. 2019)."""
    network, inputs = dense_network([30, 200, 200, 3], bias_std=0.5), samples(60, 30)
    plain, centred = fisher(network, inputs, "gaussian"), fisher(network, inputs, "gaussian", centred=True)
    assert centred.lambda_max < 0.3 * plain.lambda_max
    assert centred.lambda_max == pytest.approx(float(plain.eigenvalues[3]), rel=0.3)


@cases
@likelihoods
@pytest.mark.parametrize("centred", [False, True])
def test_empirical_fisher(case: Case, likelihood: str, centred: bool) -> None:
    network, inputs = case.build()
    outputs = network(inputs).detach()
    generator = torch.Generator().manual_seed(3)
    if likelihood == "categorical":
        labels = torch.randint(0, outputs.shape[1], (len(inputs),), generator=generator)
        residual = outputs.softmax(1) - torch.nn.functional.one_hot(labels, outputs.shape[1])
    else:
        labels = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
        residual = outputs - labels
    jacobian = joined(parameter_jacobian(network, inputs), "all")
    if centred:
        jacobian = jacobian - jacobian.mean(dim=0)
    rows = torch.einsum("nc,ncp->np", residual, jacobian) / math.sqrt(len(inputs))
    exact = spectrum_of(rows, min(rows.shape))
    found = fisher(network, inputs, likelihood, kind="empirical", labels=labels, centred=centred)
    assert found.eigenvalues.shape == exact.shape
    error = (found.eigenvalues - exact).abs().max()
    assert float(error) <= max(2e-14 * float(exact[0]), found.abs_error)


@cases
@likelihoods
@parameter_sets
def test_spectrum_conditional_on_one_input(case: Case, likelihood: str, parameters: str) -> None:
    network, inputs = case.build()
    inputs = inputs[:8]
    found = fisher_per_input(network, inputs, likelihood, parameters=parameters)
    for index, x in enumerate(inputs):
        alone = fisher(network, x[None], likelihood, parameters=parameters)
        assert found[index].shape == alone.eigenvalues.shape
        if len(alone.eigenvalues):
            assert float((found[index] - alone.eigenvalues).abs().max()) <= 2e-14 * alone.lambda_max


@cases
@likelihoods
@pytest.mark.parametrize("centred", [False, True])
def test_eigenvectors_in_parameter_space(case: Case, likelihood: str, centred: bool) -> None:
    network, inputs = case.build()
    jacobian = joined(parameter_jacobian(network, inputs), "all")
    if centred:
        jacobian = jacobian - jacobian.mean(dim=0)
    with torch.no_grad():
        root = symmetric_root(network(inputs), likelihood) / math.sqrt(len(inputs))
    rows = (root.mT @ jacobian).flatten(0, 1)
    found = fisher(network, inputs, likelihood, eigenvectors=3, centred=centred)
    count = min(3, found.rank)
    vectors = found.eigenvectors
    assert vectors is not None
    assert vectors.shape == (count, found.parameters)
    if count == 0 or found.eigenvalues[count - 1] < 1e-8 * max(found.lambda_max, found.abs_error * 1e14):
        return
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-8)
    image = vectors @ rows.T @ rows
    expected = found.eigenvalues[:count, None] * vectors
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-11 * max(found.lambda_max, found.abs_error * 1e13))


def test_budget_and_method() -> None:
    network, inputs = dense_network([20, 30, 30, 5]), samples(100, 20)
    assert fisher(network, inputs, method="auto").method == "dual"
    assert fisher(network, inputs, method="auto", memory=1_200_000, steps=20).method == "lanczos"
    with pytest.raises(BudgetTooSmall, match="lanczos needs about"):
        fisher(network, inputs, method="auto", memory=1000)
    with pytest.raises(BudgetTooSmall, match="dual needs about"):
        fisher(network, inputs, method="dual", memory=1000)
    with pytest.raises(CurvatureError, match="layers"):
        fisher(network, inputs, method="auto", memory=1_200_000, steps=20, layers="summary")
    with pytest.raises(CurvatureError, match="unknown method"):
        fisher(network, inputs, method="dense")  # type: ignore[arg-type]


def test_options_that_do_not_go_together() -> None:
    network, inputs = dense_network([6, 8, 4]), samples(5, 6)
    with pytest.raises(CurvatureError, match="labels"):
        fisher(network, inputs, kind="empirical")
    with pytest.raises(CurvatureError, match="labels"):
        fisher(network, inputs, labels=torch.zeros(5, dtype=torch.int64))
    with pytest.raises(CurvatureError, match="true, empirical"):
        fisher(network, inputs, kind="exact")  # type: ignore[arg-type]
    with pytest.raises(ShapeMismatch, match="4 labels"):
        fisher(network, inputs, kind="empirical", labels=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ShapeMismatch, match="0 … 3"):
        fisher(network, inputs, kind="empirical", labels=torch.full((5,), 4))
    with pytest.raises(ShapeMismatch, match="class numbers"):
        fisher(network, inputs, kind="empirical", labels=torch.zeros(5, dtype=torch.float64))
    with pytest.raises(ShapeMismatch, match="targets"):
        fisher(network, inputs, "gaussian", kind="empirical", labels=torch.zeros(5, dtype=torch.float64))
    for other in ({"method": "lanczos"}, {"eigenvectors": 2}):
        with pytest.raises(CurvatureError, match="accurate"):
            fisher(network, inputs, accurate=True, **other)  # type: ignore[arg-type]
