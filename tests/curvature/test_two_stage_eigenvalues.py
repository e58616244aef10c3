from __future__ import annotations

import pytest
import torch
from cases import dense_network, samples
from torch import Tensor

from isosweep.curvature import dual_spectrum, fisher, single_threaded
from isosweep.curvature.spectra import error_units
from isosweep.curvature.two_stage_eigenvalues import two_stage_eigenvalues
from isosweep.threads import Workers


def minimum_matrix(size: int) -> tuple[Tensor, Tensor]:
    """min(i, j): exact entries, and the eigenvalues 1/(4 sin²((2k − 1)π/(2(2n + 1)))), ascending."""
    index = torch.arange(1, size + 1, dtype=torch.float64)
    angles = (2 * index.flip(0) - 1) * torch.pi / (2 * (2 * size + 1))
    return torch.minimum(index[:, None], index), 1 / (4 * torch.sin(angles).square())


def known_spectrum(sizes: list[int]) -> tuple[Tensor, Tensor]:
    """A Kronecker product of such matrices with its rows in random order: still exact, no longer smooth."""
    matrix, values = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for size in sizes:
        factor, factor_values = minimum_matrix(size)
        matrix, values = torch.kron(matrix, factor), torch.kron(values, factor_values)
    order = torch.randperm(len(matrix), generator=torch.Generator().manual_seed(0))
    return matrix[order][:, order].contiguous(), values.sort().values


@pytest.mark.parametrize("sizes", [[1], [2], [63], [64], [65], [66], [129], [513], [25, 25], [5, 5, 5, 5], [2] * 10])
@pytest.mark.parametrize("workers", [1, 2])
def test_known_spectra(sizes: list[int], workers: int) -> None:
    matrix, exact = known_spectrum(sizes)
    # The upper triangle must not matter.
    matrix += torch.triu(torch.full_like(matrix, torch.nan), 1).nan_to_num(nan=7.0).triu(1)
    with single_threaded(), Workers(workers) as crew:
        found = two_stage_eigenvalues(matrix, crew)
    bound = error_units(len(exact)) * torch.finfo(torch.float64).eps
    assert float((found - exact).abs().max()) <= bound * float(exact[-1])


def test_zero_and_diagonal_matrices() -> None:
    with single_threaded():
        assert torch.equal(
            two_stage_eigenvalues(torch.zeros(200, 200, dtype=torch.float64), Workers()), torch.zeros(200)
        )
        diagonal = torch.arange(300, dtype=torch.float64)
        found = two_stage_eigenvalues(torch.diag(diagonal.flip(0)), Workers())
        torch.testing.assert_close(found, diagonal, rtol=0, atol=1e-12)


def test_fisher_spectra_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = dense_network([20, 30, 30, 6]), samples(80, 20)
    one = fisher(network, inputs, layers="spectrum")
    monkeypatch.setattr(dual_spectrum, "TWO_STAGE_ROWS", 100)
    two = fisher(network, inputs, layers="spectrum", eigenvectors=2)
    assert float((one.eigenvalues - two.eigenvalues).abs().max()) <= one.abs_error
    for name, block in one.blocks.items():
        other = two.blocks[name]
        assert block.eigenvalues is not None
        assert other.eigenvalues is not None
        assert float((block.eigenvalues - other.eigenvalues).abs().max()) <= 1e-14 * block.lambda_max
        assert (block.trace, block.rank) == (other.trace, other.rank)
    threaded = fisher(network, inputs, workers=2)
    assert torch.equal(threaded.eigenvalues, fisher(network, inputs).eigenvalues)
    assert two.eigenvectors is not None


@pytest.mark.slow
def test_large_known_spectrum() -> None:
    matrix, exact = known_spectrum([14, 14, 14])
    with single_threaded(), Workers(2) as crew:
        found = two_stage_eigenvalues(matrix, crew)
    assert float((found - exact).abs().max()) <= error_units(len(exact)) * 2.3e-16 * float(exact[-1])
