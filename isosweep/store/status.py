"""Where every run stands: its record, else the live task that holds it, else its last attempt, else missing.

A run is *pending* in a task that no worker has touched yet or behind the run in hand, *running* if it is in hand, and
*lost* if its task was given up without a word about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .attempts import Attempt, list_attempts
from .claims import Entry, entries_of_launch
from .launches import Launch, list_launches
from .records import list_records
from .store import Store

__all__ = ["STATUSES", "UNFINISHED", "OpenTask", "Picture", "RunState", "look"]

# In the order in which they are reported.
STATUSES = (
    "done",
    "diverged",
    "running",
    "pending",
    "failed",
    "oom",
    "timeout",
    "cancelled",
    "preempted",
    "node_failed",
    "environment_changed",
    "lost",
    "missing",
)
UNFINISHED = ("running", "pending", "lost", "missing", "preempted", "node_failed")


@dataclass(frozen=True)
class OpenTask:
    """A task that has neither ended nor been given up."""

    launch: Launch
    task: int
    entry: Entry | None


@dataclass(frozen=True)
class RunState:
    """Where a run stands; `attempts` are its failures, first to last; `task` holds it, if one does."""

    status: str
    attempts: tuple[Attempt, ...] = ()
    task: OpenTask | None = None


@dataclass
class Picture:
    """The store at one look: which runs are recorded, held by open tasks, lost, and what was attempted. No record is
    opened.
    """

    records: dict[str, str]
    attempts: dict[str, list[Attempt]]
    open_tasks: list[OpenTask]
    held: dict[str, OpenTask] = field(default_factory=dict)
    in_hand: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    def state(self, run: str) -> RunState:
        """Where one run stands."""
        attempts = tuple(self.attempts.get(run, ()))
        if run in self.records:
            return RunState(self.records[run], attempts)
        if run in self.held:
            return RunState("running" if run in self.in_hand else "pending", attempts, self.held[run])
        if attempts:
            return RunState(attempts[-1].outcome, attempts)
        if run in self.cancelled:
            return RunState("cancelled")
        return RunState("lost" if run in self.given_up else "missing")

    def states(self, runs: Iterable[str]) -> dict[str, RunState]:
        """Where each run stands."""
        return {run: self.state(run) for run in runs}


def look(store: Store) -> Picture:
    """Take in the whole store by listing it. Records are listed last, so that a run finished meanwhile counts as
    finished.
    """
    attempts: dict[str, list[Attempt]] = {}
    for attempt in list_attempts(store):
        attempts.setdefault(attempt.run, []).append(attempt)
    for row in attempts.values():
        row.sort(key=lambda a: a.number)
    tasks: list[OpenTask] = []
    given_up: set[str] = set()
    cancelled: set[str] = set()
    for launch in list_launches(store):
        entries = entries_of_launch(store, launch.token)
        for number, runs in enumerate(launch.tasks):
            entry = entries.get(number)
            if entry is None or entry.kind == "claim":
                tasks.append(OpenTask(launch, number, entry))
            elif entry.kind == "void":
                (cancelled if entry.owner.get("kind") == "cancel" else given_up).update(runs)
    picture = Picture(list_records(store), attempts, tasks, given_up=given_up, cancelled=cancelled)
    for task in tasks:
        waiting = [
            run
            for run in task.launch.tasks[task.task]
            if run not in picture.records and not _attempted_in(picture, run, task)
        ]
        for run in waiting:
            picture.held[run] = task
        if waiting and task.entry is not None:
            picture.in_hand.add(waiting[0])
    return picture


def _attempted_in(picture: Picture, run: str, task: OpenTask) -> bool:
    """Whether this task has already tried the run: an attempt since its claim."""
    attempts = picture.attempts.get(run)
    if not attempts or task.entry is None:
        return False
    return attempts[-1].task == f"{task.launch.token}-{task.task}"
