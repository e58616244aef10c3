"""When a sweep may be done: what its held runs should cost, by the pace of the tasks at work, over as many of those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from isosweep.launching.cost import Cost
from isosweep.store.status import OpenTask, RunState
from isosweep.sweep.settings import Run

__all__ = ["seconds_left"]

# Tasks that have spent less than this say nothing about their pace.
_TELLING_SECONDS = 5.0


def seconds_left(runs: Iterable[Run], states: Mapping[str, RunState], now: float) -> float | None:
    """Seconds until every held run has ended if as many tasks stay at work as now; None while none is, or nothing is
    held.

    Args:
        now: the file server's clock (`Store.now`), as claims are stamped by it.
    """
    by_id = {run.id: run for run in runs}
    tasks: dict[tuple[int, int], OpenTask] = {}
    for state in states.values():
        if state.task is not None:
            tasks[state.task.launch.number, state.task.task] = state.task
    at_work = [task for task in tasks.values() if task.entry is not None and task.entry.kind == "claim"]
    if not at_work:
        return None
    left: dict[tuple[int, int], float] = {}
    done_expected = spent = 0.0
    for key, task in tasks.items():
        cost = _cost(task)
        mine = [by_id[run] for run in task.launch.tasks[task.task] if run in by_id]
        held = [run for run in mine if states[run.id].task is not None]
        left[key] = sum(map(cost.seconds, held))
        if task in at_work and task.entry is not None:
            done_expected += sum(cost.seconds(run) for run in mine if states[run.id].task is None)
            spent += max(0.0, now - task.entry.at)
    pace = spent / done_expected if done_expected > 0 and spent > _TELLING_SECONDS else 1.0
    longest = max(left[task.launch.number, task.task] for task in at_work)
    return pace * max(longest, sum(left.values()) / len(at_work))


def _cost(task: OpenTask) -> Cost:
    """The cost model that the task was planned by."""
    about, usual = task.launch.about, Cost()
    return Cost(
        float(about.get("seconds_per_operation", usual.seconds_per_operation)),
        0,
        float(about.get("seconds_unknown", usual.seconds_unknown)),
    )
