"""Where every run stands: its record, else the live task that holds it, else its last attempt, else missing.

A run is *pending* in a task that no worker has touched yet or behind the run in hand, *running* if it is in hand, and
*lost* if its task was given up without a word about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .attempts import Attempt, list_attempts
from .claims import Entry, entries_of_launch
from .launches import Launch, list_closed, list_numbers, read_closed, read_launch
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
    # what became of runs whose last task to be given up was so: "lost", or "cancelled" by their user
    given_up: dict[str, str] = field(default_factory=dict)
    # launches without an open task that are not marked as closed yet, and the runs that each gave up
    closable: dict[int, dict[str, str]] = field(default_factory=dict)
    held: dict[str, OpenTask] = field(default_factory=dict)
    in_hand: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    def state(self, run: str) -> RunState:
        """Where one run stands."""
        attempts = tuple(self.attempts.get(run, ()))
        if run in self.records:
            return RunState(self.records[run], attempts)
        if run in self.held:
            return RunState("running" if run in self.in_hand else "pending", attempts, self.held[run])
        if run in self.lost:
            return RunState("lost", attempts)
        if attempts:
            return RunState(attempts[-1].outcome, attempts)
        return RunState(self.given_up.get(run, "missing"))

    def let_go(self, dead: Iterable[OpenTask]) -> None:
        """Count the runs of these open tasks as lost: nobody holds them, though nobody has given them up yet."""
        gone = {(task.launch.number, task.task) for task in dead}
        for run in [run for run, task in self.held.items() if (task.launch.number, task.task) in gone]:
            del self.held[run]
            self.lost.add(run)

    def states(self, runs: Iterable[str]) -> dict[str, RunState]:
        """Where each run stands."""
        return {run: self.state(run) for run in runs}


def look(store: Store) -> Picture:
    """Take in the whole store by listing it: tasks, then attempts, then records, against the order in which they are
    written, so that a run that ends meanwhile is seen as held or as ended, never as missing.
    """
    tasks: list[OpenTask] = []
    given_up: dict[str, str] = {}
    closable: dict[int, dict[str, str]] = {}
    closed = list_closed(store)
    for number in list_numbers(store):
        if number in closed:
            given_up |= read_closed(store, number)
            continue
        launch = read_launch(store, number)
        entries = entries_of_launch(store, launch.token)
        still_open: list[OpenTask] = []
        void: dict[str, str] = {}
        for task, runs in enumerate(launch.tasks):
            entry = entries.get(task)
            if entry is None or entry.kind == "claim":
                still_open.append(OpenTask(launch, task, entry))
            elif entry.kind == "void":
                void |= dict.fromkeys(runs, "cancelled" if entry.owner.get("kind") == "cancel" else "lost")
        given_up |= void
        tasks += still_open
        if not still_open:
            closable[number] = void
    attempts: dict[str, list[Attempt]] = {}
    for attempt in list_attempts(store):
        attempts.setdefault(attempt.run, []).append(attempt)
    for row in attempts.values():
        row.sort(key=lambda a: a.number)
    picture = Picture(list_records(store), attempts, tasks, given_up, closable)
    for holder in tasks:
        waiting = [
            run
            for run in holder.launch.tasks[holder.task]
            if run not in picture.records and not _attempted_in(picture, run, holder)
        ]
        for run in waiting:
            picture.held[run] = holder
        if waiting and holder.entry is not None:
            picture.in_hand.add(waiting[0])
    return picture


def _attempted_in(picture: Picture, run: str, task: OpenTask) -> bool:
    """Whether this task has already tried the run."""
    name = f"{task.launch.token}-{task.task}"
    return any(attempt.task == name for attempt in picture.attempts.get(run, ()))
