"""The gradient of a batch against autograd, and its bits against the number of workers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isosweep.networks.activations import Erf, ScaledErf, Sin
from isosweep.threads import Workers, single_threaded
from isosweep.training import gradient
from isosweep.training.gradient import BatchGradient

ACTIVATIONS = [
    *(nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Hardtanh, nn.Identity, nn.Sigmoid, nn.Softplus),
    *(Erf, ScaledErf, Sin),
]


def plain_loss(network: nn.Module, x: Tensor, y: Tensor, loss: str) -> Tensor:
    outputs = network(x)
    if loss == "cross_entropy":
        return functional.cross_entropy(outputs, y)
    targets = y if y.ndim == 2 else functional.one_hot(y, outputs.shape[1])
    return 0.5 * (outputs - targets).square().sum(dim=1).mean()


def both(
    network: nn.Sequential, x: Tensor, y: Tensor, loss: str, workers: int = 1
) -> tuple[list[Tensor], list[Tensor]]:
    parameters = list(network.parameters())
    gradients = [torch.full_like(p, torch.nan) for p in parameters]
    with single_threaded(), Workers(workers) as crew:
        sums = BatchGradient(network, gradients, len(x), loss, crew)(x, y)
    wanted = plain_loss(network, x, y, loss)
    assert float(sums.loss) / len(x) == pytest.approx(float(wanted.detach()), rel=1e-13)
    answers = y if y.ndim == 1 else y.argmax(dim=1)
    assert int(sums.correct) == int((network(x).argmax(dim=1) == answers).sum())
    return gradients, list(torch.autograd.grad(wanted, parameters))


def close(found: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_as_autograd_finds_it(activation: type[nn.Module], loss: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(7, 9), activation(), nn.Linear(9, 8), activation(), nn.Linear(8, 5)).double()
    x, y = torch.randn(300, 7, dtype=torch.float64), torch.randint(5, (300,))
    close(*both(network, x, y, loss, workers=2))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(7, 5)],
        [nn.Linear(7, 6, bias=False), nn.Tanh(), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 5, bias=False)],
        [nn.Tanh(), nn.SiLU(), nn.Linear(7, 6), nn.GELU(), nn.Tanh(), nn.Linear(6, 5), nn.Tanh()],
        [nn.Sequential(nn.Linear(7, 6), nn.Sequential(nn.Tanh())), nn.Linear(6, 5)],
    ],
)
def test_any_chain_of_layers(layers: list[nn.Module]) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(*layers).double()
    x, y = torch.randn(150, 7, dtype=torch.float64), torch.randint(5, (150,))
    close(*both(network, x, y, "cross_entropy"))


def test_targets_instead_of_labels() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.softmax(torch.randn(20, 3, dtype=torch.float64), dim=1)
    for loss in ("cross_entropy", "squared_error"):
        close(*both(network, x, y, loss))


def test_a_batch_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient, "PART", 32)
    monkeypatch.setattr(gradient, "SMALLEST", 8)
    monkeypatch.setattr(gradient, "SHARD", 5)
    monkeypatch.setattr(gradient, "LARGE_SHARD", 5)
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)).double()
    x, y = torch.randn(101, 4, dtype=torch.float64), torch.randint(3, (101,))
    close(*both(network, x, y, "cross_entropy", workers=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_for_any_number_of_workers(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Linear(33, 65), nn.Tanh(), nn.Linear(65, 65), nn.GELU(), nn.Linear(65, 10)).to(dtype)
    x, y = torch.randn(517, 33, dtype=dtype), torch.randint(10, (517,))
    found = []
    for workers in (1, 2, 5):
        gradients = [torch.empty_like(p) for p in network.parameters()]
        with single_threaded(), Workers(workers) as crew:
            sums = BatchGradient(network, gradients, 517, "cross_entropy", crew)(x, y)
        found.append([*gradients, *sums])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize(
    ("samples", "sizes"),
    [(1, [1]), (64, [64]), (65, [32, 33]), (200, [50] * 4), (1000, [250] * 4), (1025, [205] * 5), (2048, [256] * 8)],
)
def test_shards_follow_the_number_of_samples_alone(samples: int, sizes: list[int]) -> None:
    cut = gradient._shards(samples)
    assert [piece.stop - piece.start for piece in cut] == sizes
    assert [piece.start for piece in cut] == [0, *(piece.stop for piece in cut[:-1])]
    assert cut[-1].stop == samples
