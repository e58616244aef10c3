"""The splits of a run: which examples its seed draws for training, validation and test, and what they are scaled by.

Each split has a generator of its own, so that asking for a validation split, or a larger one, leaves the training
split as it is; and of two sizes of a split the smaller is the beginning of the larger.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from isosweep.draws import generator
from isosweep.sweep.settings import DataSettings

from .catalogue import CATALOGUE
from .scaling import Scaling, scale_training_split
from .whole_set import Pool, pool

__all__ = ["Split", "Splits", "load_splits"]


class Split(NamedTuple):
    """`inputs`: (samples, N_0) float64, scaled; `labels`: (samples,) int64 in 0..C−1. The caller's own."""

    inputs: np.ndarray
    labels: np.ndarray


class Splits(NamedTuple):
    """The splits of a run; None where the sweep file asks for none. `scaling` is what all of them went through."""

    train: Split
    validation: Split | None
    test: Split | None
    scaling: Scaling


def load_splits(data: DataSettings, seed: int) -> Splits:
    """Draw and scale the splits of the run with this seed.

    - training: the first of a permutation of the training set, which the seed alone determines;
    - validation: the first of another permutation of it that are not in the training split;
    - test: the first of a permutation of the set's own test set; where it has none, of a permutation of the training
      set, those that are in neither of the others.

    Gaussian inputs and their labels are drawn for each split. Standardisation and the scalar are the training
    split's own (`isosweep.data.scaling`) and applied to all.

    Raises:
        MissingData: the files are gone, torn, or others than those the run was planned with.
        ValueError: more samples than there are, a label outside 0..C−1, or inputs that cannot be scaled.
    """
    raw = _gaussian(data, seed) if data.name == "gaussian" else _drawn(data, seed)
    scaling = scale_training_split(data, raw["train"][0])
    ready = {}
    for name, (inputs, labels) in raw.items():
        if labels.min() < 0 or labels.max() >= data.classes:
            raise ValueError(f"{data.name} has a label outside 0..{data.classes - 1}: {labels.min()}..{labels.max()}")
        ready[name] = Split(inputs if name == "train" else scaling.apply(inputs), labels.astype(np.int64))
    return Splits(ready["train"], ready.get("validation"), ready.get("test"), scaling)


_Raw = dict[str, tuple[np.ndarray, np.ndarray]]


def _gaussian(data: DataSettings, seed: int) -> _Raw:
    def drawn(samples: int, inputs: str, labels: str, layer: int) -> tuple[np.ndarray, np.ndarray]:
        return (
            generator(seed, inputs).standard_normal((samples, data.inputs)),
            generator(seed, labels, layer).integers(data.classes, size=samples),
        )

    raw = {"train": drawn(data.samples, "data/inputs", "data/labels", 0)}
    for name, size in (("validation", data.validation), ("test", data.test)):
        if size is not None:
            raw[name] = drawn(size, name, name, 1)
    return raw


def _drawn(data: DataSettings, seed: int) -> _Raw:
    training = pool(data)
    available = len(training.labels)
    chosen = generator(seed, "data/split").permutation(available)[: data.samples]
    sets = {"train": (training, chosen)}
    free = np.ones(available, dtype=bool)
    free[chosen] = False

    def from_the_rest(purpose: str, size: int) -> np.ndarray:
        order = generator(seed, purpose).permutation(available)
        found = order[free[order]][:size]
        free[found] = False
        return found

    if data.validation is not None:
        sets["validation"] = (training, from_the_rest("validation", data.validation))
    if data.test is not None and CATALOGUE[data.name].has_test_set:
        own = pool(data, "test")
        sets["test"] = (own, generator(seed, "test").permutation(len(own.labels))[: data.test])
    elif data.test is not None:
        sets["test"] = (training, from_the_rest("test", data.test))
    _check_sizes(data, {name: len(indices) for name, (_, indices) in sets.items()})
    return {name: _taken(source, indices) for name, (source, indices) in sets.items()}


def _taken(source: Pool, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The caller's own copies, the images in rows one after the other."""
    return np.ascontiguousarray(source.images[indices] / source.unit), source.labels[indices]


def _check_sizes(data: DataSettings, found: dict[str, int]) -> None:
    for name, wanted in (("train", data.samples), ("validation", data.validation), ("test", data.test)):
        if wanted is not None and found[name] < wanted:
            raise ValueError(f"{data.name} has only {found[name]} samples for the {name} split, not {wanted}")
