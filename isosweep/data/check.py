"""Whether the files of a data set are there, whole, and the published ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .catalogue import CATALOGUE, Part
from .errors import MissingData
from .files import content, root_of
from .published import checksum_matches, published_checksum

__all__ = ["CheckedPart", "check"]


@dataclass(frozen=True)
class CheckedPart:
    """What was found of one part of a data set.

    Attributes:
        files: what was read.
        samples: how many there are.
        per_class: how many of each label.
        checksum: of the content, as it enters the ids of runs.
        published: True: every file has its published checksum; None: none is known for files of this form.
        problems: what is wrong, in words; none: all is well.
    """

    part: Part
    files: tuple[Path, ...] = ()
    samples: int = 0
    per_class: tuple[int, ...] = ()
    checksum: str | None = None
    published: bool | None = None
    problems: tuple[str, ...] = field(default=())


def _check_part(name: str, part: Part, root: str | None) -> CheckedPart:
    import numpy as np

    entry = CATALOGUE[name]
    try:
        whole = content(name, part, root)
    except MissingData as error:
        return CheckedPart(part, problems=(str(error),))
    problems = []
    expected = {path: published_checksum(name, path) for path in whole.files}
    other = [path for path, known in expected.items() if known is not None and not checksum_matches(path, known)]
    problems += [f"{path} is not the published file: it has not the checksum {expected[path]}" for path in other]
    if len(whole.labels) != entry.samples[part]:
        problems.append(f"{len(whole.labels)} samples are not the {entry.samples[part]} that were published")
    counts = np.bincount(whole.labels, minlength=entry.classes or 0)
    if not counts.all():
        problems.append(f"no sample has the label {int(np.argmin(counts))}")
    return CheckedPart(
        part,
        whole.files,
        len(whole.labels),
        tuple(map(int, counts)),
        whole.checksum,
        False if other else None if None in expected.values() else True,
        tuple(problems),
    )


def check(name: str, root: str | None = None) -> list[CheckedPart]:
    """Read every part of the data set `name` whole, and hold it against what was published.

    Args:
        name: a data set; one that needs no files has nothing to check.
        root: the folder that data sets lie in (the environment's ISOSWEEP_DATA if None).

    Raises:
        MissingData: no folder is given.
    """
    entry = CATALOGUE[name]
    if not entry.forms:
        return []
    root_of(name, root)
    return [_check_part(name, part, root) for part in entry.samples]
