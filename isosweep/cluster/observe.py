"""Where every run stands as seen from here: the store, and one look into Slurm's queue where tasks are in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from isosweep.store.status import OpenTask, Picture, RunState, look
from isosweep.store.store import Store

from .reap import position, why_dead
from .slurm import Queued, SchedulerSilent, queue_of_mine

__all__ = ["Observation", "observe"]


@dataclass
class Observation:
    """States of runs; `waiting` is why pending tasks wait (Slurm's reason → runs); `silent` says why the scheduler
    could not be asked.
    """

    picture: Picture
    states: dict[str, RunState]
    waiting: dict[str, int] = field(default_factory=dict)
    silent: str | None = None


def observe(store: Store, runs: Iterable[str]) -> Observation:
    """Look at the store, then at the queue if any of `runs` is held by a task on Slurm. Runs of dead tasks show as
    lost; nothing is changed.

    Records come first: neither a scheduler that is away nor one that hangs makes a finished run look unfinished.
    """
    picture = look(store)
    states = picture.states(runs)
    held: dict[tuple[str, int], tuple[OpenTask, list[str]]] = {}
    for run, state in states.items():
        if state.task is not None:
            held.setdefault((state.task.launch.token, state.task.task), (state.task, []))[1].append(run)
    result = Observation(picture, states)
    if not held:
        return result
    queue: dict[tuple[str, int], Queued] | None = None
    if any(task.launch.about["backend"] == "slurm" for task, _ in held.values()):
        try:
            queue = queue_of_mine()
        except SchedulerSilent as error:
            result.silent = str(error)
    now = store.now()
    for task, members in held.values():
        if why_dead(store, task, queue, now) is not None:
            for run in members:
                states[run] = replace(states[run], status="lost", task=None)
        elif queue is not None and task.launch.about["backend"] == "slurm":
            entry = queue.get(position(task))
            if entry is not None and entry.state == "PENDING":
                result.waiting[entry.reason] = result.waiting.get(entry.reason, 0) + len(members)
    return result
