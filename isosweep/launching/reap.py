"""Giving up tasks that nobody holds any more. Only a launch does this, and only on good evidence."""

from __future__ import annotations

import bisect
import functools
import os
import socket
from collections.abc import Callable
from itertools import accumulate

from isosweep.cluster.slurm import Queue, job_name
from isosweep.store.claims import append
from isosweep.store.launches import launch_path
from isosweep.store.owner import LocalOwner, this_process
from isosweep.store.status import OpenTask, Picture, look
from isosweep.store.store import Store

__all__ = ["give_up", "grace_seconds", "position", "survey", "why_dead"]

_GRACE = 600.0


def grace_seconds() -> float:
    """How long a task may be out of sight before it is given up: ten minutes, or ISOSWEEP_GRACE seconds."""
    return float(os.environ.get("ISOSWEEP_GRACE", _GRACE))


def position(task: OpenTask) -> tuple[str, int]:
    """(job name, index) of a task's element in Slurm's queue."""
    starts = _starts(tuple(task.launch.about["arrays"]))
    array = bisect.bisect_right(starts, task.task) - 1
    return job_name(task.launch.token, array), task.task - starts[array]


@functools.cache
def _starts(arrays: tuple[int, ...]) -> list[int]:
    """Where each array begins among the tasks."""
    return list(accumulate(arrays, initial=0))[:-1]


def give_up(store: Store, task: OpenTask, why: str, *, by: str = "reaper") -> bool:
    """Void a task; False if somebody took or ended it meanwhile. `by` is "reaper", or "cancel" where a person wanted
    it.
    """
    owner = {**this_process().to_dict(), "kind": by, "why": why}
    return append(store, task.launch.token, task.task, task.entry, "void", owner) is not None


def _silence(store: Store, task: OpenTask, now: float) -> float:
    """Seconds since the last sign of life: the entry, or the launch's file, which a local pool touches. Both are
    stamped by the file server, as is `now`.
    """
    path = launch_path(store, task.launch.number)
    return now - max(path.stat().st_mtime, task.entry.at if task.entry is not None else 0.0)


def _why_pool_is_dead(store: Store, task: OpenTask, now: float) -> str | None:
    owner = LocalOwner.from_dict(task.launch.about["owner"])
    alive = owner.alive()
    if alive is False:
        return f"process {owner.pid} on {owner.host} is gone"
    if alive is None and (silence := _silence(store, task, now)) > grace_seconds():
        return f"no sign of life from {owner.host} for {silence:.0f} s (asked from {socket.gethostname()})"
    return None


def why_dead(store: Store, task: OpenTask, queue: Queue | None, now: float) -> str | None:
    """Why nobody can hold this open task any more; None if somebody may.

    A task of a pool is dead if its process is, or, seen from another host, if it gave no sign of life for the grace
    period. A task of Slurm's is dead if it is absent from a good listing of its own cluster's queue and its last entry
    is older than the grace period; without a listing (None) none is.
    """
    if task.launch.about["backend"] == "local":
        return _why_pool_is_dead(store, task, now)
    if queue is None or task.launch.about["cluster"] != queue.cluster or position(task) in queue.elements:
        return None
    silence = _silence(store, task, now)
    return f"not in Slurm's queue, and no sign of life for {silence:.0f} s" if silence > grace_seconds() else None


def survey(
    store: Store, ask: Callable[[Picture], Queue | None]
) -> tuple[Picture, Queue | None, list[tuple[OpenTask, str]]]:
    """The store, Slurm's queue as `ask` gives it for that picture, and the open tasks that nobody can hold, with the
    reason.

    Where a task seems dead the store is looked at again: it may have ended between the first look and the listing, and
    what has left the queue has published its end before.
    """
    picture = look(store)
    if not picture.open_tasks:
        return picture, None, []
    queue = ask(picture)
    dead = _dead(store, picture, queue)
    if dead:
        picture = look(store)
        dead = _dead(store, picture, queue)
    return picture, queue, dead


def _dead(store: Store, picture: Picture, queue: Queue | None) -> list[tuple[OpenTask, str]]:
    now = store.now()
    judged = ((task, why_dead(store, task, queue, now)) for task in picture.open_tasks)
    return [(task, why) for task, why in judged if why is not None]
