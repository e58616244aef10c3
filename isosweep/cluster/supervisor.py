"""The supervisor of a task, on a node and in the local pool alike: claims it, hands its runs to a child, notes how
they end.

It never imports torch. The child lives on from run to run, so that imports are paid once. If it dies (out of memory, a
segmentation fault), that is a failed attempt of the run in hand; a new child takes the next.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from isosweep.cluster.process import Child
from isosweep.cluster.task import TaskRef
from isosweep.store.attempts import attempts_of, publish_attempt
from isosweep.store.claims import HOLDING, Entry, append, entries_of, followed, last_entry
from isosweep.store.launches import read_task
from isosweep.store.records import has_record
from isosweep.store.store import Store, StoreError
from isosweep.sweep.settings import Run, to_json

__all__ = ["Supervisor"]

# A job that dies so often without a word, each time with the same run first in line, is not given that run again.
_SILENT_DEATHS = 2
# What an estimate of a run's time is multiplied with before it is held against the time that is left.
_MARGIN = 1.1


class Supervisor:
    """Does tasks with one child.

    Args:
        child: computes.
        owner: who claims: a Slurm job with its restart count, or a local process.
        stop: set from another thread, or a signal handler, to end after the run in hand.
        progress: called with (run id, status) after each run.
        until: no run but a job's first is started that would end later than this (`time.monotonic`).
        returns: a stop means that the job comes back, and is noted in the store as soon as it is seen.
    """

    def __init__(
        self,
        child: Child,
        owner: dict[str, Any],
        stop: threading.Event | None = None,
        progress: Callable[[str, str], None] | None = None,
        until: float | None = None,
        returns: bool = False,
    ):
        self.child, self.owner, self.until, self.returns = child, owner, until, returns
        self.stop = stop or threading.Event()
        self.progress = progress or (lambda run, status: None)
        self.in_hand: Run | None = None
        self.started = 0
        self.paused_at: int | None = None
        self.returned = False
        self._claim: Entry | None = None
        self._spent = self._expected = 0.0

    def claim(self, store: Store, task: TaskRef, runs: Sequence[Run]) -> Entry | None:
        """Take the task; None if it has ended, was given up, or is another's.

        The same Slurm job with a higher restart count takes over from its former self. If that has died without a word
        time and again over one run, the run has failed.
        """
        last = last_entry(store, task.token, task.task)
        if last is not None:
            same = last.kind in HOLDING and last.owner.get("job") is not None
            same = same and last.owner.get("job") == self.owner.get("job")
            if not same or int(last.owner.get("restart", 0)) >= int(self.owner.get("restart", 0)):
                return None
        left = [run for run in runs if not _tried(store, run, task)]
        self._claim = claim = append(store, task.token, task.task, last, "claim", {**self.owner, "left": len(left)})
        if claim is not None and last is not None and left and _died(store, task, len(left)) >= _SILENT_DEATHS:
            cause = f"its job has died {_SILENT_DEATHS} times with this run in hand, without a word"
            publish_attempt(store, left[0].id, "failed", cause, task.name, **task.about)
        return claim

    def work(self, task: TaskRef) -> str:
        """Claim the task and do its runs in order, leaving out those that are recorded or that this task has tried.

        "done" if it is through; "not ours"; "given up" where somebody else decided so meanwhile; "out of time" where
        the next run would not end in what is left of the wall time; "stopped" where `stop` was set or the run in hand
        paused. After the last two it is still ours: `end` it, or `give_back` it.

        Raises:
            StoreError: the store takes no more files; the task is not ended, so that its runs count as held until it
                is given up.
        """
        store = Store(task.store)
        runs = read_task(store, task.launch, task.task)
        with store.writing():
            claim = self.claim(store, task, runs)
        if claim is None:
            return "not ours"
        for place, run in enumerate(runs):
            assert self._claim is not None
            if followed(store, task.token, task.task, self._claim):
                return "given up"
            if self.stop.is_set():
                return "stopped"
            if _tried(store, run, task):
                self.progress(run.id, "skipped")
                continue
            expected = task.seconds[place] if task.seconds else 0.0
            if not self._fits(expected):
                return "out of time"
            self.in_hand = run
            began = time.monotonic()
            status = self._carry_out(store, task, run)
            if status in ("stopped", "paused"):
                self.progress(run.id, "paused" if status == "paused" else "given back")
                return "stopped"
            self._spent += time.monotonic() - began
            self._expected += expected
            self.in_hand = None
            self.progress(run.id, status)
            if status == "environment_changed":
                break  # every other run of the task would find the same
        with store.writing():
            self.end(store, task)
        return "done"

    def _fits(self, expected: float) -> bool:
        """Whether a run can be started: the job's first always; any other if it should end in time, by the pace of
        those before it.
        """
        if self.until is None or not self.started:
            return True
        pace = self._spent / self._expected if self._expected > 0 else 1.0
        estimate = expected * pace if expected > 0 else self._spent / self.started
        return time.monotonic() + _MARGIN * estimate <= self.until

    def _carry_out(self, store: Store, task: TaskRef, run: Run) -> str:
        """Have the child compute a run, and note what the child could not: that it died."""
        reply = self.child.carry_out(
            {
                "store": task.store,
                "run": json.loads(to_json(run)),
                "device": task.device,
                "folder": task.folder,
                "task": task.name,
                "about": task.about,
                "expects": task.expects,
                "checkpoint_minutes": task.checkpoint_minutes,
            },
            lambda: self._note(store, task),
        )
        status = str(reply["status"])
        if status == "paused":
            self.paused_at = int(reply["step"])
            return status
        if reply.get("died") and has_record(store, run.id):
            return "done"
        if reply.get("died") and self.stop.is_set():
            return "stopped"  # we ended it
        self.started += 1
        if status == "store":
            raise StoreError(reply["cause"])
        if reply.get("died"):
            details = {"traceback": reply["traceback"]} if "traceback" in reply else {}
            with store.writing():
                publish_attempt(store, run.id, status, reply["cause"], task.name, **details, **task.about)
        return status

    def _note(self, store: Store, task: TaskRef) -> None:
        """Say early that the job will be back: told to go, it may have no time to say so later, and would seem to have
        died of the run in hand.
        """
        if self.returns and self.stop.is_set() and not self.returned:
            with contextlib.suppress(OSError):
                self.give_back(store, task)

    def through(self, store: Store, task: TaskRef) -> bool:
        """Whether nothing is left to do of the task."""
        return all(_tried(store, run, task) for run in read_task(store, task.launch, task.task))

    def end(self, store: Store, task: TaskRef) -> None:
        """Let go of a task: what it has not done is free."""
        append(store, task.token, task.task, self._claim, "end", self.owner)

    def give_back(self, store: Store, task: TaskRef) -> bool:
        """Note that the job goes back into the queue with its task, and how far the run in hand is; False if it cannot
        be any further than the last time, and so would come back for ever.
        """
        run, step = (self.in_hand.id if self.in_hand else None), self.paused_at
        noted = (e.owner for e in entries_of(store, task.token, task.task) if e.kind == "return")
        steps = [owner["step"] for owner in noted if owner["run"] == run and owner["step"] is not None]
        if step is not None and steps and steps[-1] >= step:
            return False
        if not self.returned or step is not None:
            note = {**self.owner, "run": run, "step": step}
            self._claim = append(store, task.token, task.task, self._claim, "return", note) or self._claim
            self.returned = True
        return True


def _tried(store: Store, run: Run, task: TaskRef) -> bool:
    """Whether the run has a record, or this task has made an attempt at it."""
    return has_record(store, run.id) or any(a.task == task.name for a in attempts_of(store, run.id))


def _died(store: Store, task: TaskRef, left: int) -> int:
    """How many claims in a row before the present one ended neither in a return nor with fewer runs left."""
    deaths = 0
    for entry in reversed(entries_of(store, task.token, task.task)[:-1]):
        if entry.kind != "claim" or entry.owner.get("left") != left:
            break
        deaths += 1
    return deaths
