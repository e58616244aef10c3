"""The files of a data set: found under a root, read whole, checked, and known by the checksum of their content."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .catalogue import CATALOGUE, DataSet, Form, Part
from .errors import MissingData, UnreadableFile

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Content", "Found", "content", "find", "how_to_get"]


class Found(NamedTuple):
    """Where a part of a data set lies: its form and its files, in the order in which they are read."""

    form: Form
    files: tuple[Path, ...]


class Content(NamedTuple):
    """A part of a data set as it is stored.

    Attributes:
        images: (samples, …) unsigned bytes, read-only.
        labels: (samples,) unsigned bytes, each below the number of classes, read-only.
        checksum: SHA-256 over both, whatever form they were stored in.
        files: what was read.
    """

    images: np.ndarray
    labels: np.ndarray
    checksum: str
    files: tuple[Path, ...]


def how_to_get(name: str) -> str:
    """What to do for the files of the set `name`, in words."""
    entry = CATALOGUE[name]
    forms = " or ".join(_shown(form) for form in entry.forms)
    debian = "; Debian's package dataset-fashion-mnist has them in /usr/share/datasets" * (name == "fashion_mnist")
    return f"put {forms} there, or let `isosweep data fetch {name}` do it{debian}"


def _shown(form: Form) -> str:
    names = list(dict.fromkeys((*form.train, *form.test)))
    packed = "[.gz]" if ".gz" in form.endings else ""
    if len(names) > 4:  # the batches of one folder
        return f"{names[0]} … {names[-1].rpartition('/')[2]}"
    return ", ".join(name + packed for name in names)


def root_of(name: str, root: str | None) -> Path:
    """The folder that data sets lie in: `root` or, without one, the environment's ISOSWEEP_DATA.

    Raises:
        MissingData: neither is given.
    """
    base = root or os.environ.get("ISOSWEEP_DATA")
    if not base:
        raise MissingData(
            f"the data set {name} is read from files: say in which folder with data.root in the sweep file, or "
            f"ISOSWEEP_DATA; {how_to_get(name)}"
        )
    return Path(base)


def _places(entry: DataSet, root: Path) -> tuple[Path, ...]:
    places = (root / entry.folder, root)
    # A file that another node has just written may be missing from a cached listing: read the folder before believing
    # it.
    for place in places:
        if place.is_dir():
            os.listdir(place)
    return places


def _first(place: Path, name: str, endings: tuple[str, ...]) -> Path | None:
    return next((path for ending in endings if (path := place / (name + ending)).is_file()), None)


def find(name: str, part: Part, root: Path) -> Found:
    """The files of a part of the data set `name` under `root`: of the first form that is whole.

    Raises:
        MissingData: there is none; says what was looked for, and which files of a form that has begun are missing.
    """
    entry = CATALOGUE[name]
    partial: list[str] = []
    places = _places(entry, root)
    for form in entry.forms:
        for place in places:
            wanted = form.files(part)
            found = [_first(place, file, form.endings) for file in wanted]
            files = tuple(path for path in found if path is not None)
            if len(files) == len(wanted):
                return Found(form, files)
            if files:
                lacking = ", ".join(f for f, path in zip(wanted, found, strict=True) if path is None)
                partial.append(f"{place} lacks {lacking}")
    if partial:
        raise MissingData(f"the data set {name} is not whole: {'; '.join(partial)}; {how_to_get(name)}")
    tried = [str(place / (f.files(part)[0] + end)) for f in entry.forms for place in places for end in f.endings]
    what = "training" if part == "train" else "test"
    raise MissingData(
        f"the data set {name} needs the files of its {what} set, looked for at {', '.join(tried)}; {how_to_get(name)}"
    )


def _checksum(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 over shapes and bytes: of IDX files the same as `idx.idx_checksum`, which run ids were made of."""
    total = hashlib.sha256()
    for array in (images, labels):
        total.update(repr(array.shape).encode())
        total.update(hashlib.sha256(array.tobytes()).digest())
    return total.hexdigest()


def _read(found: Found, part: Part) -> tuple[np.ndarray, np.ndarray]:
    if found.form.reader == "idx":
        from .idx import read_idx

        return read_idx(found.files[0]), read_idx(found.files[1])
    if found.form.reader == "svhn":
        from .svhn import read_svhn

        return read_svhn(found.files[0])
    from .cifar import read_binary, read_python

    return (read_python if found.form.reader == "cifar_python" else read_binary)(found.files, part)


def _checked(entry: DataSet, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Raise UnreadableFile unless the arrays are images of this set and their labels."""
    assert entry.shape is not None
    assert entry.classes is not None
    channels, height, width = entry.shape
    expected = (height, width) if channels == 1 else entry.shape
    if images.shape[1:] != expected or images.ndim != len(expected) + 1 or labels.shape != images.shape[:1]:
        raise UnreadableFile(
            f"images of shape {images.shape} and labels of shape {labels.shape} are not {name}'s "
            f"(samples × {' × '.join(map(str, expected))}, and one label each)"
        )
    if not len(labels):
        raise UnreadableFile("there are no images in it")
    outside = labels >= entry.classes
    if outside.any():
        where = int(outside.argmax())
        raise UnreadableFile(f"the label {labels[where]} of sample {where} is outside 0..{entry.classes - 1}")


@lru_cache(maxsize=4)
def _content(name: str, part: Part, found: Found, versions: tuple[tuple[int, int], ...]) -> Content:
    try:
        images, labels = _read(found, part)
        _checked(CATALOGUE[name], name, images, labels)
    except (OSError, UnreadableFile) as error:
        files = " and ".join(map(str, found.files[:2])) + (" …" if len(found.files) > 2 else "")
        raise MissingData(f"the data set {name}: {files} cannot be used: {error}; {how_to_get(name)}") from error
    for array in (images, labels):
        array.flags.writeable = False
    return Content(images, labels, _checksum(images, labels), found.files)


def content(name: str, part: Part, root: str | None = None) -> Content:
    """A part of the data set `name`, read and checked once for each version (size and time) of its files.

    Args:
        name: a data set with files.
        part: "train" or "test".
        root: the folder that data sets lie in (the environment's ISOSWEEP_DATA if None).

    Raises:
        MissingData: a file is not there, cannot be read, is torn, or is of another set; a label is out of range.
    """
    found = find(name, part, root_of(name, root))
    about = [path.stat() for path in found.files]
    return _content(name, part, found, tuple((a.st_size, a.st_mtime_ns) for a in about))
