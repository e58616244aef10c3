"""How an R × R symmetric matrix with rows (cotangent, sample) is cut into tiles.

The cut depends on the numbers of cotangents and samples and on constants alone, never on memory or cores: the bits of a
result depend on it. Every tile covers whole samples of whole cotangents, so that a factor S_ij of the samples alone
multiplies contiguous blocks of it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

__all__ = ["BLOCK_ROWS", "GPU_BLOCK_ROWS", "RowBlock", "Tile", "pieces", "row_blocks", "tiles"]

# Rows of a block: large enough for the matrix product's peak rate, small enough that a tile stays in a core's cache.
BLOCK_ROWS = 320
# The same on a GPU, which wants fewer and larger products.
GPU_BLOCK_ROWS = 3072


@dataclass(frozen=True)
class RowBlock:
    """Rows of the cotangents [first, last) for the samples [start, stop); contiguous in (cotangent, sample) order."""

    first: int
    last: int
    start: int
    stop: int

    def rows(self, samples: int) -> slice:
        """The rows of this block in the R × R matrix of `samples` samples."""
        return slice(self.first * samples + self.start, (self.last - 1) * samples + self.stop)


@dataclass(frozen=True)
class Tile:
    """A tile on or below the diagonal."""

    row: RowBlock
    column: RowBlock


def pieces(total: int, most: int) -> list[tuple[int, int]]:
    """[0, total) in as few nearly equal pieces of at most `most` as there can be."""
    count = -(-total // most)
    if count == 0:
        return []
    edges = [total * index // count for index in range(count + 1)]
    return list(itertools.pairwise(edges))


def row_blocks(cotangents: int, samples: int, most: int = BLOCK_ROWS) -> list[RowBlock]:
    """The blocks of at most about `most` rows: several cotangents of all samples, or a piece of the samples of one."""
    if samples <= most:
        groups = pieces(cotangents, max(1, most // samples))
        return [RowBlock(first, last, 0, samples) for first, last in groups]
    parts = pieces(samples, most)
    return [RowBlock(c, c + 1, start, stop) for c in range(cotangents) for start, stop in parts]


def _halves(block: RowBlock, enough: int) -> tuple[RowBlock, RowBlock] | None:
    """The block in two, or None when it has `enough` rows or fewer."""
    cotangents, samples = block.last - block.first, block.stop - block.start
    if cotangents * samples <= enough:
        return None
    if cotangents > 1:
        middle = (block.first + block.last) // 2
        return (
            RowBlock(block.first, middle, block.start, block.stop),
            RowBlock(middle, block.last, block.start, block.stop),
        )
    middle = (block.start + block.stop) // 2
    return (
        RowBlock(block.first, block.last, block.start, middle),
        RowBlock(block.first, block.last, middle, block.stop),
    )


def _diagonal(block: RowBlock, enough: int) -> list[Tile]:
    halves = _halves(block, enough)
    if halves is None:
        return [Tile(block, block)]
    upper, lower = halves
    return [*_diagonal(upper, enough), Tile(lower, upper), *_diagonal(lower, enough)]


def tiles(cotangents: int, samples: int, most: int = BLOCK_ROWS) -> list[Tile]:
    """The tiles that cover the lower triangle, the largest first so that workers end together.

    A tile on the diagonal is halved until its edge is at most half of `most`: what is above the diagonal is not needed.
    """
    blocks = row_blocks(cotangents, samples, most)
    full = [Tile(row, column) for index, row in enumerate(blocks) for column in blocks[:index]]
    return full + [tile for block in blocks for tile in _diagonal(block, most // 2)]
