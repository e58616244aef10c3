from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.curvature.tiles import CUTS, GPU_CUT, Cut, RowBlock, cut_of, pieces, row_blocks, tiles


@settings(deadline=None, max_examples=50)
@given(
    cotangents=st.integers(0, 40),
    samples=st.integers(1, 700),
    cut=st.sampled_from(
        [CUTS[0][1], CUTS[1][1], GPU_CUT, Cut(64, 64, 64, 64), Cut(64, 90, 200, 30), Cut(8, 500, 24, 4)]
    ),
)
def test_tiles_cover_the_lower_triangle_once(cotangents: int, samples: int, cut: Cut) -> None:
    cotangents = min(cotangents, 700 // samples)
    rows = cotangents * samples
    covered = torch.zeros(rows, rows, dtype=torch.int8)
    for tile in tiles(cotangents, samples, cut):
        here = covered[tile.row.rows(samples), tile.column.rows(samples)]
        here += 1
        block = max(cut.rows, cut.whole)
        assert here.shape[0] <= block
        assert here.shape[1] <= max(cut.across, block)
        if tile.row == tile.column:
            assert here.shape[0] <= cut.diagonal
    assert bool((covered.tril() == torch.ones(rows, rows, dtype=torch.int8).tril()).all())
    # what is written above the diagonal is a diagonal tile's own upper half
    assert int(covered.max() if rows else 0) <= 1


@pytest.mark.parametrize(("cotangents", "samples"), [(1, 1), (9, 100), (9, 278), (9, 300), (9, 667), (9, 1000)])
def test_many_rows_are_cut_into_larger_tiles(cotangents: int, samples: int) -> None:
    rows = cotangents * samples
    cut = cut_of(torch.empty(cotangents, samples, 0))
    assert cut == [cut for least, cut in CUTS if rows >= least][-1]
    areas = [
        len(range(rows)[tile.row.rows(samples)]) * len(range(rows)[tile.column.rows(samples)])
        for tile in tiles(cotangents, samples, cut)
    ]
    # All of the triangle, what the diagonal tiles have above it, and no tile so large that four workers would wait.
    assert rows**2 / 2 <= sum(areas) <= rows**2 / 2 + rows * cut.diagonal / 2
    assert rows < 1000 or max(areas) <= rows**2 / 8


@settings(deadline=None)
@given(cotangents=st.integers(0, 40), samples=st.integers(1, 2000), most=st.integers(1, 400), whole=st.integers(1, 900))
def test_blocks_are_contiguous_and_bounded(cotangents: int, samples: int, most: int, whole: int) -> None:
    place = 0
    for block in row_blocks(cotangents, samples, Cut(rows=most, whole=whole, across=most, diagonal=most)):
        rows = block.rows(samples)
        assert rows.start == place
        place = rows.stop
        assert rows.stop - rows.start == (block.last - block.first) * (block.stop - block.start)
        assert rows.stop - rows.start <= most or (
            samples <= whole and block == RowBlock(block.first, block.first + 1, 0, samples)
        )
    assert place == cotangents * samples


@pytest.mark.parametrize(("total", "most"), [(0, 5), (1, 5), (5, 5), (6, 5), (11, 5), (1000, 320)])
def test_pieces_are_nearly_equal(total: int, most: int) -> None:
    sizes = [stop - start for start, stop in pieces(total, most)]
    assert sum(sizes) == total
    assert all(size <= most for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
