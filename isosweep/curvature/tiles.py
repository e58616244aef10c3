"""How an R × R symmetric matrix with rows (cotangent, sample) is cut into tiles.

The cut depends on the numbers of cotangents and samples and on constants alone, never on memory or cores: the bits of a
result depend on it. Every tile covers whole samples of whole cotangents, so that a factor S_ij of the samples alone
multiplies contiguous blocks of it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor

__all__ = ["CUTS", "GPU_CUT", "Cut", "RowBlock", "Tile", "cut_of", "pieces", "row_blocks", "tiles"]


@dataclass(frozen=True)
class Cut:
    """How large the pieces are.

    Attributes:
        rows: the most rows of a block of several cotangents, or of a piece of one.
        whole: the most samples with which a cotangent stays in one piece, though it has more than `rows`.
        across: the most rows of the blocks that a tile below the diagonal has on its other side, several taken as one.
        diagonal: the longest edge of a tile on the diagonal: a longer one is halved, as what is above is not needed.
    """

    rows: int
    whole: int
    across: int
    diagonal: int


# By the number of rows from which on each holds. Wider tiles are faster, as each operand is read, and packed by the
# product, fewer times (at 9,000 rows 84 % of the operations' rate instead of 80 % with half as many across); smaller
# ones leave enough of them for the workers to share. On the diagonal A·Aᵀ itself costs half of its operations
# (`products.multiply`), and its share of the whole falls with the height of the blocks: at 2,700 rows 300 are better
# than 600, but halves of one cotangent would leave the factor S of the samples in pieces.
CUTS = (
    (0, Cut(rows=320, whole=320, across=640, diagonal=320)),
    (2500, Cut(rows=320, whole=700, across=2560, diagonal=640)),
    (6000, Cut(rows=1000, whole=1000, across=4000, diagonal=640)),
)
# On a GPU, which wants fewer and larger products, and does A·Aᵀ in full.
GPU_CUT = Cut(rows=3072, whole=3072, across=3072, diagonal=1536)


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


def cut_of(cotangents: Tensor) -> Cut:
    """How the dual matrix of cotangents (k, n, …) is cut, and the cotangents themselves, into blocks of rows."""
    if cotangents.is_cuda:
        return GPU_CUT
    rows = cotangents.shape[0] * cotangents.shape[1]
    return next(cut for least, cut in reversed(CUTS) if rows >= least)


def pieces(total: int, most: int) -> list[tuple[int, int]]:
    """[0, total) in as few nearly equal pieces of at most `most` as there can be."""
    count = -(-total // most)
    if count == 0:
        return []
    edges = [total * index // count for index in range(count + 1)]
    return list(itertools.pairwise(edges))


def row_blocks(cotangents: int, samples: int, cut: Cut) -> list[RowBlock]:
    """The blocks of a cut: several cotangents of all samples, or all samples of one, or a piece of them."""
    if samples <= max(cut.rows, cut.whole):
        groups = pieces(cotangents, max(1, cut.rows // samples))
        return [RowBlock(first, last, 0, samples) for first, last in groups]
    parts = pieces(samples, cut.rows)
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


def _joined(blocks: list[RowBlock], samples: int, most: int) -> list[RowBlock]:
    """Neighbouring blocks taken together, up to `most` rows, where both hold all samples or belong to one cotangent."""
    joined: list[RowBlock] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if last is None or block.rows(samples).stop - last.rows(samples).start > most:
            joined.append(block)
        elif last.start == block.start == 0 and last.stop == block.stop == samples:
            joined[-1] = RowBlock(last.first, block.last, 0, samples)
        elif last.last - last.first == 1 and last.first == block.first:
            joined[-1] = RowBlock(last.first, last.last, last.start, block.stop)
        else:
            joined.append(block)
    return joined


def tiles(cotangents: int, samples: int, cut: Cut) -> list[Tile]:
    """The tiles that cover the lower triangle, the largest first so that workers end together."""
    blocks = row_blocks(cotangents, samples, cut)
    below = [
        Tile(row, side) for index, row in enumerate(blocks) for side in _joined(blocks[:index], samples, cut.across)
    ]
    below.sort(key=lambda tile: -_area(tile, samples))
    return below + [tile for block in blocks for tile in _diagonal(block, cut.diagonal)]


def _area(tile: Tile, samples: int) -> int:
    row, column = tile.row.rows(samples), tile.column.rows(samples)
    return len(range(row.start, row.stop)) * len(range(column.start, column.stop))
