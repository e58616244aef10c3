from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import dense_network, samples
from torch import Tensor, nn

from isosweep.curvature import (
    CurvatureError,
    MixedTensors,
    NonFiniteNetwork,
    ShapeMismatch,
    UnsupportedLayer,
    fisher,
    fisher_spectrum,
    forward_statistics,
    jacobian_spectrum,
)
from isosweep.networks.residual import Residual

MEASUREMENTS: list[Callable[[nn.Module, Tensor], object]] = [fisher_spectrum, jacobian_spectrum, forward_statistics]
measurements = pytest.mark.parametrize("measure", MEASUREMENTS, ids=lambda f: f.__name__)


@measurements
def test_unsupported_layer_is_named_with_those_supported(measure) -> None:
    network = dense_network([6, 8, 4])
    network.insert(1, nn.Bilinear(8, 8, 8))
    with pytest.raises(UnsupportedLayer, match=r"layer 1 .*Bilinear.*Linear.*Tanh"):
        measure(network, samples(3, 6))


def test_approximate_gelu_is_refused() -> None:
    network = dense_network([6, 8, 4], "gelu")
    network[1] = nn.GELU(approximate="tanh")
    with pytest.raises(UnsupportedLayer, match="approximate"):
        fisher_spectrum(network, samples(3, 6))


@measurements
def test_shapes_must_fit(measure) -> None:
    network = dense_network([6, 8, 4])
    with pytest.raises(ShapeMismatch, match="the inputs have width 5"):
        measure(network, samples(3, 5))
    with pytest.raises(ShapeMismatch, match="at least one sample"):
        measure(network, samples(3, 6)[:0])
    with pytest.raises(ShapeMismatch, match=r"\(6,\)"):
        measure(network, samples(1, 6)[0])
    network[2] = nn.Linear(9, 4, dtype=torch.float64)
    with pytest.raises(ShapeMismatch, match="readout expects width 9, but what comes before gives width 8"):
        measure(network, samples(3, 6))


@measurements
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_weights_and_inputs(measure, bad: float) -> None:
    network, inputs = dense_network([6, 8, 4]), samples(3, 6)
    inputs[1, 2] = bad
    with pytest.raises(NonFiniteNetwork, match="inputs"):
        measure(network, inputs)
    with torch.no_grad():
        network[2].bias[1] = bad
    with pytest.raises(NonFiniteNetwork, match="bias of layer 2"):
        measure(network, samples(3, 6))


@measurements
def test_overflow_names_the_layer(measure) -> None:
    network = dense_network([6, 6, 6, 6, 4], "linear")
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.Linear):
                module.weight.mul_(1e120)
    with pytest.raises(NonFiniteNetwork, match="layer3"):
        measure(network, samples(3, 6))


@measurements
def test_mixed_dtypes(measure) -> None:
    network = dense_network([6, 8, 4])
    with pytest.raises(MixedTensors, match="float32"):
        measure(network, samples(3, 6).float())
    with pytest.raises(MixedTensors, match="int64"):
        measure(network, samples(3, 6).long())
    network[2].float()
    with pytest.raises(MixedTensors, match="weight of layer 2"):
        measure(network, samples(3, 6))


def test_other_refusals() -> None:
    network, inputs = dense_network([6, 8, 4]), samples(3, 6)
    with pytest.raises(CurvatureError, match="categorical, gaussian"):
        fisher_spectrum(network, inputs, "poisson")  # type: ignore[arg-type]
    with pytest.raises(CurvatureError, match=r"no nn\.Linear"):
        fisher_spectrum(nn.Sequential(nn.Tanh()), inputs)
    with pytest.raises(ValueError, match="workers"):
        fisher(network, inputs, workers=0)


@measurements
@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 4)], r"images of 1 channels.*width 36"),
        ([nn.Unflatten(1, (1, 5, 5)), nn.Flatten(), nn.Linear(36, 4)], r"25 numbers to arrange"),
        ([nn.Unflatten(1, (1, 6, 6)), nn.Linear(36, 4)], r"width 36.*shape \(1, 6, 6\)"),
        ([Residual(nn.Sequential(nn.Linear(36, 4)))], r"turns width 36 into width 4"),
        ([nn.LayerNorm(35), nn.Linear(36, 4)], r"width 35"),
        ([nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 4, 3)], r"one number a class"),
    ],
)
def test_shapes_of_images_and_branches_must_fit(measure, modules: list[nn.Module], message: str) -> None:
    with pytest.raises(ShapeMismatch, match=message):
        measure(nn.Sequential(*modules).double(), samples(3, 36))


@measurements
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.BatchNorm1d(6), "training mode.*freeze_batch_statistics"),
        (nn.BatchNorm1d(6, track_running_stats=False), "without running statistics"),
        (nn.Flatten(0), "mixes samples"),
        (nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 1, 1, padding_mode="reflect")), "reflect"),
        (nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.AvgPool2d(2, ceil_mode=True)), "ceil_mode"),
    ],
)
def test_variants_that_are_not_supported_say_why(measure, module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedLayer, match=message):
        measure(nn.Sequential(module, nn.Linear(6, 4)).double(), samples(3, 6))


def test_overflow_of_the_gradients_alone() -> None:
    """A tiny and a huge layer: the outputs are of moderate size, the gradient of the first layer is not."""
    network = dense_network([6, 6, 6, 4], "linear", bias=False)
    with torch.no_grad():
        network[0].weight.mul_(1e-200)
        network[2].weight.mul_(1e180)
    for options in ({}, {"layers": "summary"}, {"method": "lanczos"}):
        with pytest.raises(NonFiniteNetwork, match="gradients"):
            fisher(network, samples(3, 6), **options)  # type: ignore[arg-type]


def test_parameters_shared_by_two_modules_are_refused() -> None:
    network = dense_network([6, 6, 6, 4])
    network[2].weight = network[0].weight
    with pytest.raises(UnsupportedLayer, match=r"weight of layer 2 .* shared with weight of layer 0"):
        fisher_spectrum(network, samples(3, 6))
