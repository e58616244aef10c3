"""The data sets there are: their sizes, where their files are looked for, and the checksum of what is in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .idx import IdxError, idx_checksum, idx_shape

__all__ = ["CATALOGUE", "DataSet", "Located", "MissingData", "files_of", "locate"]


@dataclass(frozen=True)
class DataSet:
    """A data set: its sizes, each None where the sweep file or the file itself says; its files, if it has any."""

    inputs: int | None
    classes: int | None
    available: int | None
    images: str | None = None
    labels: str | None = None
    folder: str | None = None
    get: str | None = None


CATALOGUE: dict[str, DataSet] = {
    "digits": DataSet(64, 10, 1797),
    "gaussian": DataSet(None, None, None),
    "mnist": DataSet(
        784,
        10,
        None,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "mnist",
        "put MNIST's IDX files (train-images-idx3-ubyte and train-labels-idx1-ubyte, gzip or not) there",
    ),
    "fashion_mnist": DataSet(
        784,
        10,
        None,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "fashion-mnist",
        "install Debian's package dataset-fashion-mnist and set data.root: /usr/share/datasets, "
        "or put the IDX files there",
    ),
}


class MissingData(Exception):
    """Files of a data set that are not there or not what they should be: what was looked for, where, how to get it."""


@dataclass(frozen=True)
class Located:
    """A data set found: its sizes, and its files with the checksum of their content, compressed or not."""

    name: str
    inputs: int
    classes: int
    available: int
    images: Path | None = None
    labels: Path | None = None
    checksum: str | None = None
    root: str | None = None


def _find(root: Path, folder: str, stem: str) -> tuple[Path | None, list[Path]]:
    """The first of the places where the file may lie, and all that were tried."""
    tried = [place / (stem + ending) for place in (root / folder, root) for ending in ("", ".gz")]
    # A file that another node has just written may be missing from a cached listing: read the folder before believing
    # it.
    for place in {path.parent for path in tried}:
        if place.is_dir():
            os.listdir(place)
    return next((path for path in tried if path.is_file()), None), tried


def files_of(name: str, root: str | None = None) -> list[Path]:
    """The files of the data set `name`, images first, under `root` or, without one, the environment's ISOSWEEP_DATA.

    Raises:
        MissingData: one is not there.
    """
    entry = CATALOGUE[name]
    base = root or os.environ.get("ISOSWEEP_DATA")
    if not base:
        raise MissingData(
            f"the data set {name} is read from {entry.images}[.gz] and {entry.labels}[.gz]: "
            f"say where they are with data.root in the sweep file, or ISOSWEEP_DATA; {entry.get}"
        )
    found = []
    for stem in (entry.images, entry.labels):
        path, tried = _find(Path(base), entry.folder or "", stem or "")
        if path is None:
            places = ", ".join(str(p) for p in tried)
            raise MissingData(f"the data set {name} needs {stem}[.gz], looked for at {places}; {entry.get}")
        found.append(path)
    return found


def locate(name: str, root: str | None = None) -> Located:
    """Find and check the files of the data set `name` under `root` or, without one, the environment's ISOSWEEP_DATA.

    Raises:
        MissingData: a file is not there, cannot be read or is not an IDX file of the right shape.
        KeyError: no such data set, or one without files whose sizes the sweep file gives.
    """
    entry = CATALOGUE[name]
    if entry.images is None or entry.labels is None or entry.folder is None:
        if entry.inputs is None or entry.classes is None or entry.available is None:
            raise KeyError(name)
        return Located(name, entry.inputs, entry.classes, entry.available)
    images, labels = files_of(name, root)
    try:
        shape, count = idx_shape(images), idx_shape(labels)
        if len(shape) != 3 or shape[1] * shape[2] != entry.inputs or count != shape[:1]:
            raise IdxError(
                f"images of shape {shape} and labels of shape {count} are not {name}'s "
                "(samples × 28 × 28, and one label each)"
            )
        checksum = idx_checksum(images, labels)
    except (OSError, IdxError, EOFError) as error:
        raise MissingData(f"the data set {name}: {images} or {labels} cannot be used: {error}; {entry.get}") from error
    base = str(Path(root or os.environ["ISOSWEEP_DATA"]).absolute())
    return Located(name, entry.inputs or 0, entry.classes or 0, shape[0], images, labels, checksum, base)
