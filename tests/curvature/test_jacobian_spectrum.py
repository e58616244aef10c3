from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cases import CASES, Case, dense_network, samples
from high_precision import log_singular_values
from torch import nn

from isosweep.curvature import CurvatureError, jacobian_spectrum, partial_jacobian_norms
from isosweep.curvature.chain import chain_of
from isosweep.curvature.jacobian_factors import cuts, jacobian_factors
from isosweep.curvature.plain_chain import PLAIN_CONDITION
from isosweep.networks.activations import ACTIVATION_MODULES
from isosweep.networks.residual import SCHEMES, Residual


def largest_error(network: nn.Sequential, inputs: torch.Tensor, bits: int, method: str = "auto") -> float:
    found = jacobian_spectrum(network, inputs, method=method)  # type: ignore[arg-type]
    worst = 0.0
    for sample in range(len(inputs)):
        exact = log_singular_values(network, inputs, sample, bits)
        logs = found.log_singular_values[sample].numpy()
        assert logs.shape == exact.shape
        rank = int(found.rank[sample])
        worst = max([worst, *np.abs(logs[:rank] - exact[:rank])])
        # What the engine calls an exact zero is one for the oracle, up to the oracle's own precision.
        assert all(value < exact[0] - 0.3 * bits for value in exact[rank:])
    return worst


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "linear"])
@pytest.mark.parametrize("orthogonal", [False, True], ids=["gaussian", "orthogonal"])
@pytest.mark.parametrize(("depth", "gain"), [(4, 0.9), (12, 1.5), (60, 1.3)])
def test_logarithms_are_right_at_any_condition(activation: str, orthogonal: bool, depth: int, gain: float) -> None:
    network = dense_network([20] * (depth + 1) + [4], activation, gain=gain, bias_std=0.05, orthogonal=orthogonal)
    assert largest_error(network, samples(2, 20), bits=400 + 40 * depth) <= 1e-10


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_logarithms_are_right_beyond_the_range_of_float64(activation: str) -> None:
    network = dense_network([24] * 201 + [4], activation, gain=2.0 if activation == "tanh" else 1.4, bias_std=0.05)
    inputs = samples(2, 24)
    assert largest_error(network, inputs, bits=9000) <= 1e-10
    spectrum = jacobian_spectrum(network, inputs)
    assert float(spectrum.log_condition_number.min()) > 160 * math.log(10)
    if activation == "tanh":
        assert float(spectrum.log_condition_number.min()) > 300 * math.log(10)


@pytest.mark.parametrize("activation", list(ACTIVATION_MODULES))
def test_every_activation(activation: str) -> None:
    network = dense_network([9, 12, 7, 12, 12, 4], activation, gain=1.5)
    assert largest_error(network, samples(3, 9), bits=600) <= 1e-10


def test_saturated_units_keep_their_digits() -> None:
    """At |h| = 40, 1 − tanh² is exactly 0 in float64, while φ' is 7e-35."""
    network = dense_network([8, 8, 8, 8, 4], "tanh", gain=25.0)
    inputs = samples(3, 8)
    assert largest_error(network, inputs, bits=1500) <= 1e-10
    assert jacobian_spectrum(network, inputs).rank.tolist() == [8, 8, 8]


@pytest.mark.parametrize("scaled", ["rows", "columns", "both", "in turn"])
def test_weights_of_rising_scale(scaled: str) -> None:
    """Rows or columns graded the wrong way round: the largest come last."""
    network = dense_network([12] * 6 + [4], "tanh", gain=0.8)
    scale = torch.logspace(-9, 0, 12, dtype=torch.float64)
    with torch.no_grad():
        for layer, module in enumerate([module for module in network if isinstance(module, nn.Linear)][:-1]):
            if scaled in ("columns", "both") or (scaled == "in turn" and layer % 2):
                module.weight.mul_(scale)
            if scaled in ("rows", "both") or (scaled == "in turn" and not layer % 2):
                module.weight.mul_(scale[:, None])
    assert largest_error(network, samples(2, 12), bits=1000, method="graded") <= 1e-10


@pytest.mark.parametrize("side", [0.5, 2.0])
def test_both_sides_of_the_switch(side: float) -> None:
    """A linear layer whose condition is `side` times the largest for which the plain chain is used, and its inverse
    twin.
    """
    network = dense_network([16] * 5 + [4], "linear", gain=1.0, orthogonal=True)
    with torch.no_grad():
        network[2].weight.mul_(torch.logspace(0, -math.log10(PLAIN_CONDITION * side), 16, dtype=torch.float64))
    inputs = samples(2, 16)
    auto = jacobian_spectrum(network, inputs)
    expected = jacobian_spectrum(network, inputs, method="plain" if side < 1 else "graded")
    assert torch.equal(auto.log_singular_values, expected.log_singular_values)
    for method in ("plain", "graded"):
        assert largest_error(network, inputs, 600, method) <= 1e-10


@pytest.mark.parametrize("method", ["plain", "graded"])
def test_methods_agree_where_both_are_right(method: str) -> None:
    network = dense_network([10, 12, 9, 4], "tanh", gain=1.0)
    assert largest_error(network, samples(3, 10), 400, method) <= 1e-10


def layers_between(network: nn.Sequential, start: int, end: int) -> nn.Sequential:
    """The modules from x^start to x^end, a step of a block whole; x^l is what layer l + 1 reads, or its block."""
    modules: list[nn.Module] = []
    begins: list[int] = []  # the layer before the module
    seen = 0

    def add(part: nn.Module) -> None:
        nonlocal seen
        if type(part) is nn.Sequential:
            for child in part:
                add(child)
            return
        if isinstance(part, Residual) and part.steps > 1:
            for _ in range(part.steps):
                add(Residual(part.branch, part.step, part.scheme))
            return
        modules.append(part)
        begins.append(seen)
        seen += count_layers(part)

    add(network)
    total = seen
    places = {0: 0, total: len(modules)}
    for index, (module, layer) in enumerate(zip(modules, begins, strict=True)):
        if layer and count_layers(module):
            places[layer] = index
    return nn.Sequential(*modules[places[start] : places[end]])


def count_layers(module: nn.Module) -> int:
    """Layers that are evaluated once in a pass through the module, residual blocks within it at every evaluation."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return 1
    if isinstance(module, Residual):
        return module.steps * SCHEMES[module.scheme] * count_layers(module.branch)
    return sum(count_layers(child) for child in module.children())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_two_layers_against_automatic_differentiation(case: Case) -> None:
    network, inputs = case.build()
    inputs = inputs[:10]
    chain = chain_of(network, inputs)
    places = sorted(cuts(chain))
    assert places[-1] == chain.depth + 1
    for start in places[:4]:
        x = layers_between(network, 0, start)(inputs) if start else inputs
        for end in [place for place in places if start < place][:5] + places[-1:]:
            if end <= start:
                continue
            part = layers_between(network, start, end)
            jacobian = torch.func.vmap(torch.func.jacrev(lambda z, part=part: part(z[None])[0].flatten()))(x).detach()
            exact = torch.linalg.svdvals(jacobian.flatten(2))
            spectrum = jacobian_spectrum(network, inputs, start, end)
            assert spectrum.singular_values.shape == exact.shape
            torch.testing.assert_close(spectrum.singular_values, exact, rtol=1e-9, atol=1e-13 * float(exact.max()))


def test_a_layer_within_a_branch_is_no_place_to_cut() -> None:
    network, inputs = next(case for case in CASES if case.name == "residual within residual").build()
    with pytest.raises(CurvatureError, match="within a residual branch"):
        jacobian_spectrum(network, inputs, 0, 2)


def test_exact_zeros_of_dead_units_and_bottlenecks() -> None:
    network = dense_network([10, 10, 3, 10, 4], "relu", bias_std=0.0)
    with torch.no_grad():
        network[0].bias[:4] = -100.0
    spectrum = jacobian_spectrum(network, samples(5, 10))
    assert spectrum.rank.tolist() == _active_units(network, samples(5, 10))
    assert bool((spectrum.log_singular_values == -torch.inf).sum(1).eq(10 - spectrum.rank).all())
    assert bool((spectrum.singular_values[spectrum.log_singular_values == -torch.inf] == 0).all())


def _active_units(network: nn.Sequential, inputs: torch.Tensor) -> list[int]:
    pre_activations = [h for _, h in chain_of(network, inputs).pre_activations(inputs)][:-1]
    return torch.stack([(h > 0).sum(1) for h in pre_activations]).amin(0).tolist()


def test_all_units_dead() -> None:
    network = dense_network([6, 6, 6, 4], "relu")
    with torch.no_grad():
        network[0].bias.fill_(-100.0)
    spectrum = jacobian_spectrum(network, samples(3, 6))
    assert spectrum.rank.tolist() == [0, 0, 0]
    assert bool(spectrum.log_condition_number.isnan().all())


def test_start_and_end_must_be_layers_in_order() -> None:
    network, inputs = dense_network([6, 8, 8, 4]), samples(3, 6)
    assert jacobian_spectrum(network, inputs, end="logits").singular_values.shape == (3, 4)
    for start, end in [(2, 2), (1, 0), (-1, 2), (0, 4)]:
        with pytest.raises(CurvatureError, match="start"):
            jacobian_spectrum(network, inputs, start, end)
    with pytest.raises(CurvatureError, match="logits"):
        jacobian_spectrum(dense_network([6, 4]), inputs)


def test_factors_multiply_to_the_jacobian() -> None:
    network, inputs = dense_network([6, 8, 5, 4], "gelu"), samples(3, 6)
    with torch.no_grad():
        groups = jacobian_factors(chain_of(network, inputs), inputs, 0, 3)
    factors = [factor for group in groups for factor in group]
    assert len(groups) == 3
    product = torch.eye(6, dtype=torch.float64).expand(3, 6, 6)
    for factor in factors:
        product = factor.matrix @ product
        if factor.diagonal is not None:
            product = factor.diagonal[:, :, None] * product
    exact = torch.func.vmap(torch.func.jacrev(network))(inputs).detach()
    torch.testing.assert_close(product.detach(), exact)


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_moments_and_extremes(activation: str) -> None:
    spectrum = jacobian_spectrum(dense_network([10, 12, 9, 4], activation), samples(4, 10))
    squares = spectrum.singular_values.square()
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(spectrum.log_moment(1).exp(), squares.mean(1), **close)
    torch.testing.assert_close(spectrum.log_moment(2).exp(), squares.square().mean(1), **close)
    torch.testing.assert_close(spectrum.log_variance.exp(), squares.var(1, correction=0), **close)
    torch.testing.assert_close(spectrum.log_s_max.exp(), squares[:, 0].sqrt(), **close)
    smallest = torch.where(squares > 0, squares, torch.inf).amin(1).sqrt()
    torch.testing.assert_close(spectrum.log_s_min.exp(), smallest, **close)


def test_moments_beyond_the_range_of_float64() -> None:
    network = dense_network([8] * 41 + [4], "linear", gain=1e10, bias=False)
    spectrum = jacobian_spectrum(network, samples(2, 8) * 1e-300)
    assert bool(spectrum.singular_values[:, 0].isinf().all())
    shift = 2 * 40 * math.log(1e10)
    reference = jacobian_spectrum(dense_network([8] * 41 + [4], "linear", gain=1.0, bias=False), samples(2, 8))
    torch.testing.assert_close(spectrum.log_moment(1) - shift, reference.log_moment(1), rtol=0, atol=1e-9)
    torch.testing.assert_close(spectrum.log_variance - 2 * shift, reference.log_variance, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_norms_of_partial_jacobians(case: Case) -> None:
    network, inputs = case.build()
    chain = chain_of(network, inputs)
    places = [place for place in sorted(cuts(chain)) if 0 < place <= chain.depth]
    if not places:
        with pytest.raises(CurvatureError, match="start"):
            partial_jacobian_norms(network, inputs)
        return
    found = partial_jacobian_norms(network, inputs)
    assert found.log_spectral.shape == found.log_frobenius.shape == (len(inputs), len(places))
    for number, layer in enumerate(places):
        values = jacobian_spectrum(network, inputs, end=layer).singular_values
        torch.testing.assert_close(found.log_spectral[:, number], values[:, 0].log(), rtol=0, atol=1e-11)
        torch.testing.assert_close(found.log_frobenius[:, number], values.norm(dim=1).log(), rtol=0, atol=1e-11)
