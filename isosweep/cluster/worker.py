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

from isosweep.store.attempts import publish_attempt
from isosweep.store.claims import last_entry
from isosweep.store.store import Store

from .snapshot import import_first
from .supervisor import Child, Supervisor, TaskRef

__all__ = ["SlurmTask"]


class _Warned(BaseException):
    """Slurm's warning signal: preemption, or the time limit is near."""


def _raise_warned(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise _Warned


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


@dataclass(frozen=True)
class SlurmTask:
    """One element of a job array. Called without arguments, on the node."""

    task: TaskRef
    time_limit: float
    signal_delay: int

    def __call__(self) -> str:
        """Do the task's runs; when warned, give back what is in hand and ask for the job to be run again."""
        owner = _job()
        began = time.monotonic()
        signal.signal(signal.SIGUSR2, _raise_warned)
        about = {"slurm_job": owner["job"], "slurm_restart": owner["restart"], **self.task.about}
        task = TaskRef(**{**vars(self.task), "about": about})
        child = Child({"PYTHONPATH": import_first(task.code)})
        supervisor = Supervisor(child, owner, progress=_say)
        try:
            mine = supervisor.work(task)
            child.close()
            return "done" if mine else "not ours"
        except _Warned:
            child.kill()
            self._give_back(supervisor, task, time.monotonic() - began)
            return "requeued"

    def _at_limit(self, elapsed: float) -> bool:
        """Whether the warning means the time limit, rather than preemption: Slurm warns up to a minute early, and the
        job had to start.
        """
        allowed = self.time_limit - self.signal_delay
        return elapsed >= max(allowed - 120, allowed / 2)

    def _give_back(self, supervisor: Supervisor, task: TaskRef, elapsed: float) -> None:
        """A run that had the whole wall time to itself has timed out; any other is begun anew by the requeued job,
        which does it first. A job that cannot be requeued lets go of its task.
        """
        run, job = supervisor.in_hand, str(supervisor.owner["job"])
        at_limit = self._at_limit(elapsed)
        if run is not None and at_limit and supervisor.started == 0:
            cause = f"did not end within the time limit of {self.time_limit / 60:g} minutes, which it had to itself"
            publish_attempt(Store(task.store), run.id, "timeout", cause, task.name, seconds=elapsed, **task.about)
        print(
            f"warned after {elapsed:.0f} s with {run.id if run else 'no run'} in hand: requeueing {job}",
            file=sys.stderr,
            flush=True,
        )
        try:
            subprocess.run(["scontrol", "requeue", job], timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"cannot be requeued: {error}", file=sys.stderr, flush=True)
            store = Store(task.store)
            last = last_entry(store, task.token, task.task)
            if last is not None and last.kind == "claim" and last.owner == supervisor.owner:
                supervisor.end(store, task, last)
