"""What was launched: one file a launch, published under the next free number, which alone decides between launchers.

The file's first line tells of the launch and where each task's line stands; then comes one line a task with its runs
in full, so that a worker reads only its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isosweep.sweep.settings import Run, from_json, to_json

from .publish import publish
from .store import Store

__all__ = [
    "Launch",
    "close_launch",
    "launch_path",
    "list_closed",
    "list_launches",
    "list_numbers",
    "publish_launch",
    "read_closed",
    "read_launch",
    "read_task",
]


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


def _numbers(store: Store, ending: str) -> list[int]:
    try:
        names = os.listdir(store.launches)
    except FileNotFoundError:
        return []
    return sorted(int(name[:8]) for name in names if name[8:] == ending and name[:8].isdigit())


def list_numbers(store: Store) -> list[int]:
    """The numbers in use, first to last."""
    return _numbers(store, ".jsonl")


def list_closed(store: Store) -> frozenset[int]:
    """The launches that `close_launch` has marked."""
    return frozenset(_numbers(store, ".closed"))


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


def read_launch(store: Store, number: int) -> Launch:
    """The launch of this number."""
    with open(launch_path(store, number), "rb") as stream:
        head = json.loads(stream.readline())
    return Launch(number, head["token"], head["about"], tuple(tuple(t) for t in head["tasks"]), tuple(head["offsets"]))


def list_launches(store: Store) -> Iterator[Launch]:
    """Every launch, first to last."""
    for number in list_numbers(store):
        yield read_launch(store, number)


def _closed_path(store: Store, number: int) -> Path:
    return launch_path(store, number).with_suffix(".closed")


def close_launch(store: Store, number: int, given_up: Mapping[str, tuple[str, str]]) -> None:
    """Note that every task of a launch has ended or is void, which stays so, and which of its runs were given up (run
    id → outcome, and why), so that nobody need read its tasks again. Whoever notes it notes the same.
    """
    publish(_closed_path(store, number), json.dumps(given_up).encode())


def read_closed(store: Store, number: int) -> dict[str, tuple[str, str]]:
    """What `close_launch` noted."""
    content = json.loads(_closed_path(store, number).read_bytes())
    return {run: (noted, "") if isinstance(noted, str) else (noted[0], noted[1]) for run, noted in content.items()}


def read_task(store: Store, number: int, task: int) -> tuple[Run, ...]:
    """The runs of a task, in order."""
    with open(launch_path(store, number), "rb") as stream:
        head = json.loads(stream.readline())
        stream.seek(head["offsets"][task], os.SEEK_CUR)
        return tuple(from_json(json.dumps(raw)) for raw in json.loads(stream.readline()))
