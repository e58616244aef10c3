"""Where every run stands as seen from here: the store, then one look into Slurm's queue where tasks are in it, then
one into its accounts where the queue does not know them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from isosweep.cluster.slurm import Queue, SchedulerSilent, queue_of_mine
from isosweep.launching.inquiry import Inquiry
from isosweep.launching.reap import position, survey
from isosweep.store.status import Picture, RunState
from isosweep.store.store import Store

__all__ = ["Observation", "observe"]


@dataclass
class Observation:
    """States of runs.

    Attributes:
        waiting: why pending tasks wait: Slurm's reason → runs.
        starts: when Slurm expects the next pending task to start (seconds since the epoch), if it says so.
        silent: why the scheduler could not be asked.
        accounts_silent: why its accounts could not be asked, where they were needed.
        queue: what the scheduler said.
    """

    picture: Picture
    states: dict[str, RunState]
    waiting: dict[str, int] = field(default_factory=dict)
    starts: float | None = None
    silent: str | None = None
    accounts_silent: str | None = None
    queue: Queue | None = None


def observe(store: Store, runs: Collection[str]) -> Observation:
    """Look at the store, then at the queue if any of `runs` is held by a task on Slurm. Runs of dead tasks show as what
    became of them; nothing is changed.

    Records come first: neither a scheduler that is away nor one that hangs makes a finished run look unfinished.
    """
    mine = set(runs)
    silent: str | None = None
    inquiry = Inquiry()

    def ask(picture: Picture) -> Queue | None:
        nonlocal silent
        held = (picture.held[run] for run in mine & picture.held.keys())
        if any(task.launch.about["backend"] == "slurm" for task in held):
            try:
                return queue_of_mine()
            except SchedulerSilent as error:
                silent = str(error)
        return None

    picture, queue, dead = survey(store, ask, inquiry)
    for one in dead:
        picture.let_go(one.task, one.in_hand, one.others, one.why)
    result = Observation(picture, picture.states(runs), silent=silent, accounts_silent=inquiry.silent, queue=queue)
    if queue is not None:
        waiting: Counter[str] = Counter()
        starts = []
        for state in result.states.values():
            if state.task is not None and state.task.launch.about["backend"] == "slurm":
                element = queue.elements.get(position(state.task))
                if element is not None and element.state == "PENDING":
                    waiting[element.reason] += 1
                    starts += [element.starts] if element.starts else []
        result.waiting, result.starts = dict(waiting), min(starts, default=None)
    return result
