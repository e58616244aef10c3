"""Where every run stands: its record, else the live task that holds it, else its last attempt, else missing.

A run is *pending* in a task that no worker has touched yet or behind the run in hand, *running* if it is in hand, and
*lost* if its task was given up and nothing is known of why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .attempts import Attempt, list_attempts
from .claims import HOLDING, Entry, entries_of_launch
from .launches import Launch, list_closed, list_numbers, read_closed, read_launch
from .records import list_records
from .store import Store

__all__ = ["STATUSES", "UNFINISHED", "GivenUp", "OpenTask", "Picture", "RunState", "look"]

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
    """Where a run stands; `attempts` are its failures, first to last; `task` holds it, if one does; `why` is what is
    known beyond that, of a run whose task died or was given up.
    """

    status: str
    attempts: tuple[Attempt, ...] = ()
    task: OpenTask | None = None
    why: str | None = None


class GivenUp(NamedTuple):
    """What became of a run whose task was given up, and why: "lost", "cancelled", "failed" where no job of the task
    ever got so far as to claim it, or "missing" where its pool ended before.
    """

    outcome: str
    why: str = ""


@dataclass
class Picture:
    """The store at one look: which runs are recorded, held by open tasks, lost, and what was attempted. No record is
    opened.
    """

    records: dict[str, str]
    attempts: dict[str, list[Attempt]]
    open_tasks: list[OpenTask]
    # runs whose task was given up, the last one where there were several
    given_up: dict[str, GivenUp] = field(default_factory=dict)
    # launches without an open task that are not marked as closed yet, and the runs that each gave up
    closable: dict[int, dict[str, GivenUp]] = field(default_factory=dict)
    held: dict[str, OpenTask] = field(default_factory=dict)
    in_hand: set[str] = field(default_factory=set)
    let_go_of: dict[str, GivenUp] = field(default_factory=dict)

    def state(self, run: str) -> RunState:
        """Where one run stands."""
        attempts = tuple(self.attempts.get(run, ()))
        if run in self.records:
            return RunState(self.records[run], attempts)
        if run in self.held:
            return RunState("running" if run in self.in_hand else "pending", attempts, self.held[run])
        if run in self.let_go_of:
            return RunState(self.let_go_of[run].outcome, attempts, None, self.let_go_of[run].why)
        if attempts:
            return RunState(attempts[-1].outcome, attempts)
        given_up = self.given_up.get(run, GivenUp("missing"))
        why = given_up.why if given_up.outcome != "missing" else ""  # of a run that was never begun there is no cause
        return RunState(given_up.outcome, (), None, why or None)

    def first_of(self, task: OpenTask) -> str | None:
        """The run that a task has in hand, or had when it was given back."""
        if task.entry is None:
            return None
        if task.entry.kind == "return":
            run = task.entry.owner.get("run")
            return run if run is not None and self._holds(task, run) else None
        return next(
            (run for run in task.launch.tasks[task.task] if self._holds(task, run) and run in self.in_hand), None
        )

    def _holds(self, task: OpenTask, run: str) -> bool:
        holder = self.held.get(run)
        return holder is not None and (holder.launch.number, holder.task) == (task.launch.number, task.task)

    def let_go(self, task: OpenTask, in_hand: str = "lost", others: str = "lost", why: str = "") -> None:
        """Count the runs of an open task as let go: nobody holds them, though nobody has given the task up yet."""
        first = self.first_of(task)
        for run in task.launch.tasks[task.task]:
            if self._holds(task, run):
                del self.held[run]
                self.let_go_of[run] = GivenUp(in_hand if run == first else others, why)

    def states(self, runs: Iterable[str]) -> dict[str, RunState]:
        """Where each run stands."""
        return {run: self.state(run) for run in runs}


def look(store: Store) -> Picture:
    """Take in the whole store by listing it: tasks, then attempts, then records, against the order in which they are
    written, so that a run that ends meanwhile is seen as held or as ended, never as missing.
    """
    tasks: list[OpenTask] = []
    given_up: dict[str, GivenUp] = {}
    closable: dict[int, dict[str, GivenUp]] = {}
    closed = list_closed(store)
    for number in list_numbers(store):
        if number in closed:
            given_up |= {run: GivenUp(*noted) for run, noted in read_closed(store, number).items()}
            continue
        launch = read_launch(store, number)
        entries = entries_of_launch(store, launch.token)
        still_open: list[OpenTask] = []
        void: dict[str, GivenUp] = {}
        for task, runs in enumerate(launch.tasks):
            entry = entries.get(task)
            if entry is None or entry.kind in HOLDING:
                still_open.append(OpenTask(launch, task, entry))
            elif entry.kind == "void":
                outcome = str(
                    entry.owner.get("outcome", "cancelled" if entry.owner.get("kind") == "cancel" else "lost")
                )
                void |= dict.fromkeys(runs, GivenUp(outcome, str(entry.owner.get("why", ""))))
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
        if waiting and holder.entry is not None and holder.entry.kind == "claim":
            picture.in_hand.add(waiting[0])
    return picture


def _attempted_in(picture: Picture, run: str, task: OpenTask) -> bool:
    """Whether this task has already tried the run."""
    name = f"{task.launch.token}-{task.task}"
    return any(attempt.task == name for attempt in picture.attempts.get(run, ()))
