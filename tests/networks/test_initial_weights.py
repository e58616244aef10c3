"""Initial weights: their law, their scale, and their independence of everything but seed, purpose and layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import isosweep
from isosweep.draws import generator
from isosweep.networks.activations import ACTIVATION_MODULES, activation_module
from isosweep.networks.dense import dense_network
from isosweep.networks.initializations import gaussian, haar_orthogonal
from isosweep.sweep.settings import DataSettings, FisherSettings, MeasureSettings, NetworkSettings, Run
from isosweep.theory.activations import activation as law

TINY_P = 1e-4  # the draws are fixed: a p-value below it is a wrong law, not bad luck


def numpy_state() -> Any:
    """The state of numpy's global generator."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002


def many(rows: int, columns: int, count: int) -> np.ndarray:
    return np.stack([haar_orthogonal(seed, 1, rows, columns).numpy() for seed in range(count)])


# ---- Haar


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (7, 3), (3, 7), (1, 5), (5, 1), (1, 1), (64, 10), (10, 64)])
def test_rows_or_columns_are_orthonormal_and_scaled(rows: int, columns: int) -> None:
    w = haar_orthogonal(0, 1, rows, columns)
    assert w.shape == (rows, columns)
    assert w.dtype == torch.float64
    assert w.is_contiguous()
    scale = max(1.0, rows / columns)
    if rows <= columns:
        torch.testing.assert_close(w @ w.T, scale * torch.eye(rows, dtype=torch.float64), rtol=0, atol=1e-14)
    else:
        torch.testing.assert_close(w.T @ w, scale * torch.eye(columns, dtype=torch.float64), rtol=0, atol=1e-13)
    # Var W_ij = 1/N_{l-1}: mean |w x|²/rows is |x|²/columns
    assert float(w.square().mean()) == pytest.approx(1 / columns)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (2, 5), (5, 2), (4, 4)])
def test_each_entry_has_the_law_of_a_coordinate_on_the_sphere(rows: int, columns: int) -> None:
    draws = many(rows, columns, 1500) / math.sqrt(max(1.0, rows / columns))
    n = max(rows, columns)
    for i, j in ((0, 0), (rows - 1, columns - 1), (0, columns - 1), (rows - 1, 0)):
        x = draws[:, i, j]
        assert stats.kstest(x**2, stats.beta(0.5, (n - 1) / 2).cdf).pvalue > TINY_P
        assert stats.binomtest(int((x > 0).sum()), len(x)).pvalue > TINY_P


def test_traces_have_the_moments_of_haar_and_not_of_lapacks_convention() -> None:
    q = many(5, 5, 3000)
    trace = np.trace(q, axis1=1, axis2=2)
    square = np.trace(q @ q, axis1=1, axis2=2)

    def far(sample: np.ndarray, expected: float) -> float:
        return float(abs(sample.mean() - expected) / (sample.std() / math.sqrt(len(sample))))

    # Diaconis and Shahshahani 1994: on O(n), n ≥ 4, E tr Q = 0, E (tr Q)² = 1, E (tr Q)⁴ = 3, E tr Q² = 1
    for sample, expected in ((trace, 0.0), (trace**2, 1.0), (trace**4, 3.0), (square, 1.0)):
        assert far(sample, expected) < 4
    assert stats.binomtest(int((np.linalg.det(q) > 0).sum()), len(q)).pvalue > TINY_P
    # what LAPACK gives without the sign of R's diagonal is another law, and these moments see it
    uncorrected = np.stack(
        [np.linalg.qr(generator(s, "weight/orthogonal", 1).standard_normal((5, 5)))[0] for s in range(3000)]
    )
    assert far(np.trace(uncorrected, axis1=1, axis2=2), 0.0) > 10


def test_eigenvalue_phases_are_uniform() -> None:
    phases = np.concatenate([np.angle(np.linalg.eigvals(q)) for q in many(40, 40, 40)])
    # eigenvalues repel, so they are more even than independent ones: the bound is safe
    assert stats.kstest(phases, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01
    # and they repel: the smallest gap between neighbours is far above that of independent phases
    gaps = [np.diff(np.sort(np.angle(np.linalg.eigvals(q)))).min() for q in many(40, 40, 40)]
    assert np.median(gaps) > 2 * np.pi / 40**2


def test_the_law_does_not_change_under_a_rotation() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    q = many(4, 4, 1500)
    for turned in (turn @ q, q @ turn):
        assert stats.ks_2samp(np.trace(turned, axis1=1, axis2=2), np.trace(q, axis1=1, axis2=2)).pvalue > TINY_P


# ---- Gaussian, biases, streams


@pytest.mark.parametrize(("rows", "columns"), [(200, 100), (100, 200), (10, 784)])
def test_gaussian_entries_have_variance_one_over_the_fan_in(rows: int, columns: int) -> None:
    w = gaussian(0, 1, rows, columns).numpy()
    assert stats.kstest(w.ravel() * math.sqrt(columns), "norm").pvalue > TINY_P


def test_every_seed_purpose_and_layer_has_a_stream_of_its_own() -> None:
    def start(seed: int, purpose: str, layer: int) -> float:
        return float(generator(seed, purpose, layer).standard_normal())

    keys = [
        (s, p, k)
        for s in range(20)
        for p in ("bias", "weight/gaussian", "weight/orthogonal", "data/inputs")
        for k in range(20)
    ]
    first = np.array([start(*key) for key in keys])
    assert len(np.unique(first)) == len(keys)
    assert stats.kstest(first, "norm").pvalue > TINY_P
    assert start(1, "bias", 11) == start(1, "bias", 11)
    assert start(1, "bias", 11) != start(11, "bias", 1)
    # frozen: a change here changes every result there is
    assert generator(3, "weight/gaussian", 7).integers(2**32, size=3).tolist() == FROZEN


FROZEN = [588947445, 3111082390, 49871422]


# ---- the network


def settings_of(**changes: Any) -> NetworkSettings:
    base = NetworkSettings(9, 16, "tanh", None, "orthogonal", 1.0, None, 0.5)
    return dataclasses.replace(base, **changes)


def layers(settings: NetworkSettings, inputs: int = 12, classes: int = 5, seed: int = 3) -> dict[str, nn.Linear]:
    network = dense_network(settings, inputs, classes, seed)
    return {name: module for name, module in network.named_children() if isinstance(module, nn.Linear)}


@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
def test_layer_7_is_the_same_whatever_the_rest(init: str) -> None:
    layer = layers(settings_of(init=init))["layer7"]
    for changes in ({"depth": 7}, {"depth": 30}, {"activation": "relu"}):
        other = layers(settings_of(init=init, **changes))["layer7"]
        assert torch.equal(other.weight, layer.weight)
        assert torch.equal(other.bias, layer.bias)
    other = layers(settings_of(init=init), inputs=64, classes=10)["layer7"]
    assert torch.equal(other.weight, layer.weight)
    # gain and bias_std are factors
    other = layers(settings_of(init=init, gain=2.0, bias_std=0.25))["layer7"]
    assert torch.equal(other.weight, 2 * layer.weight)
    assert torch.equal(other.bias, layer.bias / 2)
    # seeds, layers and initialisations differ
    assert not torch.allclose(layers(settings_of(init=init), seed=4)["layer7"].weight, layer.weight)
    assert not torch.allclose(layers(settings_of(init=init))["layer6"].weight, layer.weight)


def test_the_shape_and_the_names_of_the_network() -> None:
    network = dense_network(settings_of(depth=2), 12, 5, 0)
    assert type(network) is nn.Sequential
    assert [name for name, _ in network.named_children()] == ["layer1", "phi1", "layer2", "phi2", "readout"]
    assert [tuple(m.weight.shape) for m in network if isinstance(m, nn.Linear)] == [(16, 12), (16, 16), (5, 16)]
    assert all(p.requires_grad and p.dtype == torch.float64 for p in network.parameters())
    # the readout is drawn like any layer: orthonormal rows times the gain, and its own biases
    readout = layers(settings_of(depth=2, gain=1.5))["readout"]
    torch.testing.assert_close(readout.weight @ readout.weight.T, 2.25 * torch.eye(5, dtype=torch.float64))
    assert torch.equal(layers(settings_of(depth=2))["readout"].weight, haar_orthogonal(3, 3, 5, 16))


def test_biases_are_normal_of_the_given_standard_deviation() -> None:
    network = layers(settings_of(width=400, bias_std=0.3))
    draws = torch.cat([layer.bias for name, layer in network.items()]).detach().numpy()
    assert stats.kstest(draws / 0.3, "norm").pvalue > TINY_P
    assert not any(layer.bias.any() for layer in layers(settings_of(bias_std=0.0)).values())


def test_float32_is_the_float64_network_rounded() -> None:
    double, single = (dense_network(settings_of(), 12, 5, 3, dtype) for dtype in (torch.float64, torch.float32))
    for a, b in zip(double.parameters(), single.parameters(), strict=True):
        assert torch.equal(a.to(torch.float32), b)


@pytest.mark.parametrize("name", ACTIVATION_MODULES)
def test_activations_are_those_of_the_theory(name: str) -> None:
    x = torch.cat([torch.linspace(-50, 50, 4001, dtype=torch.float64), torch.linspace(-3, 3, 601, dtype=torch.float64)])
    for slope in (None, 0.2) if name == "leaky_relu" else (None,):
        shown = activation_module(name, slope)(x).numpy()
        phi = law(name, 0.01 if name == "leaky_relu" and slope is None else slope)
        np.testing.assert_allclose(shown, phi.phi(x.numpy()), rtol=4e-14, atol=1e-15)


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(KeyError, match="swish"):
        activation_module("swish")


# ---- realize


def a_run(init: str = "orthogonal", dtype: str = "float64") -> Run:
    measure = MeasureSettings(FisherSettings(20, "categorical", "summary"), None, dtype)
    return Run(settings_of(init=init), DataSettings("digits", 100, "unit", 1.0, 64, 10), measure, 3, "r")


def bits(run: Run) -> list[torch.Tensor]:
    network, inputs, labels = isosweep.realize(run)
    return [*network.parameters(), inputs, labels]


@contextmanager
def a_used_generator() -> Iterator[None]:
    torch.manual_seed(123)
    torch.rand(7)
    np.random.seed(5)  # noqa: NPY002
    yield


@contextmanager
def another_default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    yield
    torch.set_default_dtype(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def another_default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


DISTURBANCES: dict[str, Callable[[], Any]] = {
    "torch.manual_seed": a_used_generator,
    "default dtype": another_default_dtype,
    "1 thread": lambda: threads(1),
    "2 threads": lambda: threads(2),
    "4 threads": lambda: threads(4),
    "default device": another_default_device,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_realize_gives_the_same_bits_whatever_the_notebook_did(disturbance: str, dtype: str) -> None:
    expected = bits(a_run(dtype=dtype))
    with DISTURBANCES[disturbance]():
        found = bits(a_run(dtype=dtype))
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
        assert a.requires_grad == b.requires_grad


def test_realize_leaves_the_callers_state_as_it_was() -> None:
    with threads(2), another_default_dtype():
        torch.manual_seed(99)
        states = torch.get_rng_state(), numpy_state()
        isosweep.realize(a_run())
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(numpy_state(), states[1])
        assert torch.get_num_threads() == 2
        assert torch.get_default_dtype() == torch.float16
        assert torch.is_grad_enabled()


def test_realize_gives_the_measured_inputs_and_a_trainable_network() -> None:
    network, inputs, labels = isosweep.realize(a_run())
    assert inputs.shape == (20, 64)
    assert labels.shape == (20,)
    assert labels.dtype == torch.int64
    nn.functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in network.parameters())
