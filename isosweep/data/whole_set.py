"""The whole of a data set in memory, as one run's settings name it: the pool that its splits are drawn from."""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isosweep.sweep.settings import DataSettings

from .catalogue import CATALOGUE, Part
from .errors import MissingData
from .files import content

__all__ = ["Pool", "pool"]


class Pool(NamedTuple):
    """Stored images, flattened: (samples, N_0); labels: (samples,); what the images are divided by to lie in [0, 1]."""

    images: np.ndarray
    labels: np.ndarray
    unit: float


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """The whole set, out of the file that scikit-learn brings along: importing scikit-learn for it takes a second, in
    every process that computes, and parsing it longer than drawing from it.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise MissingData("the digits are a file of scikit-learn, which is not installed: pip install scikit-learn")
    with gzip.open(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt", encoding="utf-8") as file:
        table = np.loadtxt(file, delimiter=",")
    return _read_only(table[:, :-1]), _read_only(table[:, -1].astype(int))


def pool(data: DataSettings, part: Part = "train") -> Pool:
    """A part of the set that `data` names, the same files that the run was planned with.

    Raises:
        MissingData: the files are gone, torn, or others than those the run was planned with.
    """
    unit = CATALOGUE[data.name].unit
    if data.name == "digits":
        return Pool(*_digits(), unit)
    whole = content(data.name, part, data.root)
    planned = data.checksum if part == "train" else data.test_checksum
    if whole.checksum != planned:
        raise MissingData(
            f"the files of {data.name} under {data.root} are not those that this run was planned with "
            f"(checksum {whole.checksum}, planned {planned}): launch again to plan with the new ones"
        )
    return Pool(whole.images.reshape(len(whole.labels), -1), whole.labels, unit)
