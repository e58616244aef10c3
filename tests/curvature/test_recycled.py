from __future__ import annotations

import gc

import pytest
import torch

from isosweep.curvature.recycled import Recycled

LIKE = torch.empty(0, dtype=torch.float64)


def test_memory_is_used_again_once_no_view_is_left() -> None:
    memory = Recycled()
    first = memory.empty((6, 50, 40), LIKE)
    first.fill_(1.0)
    view, place = first[2:4].flatten(0, 1).T, first.data_ptr()
    del first
    gc.collect()
    second = memory.empty((6, 50, 40), LIKE)
    second.fill_(2.0)
    assert bool((view == 1.0).all())
    del view
    third = memory.empty((5, 50, 40), LIKE)
    assert third.data_ptr() == place
    third.fill_(3.0)
    assert bool((second == 2.0).all())


def test_tensors_outlive_what_handed_them_out() -> None:
    memory = Recycled()
    kept = memory.empty((3, 4), LIKE).fill_(7.0)
    del memory
    gc.collect()
    assert kept.tolist() == [[7.0] * 4] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 5), (5,), (3, 2, 0), (2, 3, 4)])
def test_shape_and_dtype_are_those_asked_for(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    memory = Recycled()
    for _ in range(2):
        made = memory.empty(shape, torch.empty(0, dtype=dtype))
        assert (made.shape, made.dtype, made.is_contiguous()) == (shape, dtype, True)


def test_far_larger_memory_is_left_for_what_needs_it() -> None:
    memory = Recycled()
    large = memory.empty((1000,), LIKE)
    place = large.data_ptr()
    del large
    small = memory.empty((10,), LIKE)
    assert small.data_ptr() != place
    assert memory.empty((1000,), LIKE).data_ptr() == place
