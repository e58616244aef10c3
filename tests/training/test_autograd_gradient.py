"""Gradients of networks that are no plain chain: right, the same with and without recomputation, and on any cores."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "curvature"))
from cases import CASES, Case

from isosweep.networks.residual import Residual
from isosweep.threads import Workers, single_threaded
from isosweep.training.autograd_gradient import AutogradGradient, _recomputed
from isosweep.training.gradient import BatchGradient

BEYOND = [case for case in CASES if not case.plain or case.name == "quantised"]


def gradient(network, inputs, labels, workers: int = 1, recompute: bool = True, loss: str = "cross_entropy"):
    into = [torch.empty_like(p) for p in network.parameters()]
    with single_threaded(), Workers(workers) as crew:
        sums = AutogradGradient(network, into, loss, crew, recompute=recompute)(inputs, labels)
    return sums, into


def labels_of(case: Case) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    network, inputs = case.build()
    outputs = network(inputs).shape[1]
    return network, inputs, torch.arange(len(inputs)) % outputs


@pytest.mark.parametrize("case", BEYOND, ids=lambda case: case.name)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_gradients_are_those_of_the_whole_loss(case: Case, loss: str) -> None:
    network, inputs, labels = labels_of(case)
    sums, found = gradient(network, inputs, labels, loss=loss)
    outputs = network(inputs)
    if loss == "cross_entropy":
        value = nn.functional.cross_entropy(outputs, labels)
    else:
        value = 0.5 * (outputs - nn.functional.one_hot(labels, outputs.shape[1])).square().sum() / len(inputs)
    exact = torch.autograd.grad(value, list(network.parameters()))
    assert float(sums.loss) / len(inputs) == pytest.approx(float(value), rel=1e-12)
    assert float(sums.correct) == float((outputs.argmax(1) == labels).sum())
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def deep(width: int = 16) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    blocks = [
        Residual(nn.Sequential(nn.Linear(width, width), nn.Tanh()), 0.1, scheme, 3)
        for scheme in ("euler", "heun", "ssp3")
    ]
    network = nn.Sequential(nn.Linear(8, width), nn.Tanh(), *blocks, nn.Linear(width, 4))
    return network, torch.randn(1000, 8), torch.randint(4, (1000,))


@pytest.mark.parametrize("change", [{"recompute": False}, {"workers": 2}, {"workers": 4, "recompute": False}])
def test_bits_depend_neither_on_recomputation_nor_on_cores(change) -> None:
    network, inputs, labels = deep()
    reference, other = gradient(network, inputs, labels), gradient(network, inputs, labels, **change)
    assert float(reference[0].loss) == float(other[0].loss)
    assert all(torch.equal(one, two) for one, two in zip(reference[1], other[1], strict=True))


def test_recomputation_holds_one_block_at_a_time() -> None:
    """What the graph saves: the blocks' inputs, not the states within them."""
    network, inputs, _ = deep()

    def saved(recompute: bool) -> int:
        count = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += tensor.numel() if tensor.shape[:1] == (100,) else 0
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _recomputed(network, inputs[:100]) if recompute else network(inputs[:100])
        return count

    assert saved(True) <= saved(False) / 6


def test_a_plain_chain_has_the_same_gradient_as_by_hand() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 9), nn.Tanh(), nn.Linear(9, 4)).double()
    inputs, labels = torch.randn(300, 8, dtype=torch.float64), torch.randint(4, (300,))
    _, found = gradient(network, inputs, labels)
    by_hand = [torch.empty_like(p) for p in network.parameters()]
    with single_threaded():
        BatchGradient(network, by_hand, 300, "cross_entropy", Workers())(inputs, labels)
    for one, other in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_losses_alone() -> None:
    network, inputs, labels = deep()
    with single_threaded(), Workers(2) as crew:
        sums = AutogradGradient(network, None, "cross_entropy", crew).losses(inputs, labels)
    assert float(sums.loss) / 1000 == pytest.approx(
        float(nn.functional.cross_entropy(network(inputs), labels)), rel=1e-5
    )
