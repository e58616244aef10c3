"""The training split of a run: which examples its seed draws, and the one scalar they are multiplied by."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from isosweep.draws import generator
from isosweep.sweep.settings import DataSettings

from .catalogue import MissingData, files_of, locate
from .idx import read_idx

__all__ = ["TrainingSplit", "training_split"]


class TrainingSplit(NamedTuple):
    """`inputs`: (samples, N_0) float64, scaled; `labels`: (samples,) int64 in 0..C−1."""

    inputs: np.ndarray
    labels: np.ndarray


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """The whole set; parsing scikit-learn's file takes longer than drawing from it."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return _read_only(images), _read_only(labels)


@lru_cache(maxsize=2)
def _files(
    name: str, root: str | None, checksum: str | None, versions: tuple[tuple[str, int, int], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The whole set as bytes, read and checked once for each version of its files."""
    located = locate(name, root)
    if located.checksum != checksum:
        raise MissingData(
            f"the files of {name} under {root} are not those that this run was planned with "
            f"(checksum {located.checksum}, planned {checksum}): launch again to plan with the new ones"
        )
    assert located.images is not None
    assert located.labels is not None
    images = read_idx(located.images).reshape(located.available, -1)
    return _read_only(images), _read_only(read_idx(located.labels))


def _versions(data: DataSettings) -> tuple[tuple[str, int, int], ...]:
    """Path, size and time of every file of the set: what changes when a file does."""
    found = []
    for path in files_of(data.name, data.root):
        about = path.stat()
        found.append((str(path), about.st_size, about.st_mtime_ns))
    return tuple(found)


def _whole_set(data: DataSettings) -> tuple[np.ndarray, np.ndarray, float]:
    """Images as they are stored, labels, and what the images are divided by."""
    if data.name == "digits":
        return *_digits(), 16.0
    return *_files(data.name, data.root, data.checksum, _versions(data)), 255.0


def training_split(data: DataSettings, seed: int) -> TrainingSplit:
    """Draw the split: the first of a permutation of the set that the seed alone determines.

    Digits are divided by 16 and images of bytes by 255 before the run's own scale, so that `raw` inputs lie in [0, 1].

    Raises:
        MissingData: the files are gone, or are other files than those the run was planned with.
        ValueError: a label outside 0..C−1, or inputs that are all zero and cannot be scaled.
    """
    if data.name == "gaussian":
        inputs = generator(seed, "data/inputs").standard_normal((data.samples, data.inputs))
        labels = generator(seed, "data/labels").integers(data.classes, size=data.samples)
    else:
        images, all_labels, unit = _whole_set(data)
        chosen = generator(seed, "data/split").permutation(len(images))[: data.samples]
        inputs, labels = images[chosen] / unit, all_labels[chosen]
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= data.classes:
        raise ValueError(f"{data.name} has a label outside 0..{data.classes - 1}: {labels.min()}..{labels.max()}")
    if data.mean_square is not None:
        # math.fsum-like exactness is not needed, a fixed order is: numpy's pairwise sum over a C-ordered array is one
        mean_square = float(np.mean(np.ascontiguousarray(inputs) ** 2))
        if not mean_square > 0:
            raise ValueError(
                f"every input of the split of {data.name} is 0: "
                f"it cannot be scaled to mean |x|²/N_0 = {data.mean_square}"
            )
        inputs = inputs * np.sqrt(data.mean_square / mean_square)
    return TrainingSplit(np.ascontiguousarray(inputs), labels)
