"""Packing runs into tasks, and tasks into job arrays."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from isosweep.launching.cost import BUILT_IN, Cost, record_bytes
from isosweep.sweep.settings import Run

__all__ = ["Plan", "pack", "split_arrays"]

# Files of a launch beside its records: the launch file, a claim and an end for each task, and what submitit writes
# for one (pickle, result, two logs).
_FILES_PER_TASK = 6


@dataclass(frozen=True)
class Plan:
    """Tasks, each the runs that one worker does in that order; `arrays` are the numbers of tasks of the job arrays,
    in order; `cost` is what it was made by.
    """

    tasks: tuple[tuple[Run, ...], ...]
    arrays: tuple[int, ...]
    cost: Cost = BUILT_IN

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(map(len, self.tasks))

    @property
    def seconds(self) -> float:
        """Seconds of all runs on one core or GPU each, as planned."""
        return sum(self.cost.seconds(run) for task in self.tasks for run in task)

    @property
    def longest(self) -> float:
        """Seconds of the longest task."""
        return max((sum(map(self.cost.seconds, task)) for task in self.tasks), default=0.0)

    @property
    def bytes(self) -> int:
        """Bytes of the records to come."""
        return sum(record_bytes(run) for task in self.tasks for run in task)

    @property
    def files(self) -> int:
        """Files to come."""
        return self.runs + _FILES_PER_TASK * len(self.tasks) + 1 if self.tasks else 0


def pack(
    runs: Sequence[Run],
    *,
    target_seconds: float | None = None,
    runs_per_task: int | None = None,
    cost: Callable[[Run], float] = BUILT_IN.seconds,
    alone: Collection[str] = (),
) -> tuple[tuple[Run, ...], ...]:
    """Put every run into exactly one task, longest runs first, tasks near `target_seconds` or of at most
    `runs_per_task`.

    The longest run goes to the emptiest task (Graham 1969: no task is longer than 4/3 of the best possible, or than
    its longest run). The result does not depend on the order of `runs`. Runs of the ids in `alone` get a task each,
    after the others.
    """
    single = sorted((run for run in runs if run.id in alone), key=lambda run: run.id)
    if single:
        others = [run for run in runs if run.id not in alone]
        packed = pack(others, target_seconds=target_seconds, runs_per_task=runs_per_task, cost=cost)
        return (*packed, *((run,) for run in single))
    if not runs:
        return ()
    order = sorted(((cost(run), run) for run in runs), key=lambda pair: (-pair[0], pair[1].id))
    if runs_per_task is not None:
        number = math.ceil(len(order) / runs_per_task)
        room = runs_per_task
    else:
        number = max(1, math.ceil(sum(c for c, _ in order) / target_seconds)) if target_seconds else 1
        number = min(number, len(order))
        room = len(order)
    tasks: list[list[Run]] = [[] for _ in range(number)]
    heap = [(0.0, i) for i in range(number)]
    for seconds, run in order:
        load, i = heapq.heappop(heap)
        tasks[i].append(run)
        if len(tasks[i]) < room:
            heapq.heappush(heap, (load + seconds, i))
    return tuple(tuple(task) for task in tasks)


def split_arrays(tasks: int, largest: int) -> tuple[int, ...]:
    """Sizes of as few arrays as hold `tasks` with at most `largest` each."""
    full, rest = divmod(tasks, largest)
    return (largest,) * full + ((rest,) if rest else ())
