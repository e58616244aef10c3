from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from cases import dense_network, samples
from torch import Tensor, nn

from isosweep.curvature import (
    block_norms,
    fisher,
    fisher_bounds,
    fisher_per_input,
    forward_statistics,
    jacobian_spectrum,
    partial_jacobian_norms,
)

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
)
# "meta" as torch's default device: whatever is made without a device of its own fails there.
devices = pytest.mark.parametrize("device", ["cpu", CUDA])


@pytest.fixture(autouse=True)
def another_default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def case(activation: str = "tanh", count: int = 30) -> tuple[nn.Sequential, Tensor]:
    with torch.device("cpu"):
        return dense_network([20, 40, 40, 6], activation), samples(count, 20)


@devices
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_fisher_on_the_device(device: str, activation: str, dtype: torch.dtype, tolerance: float) -> None:
    network, inputs = case(activation, 50)
    here = fisher(network, inputs, layers="summary")
    there = fisher(network.to(device, dtype), inputs.to(device, dtype), layers="summary")
    assert there.eigenvalues.device.type == device
    assert there.eigenvalues.dtype == torch.float64
    assert float((there.eigenvalues.cpu() - here.eigenvalues).abs().max()) <= tolerance * here.lambda_max
    for name, block in here.blocks.items():
        assert there.blocks[name].lambda_max == pytest.approx(block.lambda_max, rel=10 * tolerance)


@devices
def test_jacobian_and_statistics_on_the_device(device: str) -> None:
    with torch.device("cpu"):
        network, inputs = dense_network([20] * 31 + [6], gain=1.5), samples(4, 20)
    for method in ("graded", "plain", "auto"):
        here = jacobian_spectrum(network.cpu(), inputs, method=method)  # type: ignore[arg-type]
        there = jacobian_spectrum(network.to(device), inputs.to(device), method=method)  # type: ignore[arg-type]
        assert there.log_singular_values.device.type == device
        if method != "plain":
            torch.testing.assert_close(there.log_singular_values.cpu(), here.log_singular_values, rtol=0, atol=1e-6)
        torch.testing.assert_close(there.log_s_max.cpu(), here.log_s_max, rtol=0, atol=1e-6)
    norms = partial_jacobian_norms(network.cpu(), inputs)
    found = partial_jacobian_norms(network.to(device), inputs.to(device))
    torch.testing.assert_close(found.log_spectral.cpu(), norms.log_spectral, rtol=0, atol=1e-6)
    statistics = forward_statistics(network.cpu(), inputs)
    torch.testing.assert_close(forward_statistics(network.to(device), inputs.to(device)).q.cpu(), statistics.q)


@devices
@pytest.mark.parametrize("eigenvectors", [0, 2])
def test_eigenvectors_and_accurate_on_the_device(device: str, eigenvectors: int) -> None:
    network, inputs = case()
    exact = fisher(network, inputs)
    options = {"eigenvectors": eigenvectors} if eigenvectors else {"accurate": True, "layers": "spectrum"}
    found = fisher(network.to(device), inputs.to(device), **options)  # type: ignore[arg-type]
    assert float((found.eigenvalues.cpu() - exact.eigenvalues).abs().max()) <= 1e-11 * exact.lambda_max
    if eigenvectors:
        assert found.eigenvectors is not None
        assert found.eigenvectors.device.type == device


@devices
@pytest.mark.parametrize("method", ["dual", "lanczos"])
@pytest.mark.parametrize(
    "options",
    [{}, {"centred": True}, {"parameters": "weights"}, {"kind": "empirical"}, {"likelihood": "gaussian"}],
    ids=str,
)
def test_options_on_the_device(device: str, method: str, options: dict[str, object]) -> None:
    network, inputs = case()
    more: dict[str, object] = {"method": "lanczos", "count": 3, "probes": 2} if method == "lanczos" else {}
    more |= options
    if options.get("kind") == "empirical":
        more["labels"] = torch.arange(30, device="cpu") % 6
    here = fisher(network, inputs, **more)  # type: ignore[arg-type]
    if "labels" in more:
        more["labels"] = torch.arange(30, device=device) % 6
    there = fisher(network.to(device), inputs.to(device), **more)  # type: ignore[arg-type]
    assert there.eigenvalues.device.type == device
    scale = 1e-12 * max(here.trace, here.abs_error / 1e-14)
    assert float((there.eigenvalues.cpu() - here.eigenvalues).abs().max()) <= scale
    assert there.trace == pytest.approx(here.trace, rel=1e-10)
    if there.density is not None:
        assert there.density.counts()[1][-1] == pytest.approx(float(there.density.dimension))


@devices
@pytest.mark.parametrize("exact", [True, False])
def test_bounds_and_single_inputs_on_the_device(device: str, exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exact:
        monkeypatch.setattr(block_norms, "EXACT_OPERATIONS", 0.0)
    network, inputs = case(count=9)
    measures: list[Callable[[nn.Sequential, Tensor], object]] = [
        lambda network, x: torch.tensor(
            [v for v in vars(fisher_bounds(network, x)).values() if v is not None], device="cpu"
        ),
        lambda network, x: fisher_per_input(network, x).cpu(),
    ]
    here = [measure(network, inputs) for measure in measures]
    network, inputs = network.to(device), inputs.to(device)
    for expected, measure in zip(here, measures, strict=True):
        torch.testing.assert_close(measure(network, inputs), expected, rtol=1e-6, atol=1e-12)
