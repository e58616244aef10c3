"""A data set located: how large it is, and the checksum that its files bring into a run's identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .catalogue import CATALOGUE, Part
from .files import content, root_of

__all__ = ["Located", "locate"]


@dataclass(frozen=True)
class Located:
    """A part of a data set found: its sizes, its files, and the checksum of their content, whatever their form."""

    name: str
    inputs: int
    classes: int
    available: int
    files: tuple[Path, ...] = ()
    checksum: str | None = None
    root: str | None = None


def locate(name: str, root: str | None = None, part: Part = "train") -> Located:
    """Find and check the files of a part of the data set `name` under `root`, or the environment's ISOSWEEP_DATA.

    Raises:
        MissingData: a file is not there, cannot be read, is torn, or is of another set; a label is out of range.
        KeyError: no such data set, one whose sizes the sweep file gives, or one without this part.
    """
    entry = CATALOGUE[name]
    if entry.inputs is None or entry.classes is None or part not in entry.samples:
        raise KeyError(name)
    if not entry.forms:
        return Located(name, entry.inputs, entry.classes, entry.samples[part])
    whole = content(name, part, root)
    base = str(root_of(name, root).absolute())
    return Located(name, entry.inputs, entry.classes, len(whole.labels), whole.files, whole.checksum, base)
