"""The training split of a run: which examples its seed draws, and the one scalar they are multiplied by."""

from __future__ import annotations

from dataclasses import replace

from isosweep.sweep.settings import DataSettings

from .splits import Split, load_splits

__all__ = ["training_split"]


def training_split(data: DataSettings, seed: int) -> Split:
    """The training split alone: the first of a permutation of the set that the seed alone determines.

    Digits are divided by 16 and images of bytes by 255 before the run's own scale, so that `raw` inputs lie in [0, 1].

    Raises:
        MissingData: the files are gone, or are other files than those the run was planned with.
        ValueError: a label outside 0..C−1, or inputs that are all zero and cannot be scaled.
    """
    return load_splits(replace(data, validation=None, test=None), seed).train
