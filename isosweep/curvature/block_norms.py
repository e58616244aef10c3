"""The norms of all blocks of F, weights and biases apart, through the blocks' own dual matrices.

The block (α, β) of F has the norm √λ_max(K_α K_β). Small networks: from roots K = T Tᵀ, as ‖T_αᵀ T_β‖. Else by power
iteration for all pairs at once: one pass over the layers forms every K_γ once and multiplies the vectors of all pairs
that γ belongs to in one matrix product, α first and β second (α < β). x ↦ K_β K_α x is self-adjoint in the inner
product of K_α, so ρ = uᵀz/xᵀu with u = K_α x, z = K_β u is its Rayleigh quotient and √(zᵀK_α z/xᵀu − ρ²) its residual:
an eigenvalue lies within it. ρ plus the residual is returned: above that eigenvalue, which is the largest unless the
random start had next to nothing of its direction. So these norms are estimates, to about `TOLERANCE`, and no proof.

Memory: R numbers a pair, and two R². Operations a pass: those of the dual, and 2R² for each of the B² entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from isosweep.curvature.block_summary import BlockSummarizer
from isosweep.curvature.layers import GramTerm
from isosweep.curvature.tiles import pieces
from isosweep.draws import generator
from isosweep.threads import Workers

__all__ = ["EXACT_OPERATIONS", "block_norms"]

# blocks²·R³ up to which the norms are taken from whole roots.
EXACT_OPERATIONS = 2e10
# Passes at least (a start near a smaller eigenvector leaves it by then) and at most, and the share of the largest row
# sum that the residuals may still add to it.
FEWEST_PASSES, MOST_PASSES = 8, 40
TOLERANCE = 1e-3
# Rows of a product that one worker computes.
ROWS = 128

Terms = Callable[[], Iterator[GramTerm]]


def block_norms(terms: Terms, layers: int, rows: int, workers: Workers) -> Tensor:
    """The norm of every block of F; exact up to `EXACT_OPERATIONS`, beyond estimated to about `TOLERANCE`.

    Args:
        terms: gives every layer's, with and without the bias' part, one at a time; called once a pass.
        layers: how many layers there are, two blocks each.
        rows: R.
        workers: who shares the products; no bit depends on them.

    Returns:
        (blocks, blocks), symmetric.
    """
    if (2.0 * layers) ** 2 * float(rows) ** 3 <= EXACT_OPERATIONS:
        return _exact([_root(matrix) for matrix in _duals(terms(), workers)])
    return _iterated(terms, workers)


def _duals(terms: Iterator[GramTerm], workers: Workers) -> Iterator[Tensor]:
    """K_α of every block, (R, R)."""
    for term in terms:
        k = len(term.cotangents)
        flat = term.cotangents.flatten(0, 1)
        of_bias = _product(flat, flat.T, workers)
        if term.samples is not None:
            factor = term.samples @ term.samples.T
            n = len(factor)
            yield (of_bias.view(k, n, k, n) * factor[None, :, None, :]).view(k * n, k * n)
        if term.offset:
            yield of_bias * term.offset


def _product(left: Tensor, right: Tensor, workers: Workers) -> Tensor:
    out = left.new_empty(left.shape[0], right.shape[1])

    def task(piece: tuple[int, int]) -> None:
        rows = slice(*piece)
        torch.mm(left[rows], right, out=out[rows])

    workers.run(task, pieces(len(left), ROWS))
    return out


def _root(matrix: Tensor) -> Tensor:
    """T with T Tᵀ = matrix (positive semi-definite), without the columns that are rounding errors."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > len(values) * torch.finfo(matrix.dtype).eps * values[-1]
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root if bool(kept.any()) else vectors[:, -1:] * 0


def _exact(roots: list[Tensor]) -> Tensor:
    norms = roots[0].new_zeros(len(roots), len(roots))
    for row, left in enumerate(roots):
        for column, right in enumerate(roots[: row + 1]):
            norms[row, column] = norms[column, row] = torch.linalg.matrix_norm(left.T @ right, ord=2)
    return norms


def _iterated(terms: Terms, workers: Workers) -> Tensor:
    diagonal: list[float] = []
    # vectors[β] holds the x of the pairs (α, β), α < β, one a row.
    vectors: list[Tensor] = []
    summarize = BlockSummarizer()
    for matrix in _duals(terms(), workers):
        # a share of every direction, most of it along the block's own large ones
        noise = generator(len(diagonal), "curvature/bounds").standard_normal(len(matrix))
        start = matrix @ (matrix @ torch.from_numpy(noise).to(matrix))
        size = float(start.norm())
        vectors.append((start / size if size else start).repeat(len(diagonal), 1))
        diagonal.append(summarize.largest(matrix))
    count = len(diagonal)
    quotients, images = (vectors[0].new_zeros(count, count) for _ in range(2))
    found = previous = vectors[0].new_zeros(count, count)
    for turn in range(MOST_PASSES):
        lengths = vectors[0].new_zeros(count, count)
        for index, matrix in enumerate(_duals(terms(), workers)):
            first = [vectors[other][index] for other in range(index + 1, count)]
            stacked = torch.cat([vectors[index], torch.stack(first)]) if first else vectors[index]
            product = _product(stacked, matrix, workers)
            inner = (stacked * product).sum(dim=1)
            # as the first of a pair: u = K_α x, and xᵀu, which for the pass before is zᵀK_α z
            for place, other in enumerate(range(index + 1, count)):
                vectors[other][index] = product[index + place]
            lengths[index + 1 :, index] = inner[index:]
            # as the second: z = K_β u, and uᵀz
            z = product[:index]
            sizes = z.norm(dim=1).clamp(min=torch.finfo(z.dtype).tiny)
            if turn:
                # (zᵀK_α z)/(xᵀu) of the pass before, z having been divided by its size
                square = lengths[index, :index] * images[index, :index]
                residual = (square - quotients[index, :index].square()).clamp(min=0).sqrt()
                found[index, :index] = (quotients[index, :index] + residual).clamp(min=0).sqrt()
            xu = lengths[index, :index].clamp(min=torch.finfo(z.dtype).tiny)
            quotients[index, :index] = inner[:index] / xu
            images[index, :index] = sizes.square() / xu
            vectors[index] = z / sizes[:, None]
        if turn >= FEWEST_PASSES and _settled(found, previous, diagonal):
            break
        previous = quotients.clamp(min=0).sqrt()
    return _whole(found, diagonal)


def _whole(lower: Tensor, diagonal: list[float]) -> Tensor:
    return lower + lower.T + torch.diag(lower.new_tensor(diagonal))


def _settled(upper: Tensor, lower: Tensor, diagonal: list[float]) -> bool:
    """Whether the residuals add less than the tolerance to the largest row sum."""
    above, below = (float(_whole(values, diagonal).sum(dim=1).max()) for values in (upper, lower))
    return above <= below * (1 + TOLERANCE)
