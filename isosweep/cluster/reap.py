"""Giving up tasks that nobody holds any more. Only a launch does this, and only on good evidence."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from isosweep.store.claims import append
from isosweep.store.launches import launch_path
from isosweep.store.owner import LocalOwner, this_process
from isosweep.store.status import OpenTask
from isosweep.store.store import Store

from .slurm import Queued, job_name

__all__ = ["give_up", "grace_seconds", "position", "reap", "why_dead"]

_GRACE = 600.0
Queue = dict[tuple[str, int], Queued]


def grace_seconds() -> float:
    """How long a task may be out of sight before it is given up: ten minutes, or ISOSWEEP_GRACE seconds."""
    return float(os.environ.get("ISOSWEEP_GRACE", _GRACE))


def position(task: OpenTask) -> tuple[str, int]:
    """(job name, index) of a task's element in Slurm's queue."""
    first = 0
    for array, size in enumerate(task.launch.about["arrays"]):
        if task.task < first + size:
            return job_name(task.launch.token, array), task.task - first
        first += size
    raise ValueError(f"launch {task.launch.token} has no task {task.task}")


def give_up(store: Store, task: OpenTask, why: str, *, by: str = "reaper") -> bool:
    """Void a task; False if somebody took or ended it meanwhile. `by` is "reaper", or "cancel" where a person wanted
    it.
    """
    owner = {**this_process().to_dict(), "kind": by, "why": why}
    return append(store, task.launch.token, task.task, task.entry, "void", owner) is not None


def _last_sign(store: Store, task: OpenTask) -> float:
    """The file server's time of the last sign of life: the entry, or the launch's file, which a local pool touches."""
    path = launch_path(store, task.launch.number)
    return max(path.stat().st_mtime, task.entry.at if task.entry is not None else 0.0)


def _local_is_dead(task: OpenTask, age: float) -> str | None:
    owner = LocalOwner.from_dict(task.launch.about["owner"])
    alive = owner.alive()
    if alive is False:
        return f"process {owner.pid} on {owner.host} is gone"
    if alive is None and age > grace_seconds():
        return f"no sign of life from {owner.host} for {age:.0f} s (asked from {socket.gethostname()})"
    return None


def why_dead(store: Store, task: OpenTask, queue: Queue | None, now: float) -> str | None:
    """Why nobody can hold this open task any more; None if somebody may.

    A task of a pool is dead if its process is, or, seen from another host, if it gave no sign of life for the grace
    period. A task of Slurm's is dead if it is absent from a good listing (`queue`) and its last entry is older than
    the grace period; without a listing (None) none is.
    """
    age = now - _last_sign(store, task)
    if task.launch.about["backend"] == "local":
        return _local_is_dead(task, age)
    if queue is not None and position(task) not in queue and age > grace_seconds():
        return f"not in Slurm's queue, and no sign of life for {age:.0f} s"
    return None


def reap(store: Store, tasks: Iterable[OpenTask], queue: Queue | None) -> int:
    """Void the open tasks that nobody can hold any more (see `why_dead`); how many there were."""
    now = store.now()
    dead = ((task, why_dead(store, task, queue, now)) for task in tasks)
    return sum(why is not None and give_up(store, task, why) for task, why in dead)
