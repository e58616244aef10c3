from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isosweep.curvature.block_summary import BlockSummarizer, inertia_rank, rank_threshold


def random_matrix(eigenvalues: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    matrix = (basis * eigenvalues) @ basis.T
    return (matrix + matrix.T) / 2


SPECTRA = {
    "flat": torch.ones(60, dtype=torch.float64),
    "graded": torch.logspace(0, -20, 60, dtype=torch.float64),
    "cluster at the top": torch.cat([1 - 1e-9 * torch.arange(9), 0.1 * torch.rand(51)]).double(),
    "low rank": torch.cat([torch.linspace(1, 2, 7), torch.zeros(53)]).double(),
    "one": torch.cat([torch.ones(1), torch.zeros(59)]).double(),
    "small numbers": 1e-200 * torch.linspace(1, 2, 60, dtype=torch.float64),
}


@pytest.mark.parametrize("name", list(SPECTRA))
def test_summary_is_that_of_the_eigenvalues(name: str) -> None:
    exact = SPECTRA[name].sort(descending=True).values
    summarize = BlockSummarizer()
    for seed in range(4):
        lambda_max, trace, rank = summarize(random_matrix(exact, seed))
        assert lambda_max == pytest.approx(float(exact[0]), rel=2e-14)
        assert trace == pytest.approx(float(exact.sum()), rel=1e-12)
        assert rank == int((exact > rank_threshold(float(exact[0]), 60, torch.float64)).sum())


def test_a_start_from_the_layer_before_does_not_mislead() -> None:
    """The first matrix's top vector is an eigenvector of the second one too, but not its top one."""
    summarize = BlockSummarizer()
    first, second = torch.linspace(1, 3, 50, dtype=torch.float64), torch.linspace(3, 1, 50, dtype=torch.float64)
    assert summarize(torch.diag(first))[0] == pytest.approx(3, rel=1e-14)
    assert summarize(torch.diag(second))[0] == pytest.approx(3, rel=1e-14)


def test_zero_matrix() -> None:
    assert BlockSummarizer()(torch.zeros(5, 5, dtype=torch.float64)) == (0.0, 0.0, 0)


@pytest.mark.parametrize("may_be_definite", [True, False])
def test_inertia_of_indefinite_pivots(may_be_definite: bool) -> None:
    """[[0, 1], [1, 0]] needs a 2 × 2 pivot: one positive, one negative eigenvalue."""
    exchange = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    matrix = torch.block_diag(exchange, exchange, torch.eye(3, dtype=torch.float64))
    assert inertia_rank(matrix, 0.0, may_be_definite) == 5


@pytest.mark.parametrize("size", [0.0, 1e-320, 1e-310, 1e-290, 1.0])
def test_a_singular_block_of_any_size_has_a_rank(size: float) -> None:
    """A saturated softmax leaves blocks that are singular, tiny or exactly zero."""
    ones = torch.full((4, 4), size, dtype=torch.float64)
    lambda_max, trace, rank = BlockSummarizer()(ones)
    assert rank == (1 if size else 0)
    assert lambda_max == pytest.approx(4 * size, rel=1e-12, abs=1e-322)
    assert trace == 4 * size
    assert inertia_rank(torch.zeros(3, 3, dtype=torch.float64), 0.0) == 0
