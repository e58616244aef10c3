"""Launching: choose what is missing, plan it, publish the plan, submit it.

The plan becomes binding when its launch file is published under the next free number: of several launchers one wins,
the others look again. Whatever dies after that, and wherever, leaves tasks that the next launch finds open and, once
nobody holds them, gives up.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isosweep.cluster.pool import check_pool_device, ended_like_an_interrupt, run_pool, slots
from isosweep.cluster.profile import Profile, check_device
from isosweep.cluster.slurm import (
    Queue,
    SchedulerSilent,
    cluster_name,
    job_name,
    largest_array,
    queue_of_mine,
)
from isosweep.cluster.snapshot import Snapshot, freeze, modules_folder, versions
from isosweep.cluster.submit import check_submission, submit_array
from isosweep.cluster.task import TaskRef
from isosweep.cluster.worker import SlurmTask
from isosweep.launching.cost import Cost, fit
from isosweep.launching.inquiry import Inquiry
from isosweep.launching.plan import Plan, pack, split_arrays
from isosweep.launching.reap import give_up, reap, survey
from isosweep.store.claims import entries_of_launch
from isosweep.store.launches import Launch, close_launch, launch_path, list_numbers, publish_launch
from isosweep.store.owner import this_process
from isosweep.store.publish import replace
from isosweep.store.status import OpenTask, Picture, RunState, look
from isosweep.store.store import Store
from isosweep.sweep.identity import MEASUREMENT_VERSION, MEASUREMENT_VERSIONS, Identities
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import Sweep

__all__ = ["DEFAULT_ONLY", "Launcher", "Older", "Proposal"]

# What a launch takes unless told otherwise; the rest only when named.
DEFAULT_ONLY = ("missing", "lost", "preempted", "node_failed")
_LOCAL_TASKS_PER_SLOT = 8
_LOCAL_SHORTEST_TASK = 2.0


@dataclass(frozen=True)
class Older:
    """Runs of the sweep that have a record under an older measurement version, and what has changed since."""

    version: int
    runs: int
    changes: str


@dataclass(frozen=True)
class Proposal:
    """What a launch would do: the plan, and what it leaves alone; `given_up` counts dead tasks by what was said of
    them.
    """

    plan: Plan
    states: dict[str, RunState]
    taken: Counter[str]
    skipped: Counter[str]
    older: tuple[Older, ...] = ()
    given_up: Counter[str] = field(default_factory=Counter)


@dataclass
class Launcher:
    """Plans and launches a sweep into a store, on Slurm or in a pool here.

    Attributes:
        only: statuses to take.
        limit: at most so many runs.
        where: a condition on a run's columns.
        one_per_shape: take one run of each shape (the cheapest of each network kind), to try the queue.
        workers: of the local pool (None: one a GPU, or one a core).
        cost: of runs (None: fitted from the store's records at the first look).
        frozen: the code to compute with (None: what is imported here, frozen when the plan is published).
    """

    store: Store
    sweep: Sweep
    backend: str
    profile: Profile
    only: Sequence[str] = DEFAULT_ONLY
    limit: int | None = None
    where: Callable[[dict[str, Any]], bool] | None = None
    one_per_shape: bool = False
    runs_per_task: int | None = None
    workers: int | None = None
    command: str = ""
    frozen: Snapshot | None = None
    cost: Cost | None = None
    _slots: list[dict[str, str]] = field(default_factory=list)
    _code: Snapshot | None = None
    _seconds: list[tuple[float, ...]] = field(default_factory=list)

    def propose(self, *, give_up_dead: bool = False) -> Proposal:
        """Look at the store and plan what is to be done. Writes nothing, unless dead tasks are to be given up; else
        their runs only count as lost.

        Raises:
            SchedulerSilent: runs of this sweep are held by tasks on Slurm, which does not answer.
        """
        runs = self.sweep.runs()
        picture, _, dead = survey(self.store, self._queue, Inquiry())
        given_up: Counter[str] = Counter()
        if give_up_dead:
            with self.store.writing():
                given_up.update(one.why for one in dead if reap(self.store, picture, one))
                if dead:
                    picture = look(self.store)
                for number, void in picture.closable.items():
                    close_launch(self.store, number, void)
        else:
            for one in dead:
                picture.let_go(one.task, one.in_hand, one.others, one.why)
        states = picture.states(run.id for run in runs)
        wanted = [
            run
            for run in runs
            if states[run.id].status in self.only and (self.where is None or self.where(run.columns))
        ]
        if self.cost is None:
            self.cost = fit(self.store, picture.records, self.profile.device)
        if self.one_per_shape:
            wanted = _one_per_shape(wanted, self.cost)
        wanted = wanted[: self.limit] if self.limit is not None else wanted
        taken = Counter(states[run.id].status for run in wanted)
        skipped = Counter(state.status for state in states.values())
        skipped.subtract(taken)
        plan = self._plan(wanted, {run.id for run in wanted if _suspect(states[run.id])})
        return Proposal(plan, states, taken, +skipped, self._older(picture, runs), given_up)

    def _queue(self, picture: Picture) -> Queue | None:
        if not any(task.launch.about["backend"] == "slurm" for task in picture.open_tasks):
            return None
        held = (picture.held.get(run.id) for run in self.sweep.runs())
        try:
            return queue_of_mine()
        except SchedulerSilent:
            if any(task is not None and task.launch.about["backend"] == "slurm" for task in held):
                raise
            return None

    def _plan(self, runs: Sequence[Run], alone: Collection[str]) -> Plan:
        assert self.cost is not None
        if not runs:
            return Plan((), (), self.cost)
        per_task, cost = self.runs_per_task or self.profile.runs_per_task, self.cost.seconds
        if self.backend == "local":
            seconds = sum(map(cost, runs))
            target = max(_LOCAL_SHORTEST_TASK, seconds / (_LOCAL_TASKS_PER_SLOT * len(self._pool_slots())))
            tasks = pack(runs, target_seconds=target, runs_per_task=per_task, cost=cost, alone=alone)
            return Plan(tasks, (len(tasks),), self.cost)
        target = self.profile.target_seconds
        tasks = pack(runs, target_seconds=target, runs_per_task=per_task, cost=cost, alone=alone)
        return Plan(tasks, split_arrays(len(tasks), largest_array()), self.cost)

    def check(self, plan: Plan) -> None:
        """Have everything that a submission could be refused for looked at, before anything is written.

        Raises:
            ProfileError: the profile asks for a GPU where there is none, or does not ask for one.
            SubmissionRefused: sbatch would refuse.
            SchedulerSilent: Slurm does not answer.
        """
        if not plan.tasks:
            return
        if self.backend == "local":
            check_pool_device(self.profile.device)
            return
        check_device(self.profile)
        check_submission(self.profile, self.store.jobs / "check", plan.arrays[0])

    def _pool_slots(self) -> list[dict[str, str]]:
        if not self._slots:
            self._slots = slots(self.profile.device, self.workers)
        return self._slots

    def _older(self, picture: Picture, runs: Sequence[Run]) -> tuple[Older, ...]:
        # runs that also have a record under the present version are no question
        missing = [run for run in runs if run.id not in picture.records]
        if len(picture.records) == len(runs) - len(missing):
            return ()  # every record is a run's of the present version
        found = []
        for version in sorted(v for v in MEASUREMENT_VERSIONS if v < MEASUREMENT_VERSION):
            ids = Identities(version)
            old = (ids.id_of(run.network, run.data, run.measure, run.train, run.seed) for run in missing)
            if count := sum(id_ in picture.records for id_ in old):
                changes = "; ".join(MEASUREMENT_VERSIONS[v] for v in range(version + 1, MEASUREMENT_VERSION + 1))
                found.append(Older(version, count, changes))
        return tuple(found)

    def publish(self) -> tuple[Proposal, Launch | None]:
        """Settle what this launch does: freeze the code, publish the plan. None where nothing is left to do.

        Raises:
            SchedulerSilent: see `propose`.
            ProfileError, SubmissionRefused: see `check`.
            StoreError: the store cannot be written.
            SnapshotError: a user's own module is not what the sweep was planned with.
        """
        while True:
            number = max(list_numbers(self.store), default=0) + 1
            proposal = self.propose(give_up_dead=True)
            if not proposal.plan.tasks:
                return proposal, None
            self.check(proposal.plan)
            with self.store.writing():
                self._code = self.frozen or freeze(
                    self.store, self.sweep.runs(), Path(self.sweep.file).absolute().parent
                )
            token = f"{number:06d}-{secrets.token_hex(3)}"
            about = {
                "sweep": self.sweep.name,
                "sweep_hash": self.sweep.hash,
                "backend": self.backend,
                "arrays": list(proposal.plan.arrays),
                "cluster": cluster_name() if self.backend == "slurm" else None,
                "owner": this_process().to_dict(),
                "folder": self._code.modules,
                "profile": self.profile.name,
                "time_limit": self.profile.time_limit if self.backend == "slurm" else None,
                "seconds_per_operation": proposal.plan.cost.seconds_per_operation,
                "seconds_unknown": proposal.plan.cost.seconds_unknown,
                "command": self.command,
                "at": time.time(),
            }
            with self.store.writing():
                launch = publish_launch(self.store, number, token, proposal.plan.tasks, about)
            if launch is not None:
                self._seconds = [tuple(map(proposal.plan.cost.seconds, task)) for task in proposal.plan.tasks]
                return proposal, launch

    def _refs(self, launch: Launch) -> list[TaskRef]:
        assert self._code is not None, "publish comes first"
        about = {"sweep": self.sweep.name, "code_id": self._code.id, **self._code.about}
        expects = {"code": self._code.id}
        if self.backend == "local" or self.profile.python is None:
            expects |= versions(
                self._code.folder
            )  # a Python of the profile's own, in a container say, brings its own packages
        device = self.profile.device
        return [
            TaskRef(
                str(self.store.root),
                launch.number,
                launch.token,
                task,
                device,
                modules_folder(self.store, launch.about),
                about,
                self._code.folder,
                expects,
                self._seconds[task],
                self.profile.checkpoint_minutes,
            )
            for task in range(len(launch.tasks))
        ]

    def run_here(self, launch: Launch, progress: Callable[[str, str], None]) -> list[BaseException]:
        """Do a published launch in the pool of this machine; see `run_pool`."""
        log = self.store.jobs / launch.token / "pool.log"
        try:
            with ended_like_an_interrupt(), self.store.writing():
                return run_pool(
                    self._refs(launch), self._pool_slots(), log, launch_path(self.store, launch.number), progress
                )
        finally:
            # nobody works on any of them now; without this they are found when this process is gone
            with contextlib.suppress(OSError):
                tasks = range(len(launch.tasks))
                self._void_rest(launch, tasks, "the pool has ended", claimed=True, untouched="missing")

    def submit(self, launch: Launch, progress: Callable[[int, str], None] | None = None) -> list[str]:
        """Submit a published launch to Slurm, array by array, and return the job ids.

        Raises:
            SubmissionRefused: by sbatch; the tasks that were not submitted are given up at once, those that were stay.
        """
        refs = self._refs(launch)
        folder = self.store.jobs / launch.token
        with self.store.writing():
            folder.mkdir(parents=True, exist_ok=True)
        jobs: list[str] = []
        first = 0
        for array, size in enumerate(launch.about["arrays"]):
            elements = [
                SlurmTask(ref, self.profile.time_limit, self.profile.signal_delay) for ref in refs[first : first + size]
            ]
            try:
                job = submit_array(self.profile, folder, job_name(launch.token, array), elements)
            except BaseException:
                # Jobs that Slurm took all the same meet a void and leave, or have claimed their task and keep it.
                with contextlib.suppress(OSError):
                    self._void_rest(launch, range(first, len(refs)), "sbatch refused the submission")
                raise
            hint = json.dumps({"job": job, "tasks": [first, first + size]}).encode()
            with contextlib.suppress(OSError):
                replace(folder / f"array-{array}.json", hint)
            jobs.append(job)
            if progress is not None:
                progress(array, job)
            first += size
        return jobs

    def _void_rest(
        self, launch: Launch, tasks: range, why: str, *, claimed: bool = False, untouched: str = "lost"
    ) -> None:
        """Give up those of the tasks that nobody touched, whose runs become `untouched`, or that are merely claimed,
        too, so that their runs are free again.
        """
        entries = entries_of_launch(self.store, launch.token)
        for task in tasks:
            entry = entries.get(task)
            if entry is None or (claimed and entry.kind == "claim"):
                outcome = untouched if entry is None else "lost"
                give_up(self.store, OpenTask(launch, task, entry), why, outcome=outcome)


def _one_per_shape(runs: Sequence[Run], cost: Cost) -> list[Run]:
    """The cheapest run of each shape: runs that differ in gain, bias or seed alone have one shape."""
    skip = ("gain", "gain_rule", "bias_std", "q_star", "seed", "data_scale")
    shapes: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        shape = tuple((k, v) for k, v in run.columns.items() if k not in skip)
        if shape not in shapes or cost.seconds(run) < cost.seconds(shapes[shape]):
            shapes[shape] = run
    return list(shapes.values())


def _suspect(state: RunState) -> bool:
    """Whether the run's last attempt took its task along, so that it had better be alone in the next."""
    return bool(state.attempts) and state.attempts[-1].outcome in ("lost", "node_failed", "oom")
