"""Where every run stands as seen from here: the store, and one look into Slurm's queue where tasks are in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from isosweep.cluster.slurm import Queue, SchedulerSilent, queue_of_mine
from isosweep.launching.reap import position, survey
from isosweep.store.status import Picture, RunState
from isosweep.store.store import Store

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


def observe(store: Store, runs: Collection[str]) -> Observation:
    """Look at the store, then at the queue if any of `runs` is held by a task on Slurm. Runs of dead tasks show as
    lost; nothing is changed.

    Records come first: neither a scheduler that is away nor one that hangs makes a finished run look unfinished.
    """
    mine = set(runs)
    silent: str | None = None

    def ask(picture: Picture) -> Queue | None:
        nonlocal silent
        held = (picture.held[run] for run in mine & picture.held.keys())
        if any(task.launch.about["backend"] == "slurm" for task in held):
            try:
                return queue_of_mine()
            except SchedulerSilent as error:
                silent = str(error)
        return None

    picture, queue, dead = survey(store, ask)
    picture.let_go([task for task, _ in dead])
    result = Observation(picture, picture.states(runs), silent=silent)
    if queue is not None:
        waiting: Counter[str] = Counter()
        for state in result.states.values():
            if state.task is not None and state.task.launch.about["backend"] == "slurm":
                element = queue.elements.get(position(state.task))
                if element is not None and element.state == "PENDING":
                    waiting[element.reason] += 1
        result.waiting = dict(waiting)
    return result
