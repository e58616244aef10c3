"""Asking Slurm of what is missing from its queue: its accounts, where it keeps any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isosweep.cluster.slurm import Queue, SchedulerSilent, accounted, has_accounting
from isosweep.launching.reap import position
from isosweep.store.status import OpenTask

__all__ = ["Inquiry"]


class Inquiry:
    """One sacct for all tasks that the queue does not show.

    Attributes:
        silent: why the accounts could not be asked, or None. A cluster without accounts is not silent: then a task is
            lost once the grace period is over, and nobody knows of what.
    """

    def __init__(self) -> None:
        self.silent: str | None = None

    def __call__(self, queue: Queue, unknown: Sequence[OpenTask]) -> Queue:
        """The queue with what the accounts know of these tasks' jobs that have ended."""
        try:
            if not has_accounting():
                return queue
            names = {position(task)[0] for task in unknown}
            found = accounted(names, min(float(task.launch.about["at"]) for task in unknown))
        except SchedulerSilent as error:
            self.silent = str(error)
            return queue
        return replace(queue, ended={**found, **queue.ended})
