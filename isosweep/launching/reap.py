"""Which tasks nobody holds any more, of what they died, and giving them up. Only a launch gives up, and only on good
evidence.
"""

from __future__ import annotations

import bisect
import functools
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from isosweep.cluster.slurm import Queue, Queued, job_name
from isosweep.launching.output import last_words
from isosweep.store.attempts import publish_attempt
from isosweep.store.claims import append
from isosweep.store.launches import launch_path
from isosweep.store.owner import LocalOwner, this_process
from isosweep.store.status import OpenTask, Picture, look
from isosweep.store.store import Store

__all__ = ["NEVER_BEGAN", "Dead", "give_up", "grace_seconds", "position", "reap", "survey", "why_dead"]

_GRACE = 600.0
# How a cause begins where the job failed before it could claim the task: python or the store missing on the node.
NEVER_BEGAN = "its job ended before any run could begin"
# A run that was in hand so often when its task died of nobody knows what, the node's failure or a kill, has failed.
_DEATHS = 3
# What a job's last state makes of the run it had in hand.
_OUTCOMES = {
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "oom",
    "NODE_FAIL": "node_failed",
    "BOOT_FAIL": "node_failed",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
}


@dataclass(frozen=True)
class Dead:
    """A task that nobody can hold.

    Attributes:
        why: one line.
        in_hand: what became of the run in hand: one of the attempts' outcomes.
        others: what became of its other runs: "lost", "cancelled" with it, or "failed" where its job could not even
            claim it.
    """

    task: OpenTask
    why: str
    in_hand: str = "lost"
    others: str = "lost"


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


def give_up(store: Store, task: OpenTask, why: str, *, by: str = "reaper", outcome: str = "lost") -> bool:
    """Void a task; False if somebody took or ended it meanwhile. `by` is "reaper", or "cancel" where a person wanted
    it; `outcome` is what its runs become that nothing else is known of.
    """
    owner = {**this_process().to_dict(), "kind": by, "why": why, "outcome": outcome}
    return append(store, task.launch.token, task.task, task.entry, "void", owner) is not None


def reap(store: Store, picture: Picture, dead: Dead) -> bool:
    """Give up a dead task, and note what became of the run it had in hand; False if it lives."""
    if not give_up(store, dead.task, dead.why, outcome=dead.others):
        return False
    run = picture.first_of(dead.task)
    if run is not None:
        outcome, why = dead.in_hand, dead.why
        before = [attempt.outcome for attempt in picture.attempts.get(run, ())]
        if outcome in ("lost", "node_failed") and before[1 - _DEATHS :] == [outcome] * (_DEATHS - 1):
            outcome, why = "failed", f"{_DEATHS} tasks in a row died with this run in hand, the last: {dead.why}"
        publish_attempt(store, run, outcome, why, f"{dead.task.launch.token}-{dead.task.task}")
    return True


def _silence(store: Store, task: OpenTask, now: float) -> float:
    """Seconds since the last sign of life: the entry, or the launch's file, which a local pool touches. Both are
    stamped by the file server, as is `now`.
    """
    path = launch_path(store, task.launch.number)
    return now - max(path.stat().st_mtime, task.entry.at if task.entry is not None else 0.0)


def _why_pool_is_dead(store: Store, task: OpenTask, now: float) -> Dead | None:
    owner = LocalOwner.from_dict(task.launch.about["owner"])
    alive = owner.alive()
    if alive is False:
        return Dead(task, f"process {owner.pid} on {owner.host} is gone")
    if alive is None and (silence := _silence(store, task, now)) > grace_seconds():
        return Dead(task, f"no sign of life from {owner.host} for {silence:.0f} s (asked from {socket.gethostname()})")
    return None


def why_dead(store: Store, task: OpenTask, queue: Queue | None, now: float) -> Dead | None:
    """Why nobody can hold this open task any more; None if somebody may.

    A task of a pool is dead if its process is, or, seen from another host, if it gave no sign of life for the grace
    period. A task of Slurm's is dead if a good listing of its own cluster's queue, or the accounts, show its job as
    ended, or if it is absent from both and its last entry is older than the grace period; without a listing (None)
    none is.
    """
    if task.launch.about["backend"] == "local":
        return _why_pool_is_dead(store, task, now)
    if queue is None or task.launch.about["cluster"] != queue.cluster or position(task) in queue.elements:
        return None
    if (ended := queue.ended.get(position(task))) is not None:
        return _of_its_job(store, task, ended)
    silence = _silence(store, task, now)
    if silence <= grace_seconds():
        return None
    return Dead(task, f"its job is not in Slurm's queue, and no sign of life for {silence:.0f} s")


def _of_its_job(store: Store, task: OpenTask, ended: Queued) -> Dead:
    """A task of which Slurm says that its job has ended, though the task has not."""
    why = f"Slurm says {ended.state} of its job {ended.job}"
    if ended.state == "CANCELLED":
        return Dead(task, why, "cancelled", "cancelled")
    if task.entry is None and not (store.jobs / task.launch.token / f"{ended.job}_submitted.pkl").exists():
        return Dead(task, f"its launcher did not live to complete the submission of job {ended.job}")
    if task.entry is None and ended.state in ("FAILED", "COMPLETED", "TIMEOUT", "OUT_OF_MEMORY"):
        said = last_words(store, task, ended.job)
        return Dead(task, f"{NEVER_BEGAN}: {said or why}", "failed", "failed")
    return Dead(task, why, _OUTCOMES.get(ended.state, "lost"))


def survey(
    store: Store,
    ask: Callable[[Picture], Queue | None],
    inquire: Callable[[Queue, Sequence[OpenTask]], Queue] | None = None,
) -> tuple[Picture, Queue | None, list[Dead]]:
    """The store, Slurm's queue as `ask` gives it for that picture, and the open tasks that nobody can hold.

    Tasks that the queue knows nothing of are inquired about, once, all together. Where a task seems dead the store is
    looked at again: it may have ended between the first look and the listing, and what has left the queue has
    published its end before.
    """
    picture = look(store)
    if not picture.open_tasks:
        return picture, None, []
    queue = ask(picture)
    if queue is not None and inquire is not None and (unknown := _unknown(picture, queue)):
        queue = inquire(queue, unknown)
    dead = _dead(store, picture, queue)
    if dead:
        picture = look(store)
        dead = _dead(store, picture, queue)
    return picture, queue, dead


def _unknown(picture: Picture, queue: Queue) -> list[OpenTask]:
    """Tasks on this cluster that its queue does not show at all."""
    return [
        task
        for task in picture.open_tasks
        if task.launch.about["backend"] == "slurm"
        and task.launch.about["cluster"] == queue.cluster
        and position(task) not in queue.elements
        and position(task) not in queue.ended
    ]


def _dead(store: Store, picture: Picture, queue: Queue | None) -> list[Dead]:
    now = store.now()
    judged = (why_dead(store, task, queue, now) for task in picture.open_tasks)
    return [dead for dead in judged if dead is not None]
