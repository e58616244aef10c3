from __future__ import annotations

import pytest
import torch
from cases import CASES, Case, dense_network, samples
from explicit_jacobian import selected, spectrum_of, weighted_jacobian
from torch import Tensor, nn

from isosweep.curvature import fisher, fisher_spectrum

case_likelihood_parameters = [
    pytest.mark.parametrize("case", CASES, ids=lambda case: case.name),
    pytest.mark.parametrize("likelihood", ["categorical", "gaussian"]),
    pytest.mark.parametrize("parameters", ["all", "weights"]),
]


def over_cases(test):
    for mark in case_likelihood_parameters:
        test = mark(test)
    return test


def rows_and_parameters(network: nn.Sequential, inputs: Tensor, likelihood: str, parameters: str) -> tuple[int, int]:
    outputs = network(inputs).shape[1]
    rows = len(inputs) * (outputs - 1 if likelihood == "categorical" else outputs)
    return rows, sum(p.numel() for name, p in network.named_parameters() if selected(name, parameters))


def layer_names(network: nn.Sequential) -> list[str]:
    """The names of the modules with parameters: layer1 … readout, a normalisation after the layer before it."""
    owning = [module for module in network.modules() if next(module.parameters(recurse=False), None) is not None]
    layers = [module for module in owning if isinstance(module, (nn.Linear, nn.Conv2d))]
    names: list[str] = []
    seen = 0
    for module in owning:
        if module in layers:
            seen += 1
            names.append("readout" if module is layers[-1] else f"layer{seen}")
            continue
        before = "readout" if seen == len(layers) else f"layer{seen}" if seen else "input"
        name = f"{before}.{type(module).__name__.lower()}"
        names.append(name if name not in names else f"{name}2")
    return names


def assert_close(measured: Tensor, exact: Tensor) -> None:
    assert measured.shape == exact.shape
    if exact.numel() == 0:
        return
    error = (measured - exact).abs()
    assert error.max() <= 1e-14 * exact[0]
    if exact[0] == 0:
        return
    leading = exact > 1e-4 * exact[0]
    assert (error[leading] / exact[leading]).max() <= 1e-10


@over_cases
def test_whole_spectrum_is_that_of_the_explicit_jacobian(case: Case, likelihood: str, parameters: str) -> None:
    network, inputs = case.build()
    rows, count = rows_and_parameters(network, inputs, likelihood, parameters)
    jacobian = weighted_jacobian(network, inputs, likelihood)
    whole = torch.cat([j for name, j in jacobian.items() if selected(name, parameters)], dim=1)
    exact = spectrum_of(whole, min(rows, count))
    spectrum = fisher(network, inputs, likelihood, parameters=parameters)
    assert spectrum.parameters == count
    assert_close(spectrum.eigenvalues, exact)
    scale = float(exact.sum())
    assert spectrum.trace == pytest.approx(scale, rel=1e-12, abs=1e-300)
    assert spectrum.frobenius == pytest.approx(float(exact.norm()), rel=1e-12, abs=1e-300)
    assert spectrum.lambda_max == pytest.approx(float(exact.max()) if len(exact) else 0.0, rel=1e-12)
    assert spectrum.abs_error <= 1e-14 * max(spectrum.lambda_max, 1e-300)
    if len(exact):
        assert (spectrum.eigenvalues - exact).abs().max() <= spectrum.abs_error
        assert spectrum.rank == int((exact > rows * torch.finfo(torch.float64).eps * exact[0]).sum())


@over_cases
def test_layer_blocks_are_those_of_the_explicit_jacobian(case: Case, likelihood: str, parameters: str) -> None:
    network, inputs = case.build()
    rows, _ = rows_and_parameters(network, inputs, likelihood, parameters)
    jacobian = weighted_jacobian(network, inputs, likelihood)
    spectra = fisher(network, inputs, likelihood, parameters=parameters, layers="spectrum")
    summaries = fisher(network, inputs, likelihood, parameters=parameters, layers="summary")
    prefixes = list(dict.fromkeys(name.rpartition(".")[0] for name in jacobian))
    names = layer_names(network)
    assert len(names) == len(prefixes)
    assert list(spectra.blocks) == list(summaries.blocks) == names
    for prefix, name in zip(prefixes, names, strict=True):
        parts = [j for key, j in jacobian.items() if key.rpartition(".")[0] == prefix and selected(key, parameters)]
        block = torch.cat(parts, dim=1)
        exact = spectrum_of(block, min(rows, block.shape[1]))
        detail, summary = spectra.blocks[name], summaries.blocks[name]
        assert detail.eigenvalues is not None
        assert summary.eigenvalues is None
        assert_close(detail.eigenvalues, exact)
        largest = float(exact.max()) if len(exact) else 0.0
        threshold = rows * torch.finfo(torch.float64).eps * largest
        for found in (detail, summary):
            assert found.lambda_max == pytest.approx(largest, rel=1e-13, abs=1e-300)
            assert found.trace == pytest.approx(float(exact.sum()), rel=1e-12, abs=1e-300)
            assert found.rank == int((exact > threshold).sum())
    assert torch.equal(spectra.eigenvalues, summaries.eigenvalues)


def test_contract_of_fisher_spectrum() -> None:
    network, inputs = dense_network([6, 8, 4]), samples(7, 6)
    values = fisher_spectrum(network, inputs)
    assert values.shape == (21,)
    assert values.dtype == torch.float64
    assert bool((values[:-1] >= values[1:]).all())
    assert bool((values >= 0).all())
    assert fisher_spectrum(network, inputs, likelihood="gaussian").shape == (28,)
    assert fisher_spectrum(dense_network([2, 1, 4]), samples(50, 2)).shape == (11,)


def test_the_network_is_left_alone() -> None:
    network, inputs = dense_network([6, 8, 4]), samples(7, 6)
    before = {name: p.clone() for name, p in network.state_dict().items()}
    network.train()
    fisher(network, inputs, layers="summary")
    assert all(torch.equal(p, before[name]) for name, p in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert network.training


def test_deep_linear_orthogonal_network_is_flat() -> None:
    """L(|x|² + 1) I for one input, L counting the readout (THEORY.md): the eigenvalues are known exactly."""
    network = dense_network([40] * 51, "linear", gain=1.0, bias_std=0.0, orthogonal=True)
    x = samples(1, 40)
    exact = 50 * (float(x.square().sum()) + 1)
    values = fisher_spectrum(network, x, "gaussian")
    assert values.shape == (40,)
    assert float((values / exact - 1).abs().max()) < 2e-13


def test_float32_networks_give_float64_eigenvalues() -> None:
    network, inputs = dense_network([6, 8, 4]), samples(7, 6)
    exact = fisher_spectrum(network, inputs)
    rough = fisher(network.float(), inputs.float())
    assert rough.eigenvalues.dtype == torch.float64
    assert float((rough.eigenvalues - exact).abs().max()) <= rough.abs_error


def test_derived_numbers() -> None:
    spectrum = fisher(dense_network([6, 8, 8, 4]), samples(7, 6))
    values = spectrum.eigenvalues
    assert spectrum.effective_dimension(0.1) == pytest.approx(float((values / (values + 0.1)).sum()))
    assert spectrum.log_determinant(0.1) == pytest.approx(float(torch.log1p(values / 0.1).sum()))
    assert spectrum.condition_number == pytest.approx(float(values[0] / values[spectrum.rank - 1]))
