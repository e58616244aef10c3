"""The training split of a run: which examples its seed draws, and the one scalar they are multiplied by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from isosweep.draws import generator
from isosweep.sweep.settings import DataSettings

from .catalogue import MissingData, locate
from .idx import read_idx

__all__ = ["TrainingSplit", "training_split"]


class TrainingSplit(NamedTuple):
    """`inputs`: (samples, N_0) float64, scaled; `labels`: (samples,) int64 in 0..C−1."""

    inputs: np.ndarray
    labels: np.ndarray


def _whole_set(data: DataSettings) -> tuple[np.ndarray, np.ndarray]:
    if data.name == "digits":
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return images / 16.0, labels
    located = locate(data.name, data.root)
    if located.checksum != data.checksum:
        raise MissingData(
            f"the files of {data.name} under {data.root} are not those that this run was planned with "
            f"(checksum {located.checksum}, planned {data.checksum}): launch again to plan with the new ones"
        )
    assert located.images is not None
    assert located.labels is not None
    images = read_idx(located.images).reshape(located.available, -1) / 255.0
    return images, read_idx(located.labels)


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
        images, all_labels = _whole_set(data)
        chosen = generator(seed, "data/split").permutation(len(images))[: data.samples]
        inputs, labels = images[chosen], all_labels[chosen]
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
