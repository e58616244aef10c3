"""What of a store nobody needs any more.

Never a record that is the only one of its settings, an attempt, a launch, or the code a record was computed with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isosweep.store.launches import list_closed, list_launches
from isosweep.store.publish import TEMPORARY_PREFIX
from isosweep.store.records import BadRecord, list_records, read_record, record_path
from isosweep.store.store import Store
from isosweep.sweep.identity import MEASUREMENT_VERSION, run_id
from isosweep.sweep.settings import from_json

__all__ = ["KINDS", "Garbage", "garbage", "remove"]

# Temporary files younger than this may be being written.
_TEMPORARY_AGE = 86400.0
KINDS = {
    "temporaries": "files that a process began and did not live to finish, a day old",
    "checkpoints": "of runs that have a record",
    "claims": "who held the tasks of launches that are closed",
    "logs": "logs, scripts and pickles of closed launches, older than --older-than days",
    "superseded": "records of older measurement versions whose runs have one of the present version",
}


@dataclass(frozen=True)
class Garbage:
    """A file, or a folder with all that is in it, that can go: of which kind, and how many bytes."""

    kind: str
    path: Path
    bytes: int


def garbage(store: Store, older_than_days: float = 30.0) -> Iterator[Garbage]:
    """All of it; nothing is changed."""
    now = store.now()
    records = list_records(store)
    yield from _temporaries(store, now)
    for folder in _subfolders(store.checkpoints, 2):
        if folder.name in records:
            yield Garbage("checkpoints", folder, _size(folder))
    closed = list_closed(store)
    for launch in list_launches(store):
        if launch.number not in closed:
            continue
        if (tasks := store.tasks / launch.token).is_dir():
            yield Garbage("claims", tasks, _size(tasks))
        logs = store.jobs / launch.token
        if logs.is_dir() and now - _newest(logs) > 86400 * older_than_days:
            yield Garbage("logs", logs, _size(logs))
    if MEASUREMENT_VERSION > 1:
        yield from _superseded(store, records)


def _temporaries(store: Store, now: float) -> Iterator[Garbage]:
    for place, folders, names in os.walk(store.root):
        for name in [*names, *folders]:
            path = Path(place, name)
            if name.startswith(TEMPORARY_PREFIX) and now - path.lstat().st_mtime > _TEMPORARY_AGE:
                yield Garbage("temporaries", path, _size(path))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def _superseded(store: Store, records: dict[str, str]) -> Iterator[Garbage]:
    for run, outcome in records.items():
        path = record_path(store, run, outcome)
        try:
            settings = from_json(read_record(path).column("settings")[0].as_py())
        except (BadRecord, OSError):
            continue
        present = run_id(settings, MEASUREMENT_VERSION)
        if present != run and present in records:
            yield Garbage("superseded", path, _size(path))


def _subfolders(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            if depth == 1:
                yield Path(entry.path)
            else:
                yield from _subfolders(Path(entry.path), depth - 1)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        for place, _, names in os.walk(path):
            yield from (Path(place, name) for name in names)
    else:
        yield path


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path))


def _newest(folder: Path) -> float:
    return max((file.lstat().st_mtime for file in _files(folder)), default=folder.lstat().st_mtime)


def remove(store: Store, one: Garbage) -> bool:
    """Remove it; False where somebody else has.

    Raises:
        StoreError: the store cannot be written.
    """
    import shutil

    with store.writing():
        try:
            if one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)
            else:
                one.path.unlink()
        except FileNotFoundError:
            return False
    return True
