"""Augmentation of training images: a pure function of the run's seed, the epoch and the example.

An example looks the same in an epoch whatever minibatch it falls into, in which order, on which device; a run that is
taken up again in the middle of an epoch needs to remember nothing. Every change moves along the axes, so that each is
a map of rows and a map of columns: output pixel (i, j) of a channel is read at (r(i), c(j)).

In this order, each only where asked for:

- flip: mirrored left and right, with probability ½;
- crop: a window that is `crop` pixels smaller in each direction, anywhere (all whole offsets alike), stretched to the
  whole size: bilinear, pixel centres at half-integers, no reading outside the window;
- shift: moved by a whole number of pixels from −`shift` to `shift` in each direction (all alike); what comes in is 0.

Flip and shift alone copy pixels and compute nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from isosweep.draws import generator
from isosweep.sweep.settings import AugmentationSettings

from .catalogue import CATALOGUE

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["augmented", "image_shape"]

# What each example draws in an epoch, used or not: flip, crop's row and column, shift's row and column.
_DRAWS = 5

Batch = TypeVar("Batch", np.ndarray, "Tensor")


class _AxisMap(NamedTuple):
    """Where each output pixel along one axis is read, (batch, size): lower pixel, upper pixel, weight of the upper."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray | None
    inside: np.ndarray | None


def image_shape(name: str) -> tuple[int, int, int]:
    """(channels, height, width) of the images of the data set `name`.

    Raises:
        ValueError: its inputs are no images.
    """
    shape = CATALOGUE[name].shape
    if shape is None:
        raise ValueError(f"{name} inputs are no images")
    return shape


@lru_cache(maxsize=2)
def _draws(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Uniform in [0, 1), (samples, 5): a row depends on seed, epoch and its number, not on how many there are."""
    table = generator(seed, "augmentation", epoch).random((samples, _DRAWS))
    table.flags.writeable = False
    return table


def _whole(uniform: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers 0 … count−1 from uniform numbers."""
    return np.minimum((uniform * count).astype(np.int64), count - 1)


def _axis_map(size: int, crop: int, shift: int, crop_draw: np.ndarray, shift_draw: np.ndarray) -> _AxisMap:
    output = np.arange(size)[None, :] - (_whole(shift_draw, 2 * shift + 1) - shift)[:, None]
    inside = (output >= 0) & (output < size) if shift else None
    output = np.clip(output, 0, size - 1)
    if not crop:
        return _AxisMap(output, output, None, inside)
    window = size - crop
    offset = _whole(crop_draw, crop + 1)[:, None]
    within = np.clip((output + 0.5) * (window / size) - 0.5, 0, window - 1)
    lower = np.floor(within).astype(np.int64)
    return _AxisMap(offset + lower, offset + np.minimum(lower + 1, window - 1), within - lower, inside)


def _mirrored(axis: _AxisMap, size: int, flipped: np.ndarray) -> _AxisMap:
    def mirror(index: np.ndarray) -> np.ndarray:
        return np.where(flipped[:, None], size - 1 - index, index)

    return axis._replace(lower=mirror(axis.lower), upper=mirror(axis.upper))


def _take(images: Any, index: np.ndarray, axis: int) -> Any:
    """`images` (batch, channels, height, width) read along `axis` at `index` (batch, size)."""
    spread = index[:, None, :, None] if axis == 2 else index[:, None, None, :]
    if isinstance(images, np.ndarray):
        return np.take_along_axis(images, spread, axis)
    import torch

    sizes = list(images.shape)
    sizes[axis] = index.shape[1]
    return torch.gather(images, axis, torch.from_numpy(np.ascontiguousarray(spread)).to(images.device).expand(sizes))


def _like(images: Any, values: np.ndarray, axis: int) -> Any:
    spread = values[:, None, :, None] if axis == 2 else values[:, None, None, :]
    if isinstance(images, np.ndarray):
        return spread.astype(images.dtype)
    import torch

    return torch.from_numpy(np.ascontiguousarray(spread)).to(device=images.device, dtype=images.dtype)


def _along(images: Any, where: _AxisMap, axis: int) -> Any:
    result = _take(images, where.lower, axis)
    if where.weight is not None:
        result = result + _like(images, where.weight, axis) * (_take(images, where.upper, axis) - result)
    if where.inside is not None:
        result = result * _like(images, where.inside, axis)
    return result


def augmented(
    inputs: Batch,
    examples: Sequence[int] | np.ndarray,
    *,
    settings: AugmentationSettings,
    shape: tuple[int, int, int],
    seed: int,
    epoch: int,
    samples: int,
) -> Batch:
    """The minibatch as it is seen in this epoch; `inputs` is not changed.

    Args:
        inputs: (batch, N_0), a numpy array or a torch tensor on any device; the result is of the same kind and dtype.
        examples: (batch,) which examples of the training split they are, 0 … samples−1.
        settings: what is done.
        shape: of an image, see `image_shape`.
        seed: the run's.
        epoch: the epoch, from 0.
        samples: size of the training split (it does not change what an example draws).

    Raises:
        ValueError: the inputs are not of that shape, or an example is outside the split.
    """
    channels, height, width = shape
    chosen = np.asarray(examples, dtype=np.int64)
    if tuple(inputs.shape) != (len(chosen), channels * height * width):
        raise ValueError(f"inputs of shape {tuple(inputs.shape)} are not {len(chosen)} images of {shape}")
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < samples):
        raise ValueError(f"examples {chosen.min()}..{chosen.max()} are outside the split of {samples}")
    flip, crop_row, crop_column, shift_row, shift_column = _draws(seed, epoch, samples)[chosen].T
    rows = _axis_map(height, settings.crop, settings.shift, crop_row, shift_row)
    columns = _axis_map(width, settings.crop, settings.shift, crop_column, shift_column)
    if settings.flip:
        columns = _mirrored(columns, width, flip < 0.5)
    images = inputs.reshape(len(chosen), channels, height, width)
    if settings.crop or settings.shift:
        images = _along(images, rows, 2)
    result: Batch = _along(images, columns, 3).reshape(len(chosen), -1)
    return result
