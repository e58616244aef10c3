from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.curvature.tiles import GPU_BLOCK_ROWS, pieces, row_blocks, tiles


@settings(deadline=None, max_examples=50)
@given(cotangents=st.integers(0, 40), samples=st.integers(1, 700), most=st.sampled_from([8, 64, 320, GPU_BLOCK_ROWS]))
def test_tiles_cover_the_lower_triangle_once(cotangents: int, samples: int, most: int) -> None:
    cotangents = min(cotangents, 700 // samples)
    rows = cotangents * samples
    covered = torch.zeros(rows, rows, dtype=torch.int8)
    for tile in tiles(cotangents, samples, most):
        covered[tile.row.rows(samples), tile.column.rows(samples)] += 1
    assert bool((covered.tril() == torch.ones(rows, rows, dtype=torch.int8).tril()).all())
    assert int(covered.max() if rows else 0) <= 1


@settings(deadline=None)
@given(cotangents=st.integers(0, 40), samples=st.integers(1, 2000), most=st.integers(1, 400))
def test_blocks_are_contiguous_and_bounded(cotangents: int, samples: int, most: int) -> None:
    place = 0
    for block in row_blocks(cotangents, samples, most):
        rows = block.rows(samples)
        assert rows.start == place
        place = rows.stop
        assert rows.stop - rows.start == (block.last - block.first) * (block.stop - block.start) <= most
    assert place == cotangents * samples


@pytest.mark.parametrize(("total", "most"), [(0, 5), (1, 5), (5, 5), (6, 5), (11, 5), (1000, 320)])
def test_pieces_are_nearly_equal(total: int, most: int) -> None:
    sizes = [stop - start for start, stop in pieces(total, most)]
    assert sum(sizes) == total
    assert all(size <= most for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
