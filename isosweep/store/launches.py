"""What was launched: one file a launch, published under the next free number, which alone decides between launchers.

The file's first line tells of the launch and where each task's line stands; then comes one line a task with its runs
in full, so that a worker reads only its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isosweep.sweep.settings import Run, from_json, to_json

from .publish import publish
from .store import Store

__all__ = ["Launch", "last_number", "launch_path", "list_launches", "publish_launch", "read_task"]


@dataclass(frozen=True)
class Launch:
    """A published launch.

    Attributes:
        number, token: its place, and its name in job names and folders.
        about: sweep name and hash, backend ("slurm" or "local"), owner, profile, arrays (tasks each), command, time.
        tasks: the run ids of each task, in the order they are to be run.
    """

    number: int
    token: str
    about: dict[str, Any]
    tasks: tuple[tuple[str, ...], ...]
    offsets: tuple[int, ...] = field(default=(), repr=False)


def launch_path(store: Store, number: int) -> Path:
    """The file of a launch."""
    return store.launches / f"{number:08d}.jsonl"


def last_number(store: Store) -> int:
    """The highest number in use; 0 where there is none."""
    if not store.launches.is_dir():
        return 0
    return max(
        (int(name[:8]) for name in os.listdir(store.launches) if name.endswith(".jsonl") and name[:8].isdigit()),
        default=0,
    )


def publish_launch(
    store: Store, number: int, token: str, tasks: Sequence[Sequence[Run]], about: dict[str, Any]
) -> Launch | None:
    """Publish a launch under `number`; None if another launcher has that number."""
    lines = [json.dumps([json.loads(to_json(run)) for run in task], separators=(",", ":")) for task in tasks]
    offsets, place = [], 0
    for line in lines:
        offsets.append(place)
        place += len(line.encode()) + 1
    ids = [[run.id for run in task] for task in tasks]
    head = json.dumps({"token": token, "about": about, "tasks": ids, "offsets": offsets}, separators=(",", ":"))
    if not publish(launch_path(store, number), ("\n".join([head, *lines]) + "\n").encode()):
        return None
    return Launch(number, token, about, tuple(map(tuple, ids)), tuple(offsets))


def _read(store: Store, number: int) -> Launch:
    with open(launch_path(store, number), "rb") as stream:
        head = json.loads(stream.readline())
    return Launch(number, head["token"], head["about"], tuple(tuple(t) for t in head["tasks"]), tuple(head["offsets"]))


def list_launches(store: Store) -> Iterator[Launch]:
    """Every launch, first to last."""
    if not store.launches.is_dir():
        return
    for name in sorted(os.listdir(store.launches)):
        if name.endswith(".jsonl") and name[:8].isdigit():
            yield _read(store, int(name[:8]))


def read_task(store: Store, number: int, task: int) -> tuple[Run, ...]:
    """The runs of a task, in order."""
    with open(launch_path(store, number), "rb") as stream:
        head = json.loads(stream.readline())
        stream.seek(head["offsets"][task], os.SEEK_CUR)
        return tuple(from_json(json.dumps(raw)) for raw in json.loads(stream.readline()))
