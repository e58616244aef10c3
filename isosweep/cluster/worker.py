"""A task on a Slurm node: what submitit's pickle calls. Its state is in the store; the pickle only says which task."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from isosweep.cluster.process import Child
from isosweep.cluster.snapshot import import_first
from isosweep.cluster.supervisor import Supervisor
from isosweep.cluster.task import TaskRef
from isosweep.store.attempts import publish_attempt
from isosweep.store.store import Store

__all__ = ["BEGAN", "SlurmTask"]

# Set by the batch script's first line: the node's seconds since boot when the job began, which no clock that is set
# wrong or set anew can move.
BEGAN = "ISOSWEEP_BEGAN"
# A task may be told to go (preempted, requeued, cancelled) with this long to do so; a checkpoint must be quicker.
_TOLD_TO_GO_SECONDS = 60.0


def _say(run: str, status: str) -> None:
    with contextlib.suppress(OSError):  # a full disk stops no run
        print(f"{time.strftime('%H:%M:%S')} {run} {status}", flush=True)


def _job() -> dict[str, Any]:
    """The job's id as ``ARRAY_TASK`` names it (never SLURM_JOB_ID alone: the last element's is the array's), and its
    restart count.
    """
    environment = os.environ
    array, element = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{element}" if array and element else environment["SLURM_JOB_ID"]
    return {
        "kind": "slurm",
        "job": job,
        "restart": int(environment.get("SLURM_RESTART_COUNT", 0)),
        "node": environment.get("SLURMD_NODENAME", ""),
    }


def _elapsed() -> float:
    """Seconds of wall time that the job has used."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        return max(0.0, now - float(os.environ[BEGAN]))
    except (KeyError, ValueError):
        return 0.0


@dataclass(frozen=True)
class SlurmTask:
    """One element of a job array. Called without arguments, on the node.

    Attributes:
        time_limit: the wall time asked for, in seconds.
        signal_delay: how many seconds before its end Slurm warns.
    """

    task: TaskRef
    time_limit: float
    signal_delay: int

    def __call__(self) -> str:
        """Do the task's runs. Warned, or told to go, it has the run in hand paused and gives the task back."""
        owner = _job()
        began = time.monotonic() - _elapsed()
        about = {"slurm_job": owner["job"], "slurm_restart": owner["restart"], **self.task.about}
        task = TaskRef(**{**vars(self.task), "about": about})
        child = Child({"PYTHONPATH": import_first(task.code)})
        until = began + self.time_limit - self.signal_delay
        supervisor = Supervisor(child, owner, progress=_say, until=until, returns=True)
        told: list[int] = []

        def told_to_stop(number: int, frame: FrameType | None) -> None:
            told.append(number)
            supervisor.stop.set()
            warned = number == signal.SIGUSR2
            child.pause(max(5.0, 0.75 * self.signal_delay) if warned else _TOLD_TO_GO_SECONDS)

        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, told_to_stop)
        outcome = supervisor.work(task)
        child.close()
        if outcome in ("stopped", "out of time"):
            self._give_back(supervisor, task, time.monotonic() - began, told)
        return outcome

    def _at_limit(self, elapsed: float) -> bool:
        """Whether a warning means the time limit, rather than preemption: Slurm warns up to a minute early, and the
        job had to start.
        """
        allowed = self.time_limit - self.signal_delay
        return elapsed >= max(allowed - 120, allowed / 2)

    def _give_back(self, supervisor: Supervisor, task: TaskRef, elapsed: float, told: list[int]) -> None:
        """Put the job back into the queue, unless Slurm does so itself, to go on with its task.

        A run that had the whole wall time to itself and came no further has timed out. A job that cannot be requeued
        lets go of its task.
        """
        store, run, job = Store(task.store), supervisor.in_hand, str(supervisor.owner["job"])
        first = run is not None and supervisor.started == 0
        further = supervisor.give_back(store, task)
        if run is not None and first and self._at_limit(elapsed) and (supervisor.paused_at is None or not further):
            cause = f"did not end within the time limit of {self.time_limit / 60:g} minutes, which it had to itself"
            details = {"seconds": elapsed, "time_limit": self.time_limit}
            publish_attempt(store, run.id, "timeout", cause, task.name, **details, **task.about)
            if supervisor.through(store, task):
                supervisor.end(store, task)
                return
        print(
            f"{'told to stop' if told else 'no time for another run'} after {elapsed:.0f} s with "
            f"{run.id if run else 'no run'} in hand: {job} goes back into the queue",
            file=sys.stderr,
            flush=True,
        )
        if signal.SIGTERM in told:
            return  # preempted or requeued, Slurm brings it back; cancelled, nobody should
        try:
            subprocess.run(["scontrol", "requeue", job], timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"cannot be requeued: {error}", file=sys.stderr, flush=True)
            supervisor.end(store, task)
