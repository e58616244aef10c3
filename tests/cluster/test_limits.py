"""How a task spends its wall time, what counts as dead and of what, what a run costs: decisions, without Slurm."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from isosweep.cluster import pool
from isosweep.cluster.process import Child
from isosweep.cluster.slurm import Queue, Queued
from isosweep.cluster.supervisor import Supervisor
from isosweep.cluster.task import TaskRef
from isosweep.launching.cost import Cost, fit
from isosweep.launching.estimate import seconds_left
from isosweep.launching.operations import run_operations
from isosweep.launching.output import last_words, outputs
from isosweep.launching.plan import pack
from isosweep.launching.reap import NEVER_BEGAN, give_up, reap, survey, why_dead
from isosweep.measurement.measurement import Measurement
from isosweep.store.attempts import attempts_of, publish_attempt
from isosweep.store.claims import append, last_entry
from isosweep.store.launches import Launch, publish_launch
from isosweep.store.owner import this_process
from isosweep.store.records import encode_record, list_records, publish_record
from isosweep.store.status import OpenTask, look
from isosweep.store.store import Store
from isosweep.sweep.settings import (
    DataSettings,
    FisherSettings,
    JacobianSettings,
    MeasureSettings,
    NetworkSettings,
    Run,
)

RUN = Run(
    NetworkSettings(2, 8, "tanh", init="orthogonal", gain=1.0, bias_std=0.0),
    DataSettings("digits", 8, "unit", 1.0, 64, 10),
    MeasureSettings(FisherSettings(4, "categorical", "summary"), JacobianSettings(1)),
    0,
    "",
)
RUNS = [replace(RUN, seed=seed, id=f"{seed:020x}") for seed in range(4)]
JOB = {"kind": "slurm", "job": "7_0", "restart": 0}


class Clock:
    """The supervisor's clock, which stands still but for the time that runs take: a loaded machine changes nothing."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("isosweep.cluster.supervisor.time", made)
    return made


class Given(Child):
    """A child that replies what it is given, run by run; each takes so many seconds of a clock."""

    def __init__(self, *replies: dict[str, object], seconds: float = 0.0, clock: Clock | None = None) -> None:
        super().__init__()
        self.replies, self.seconds, self.orders = list(replies), seconds, 0
        self.clock = clock or Clock()

    def carry_out(self, order: dict[str, object], meanwhile: Callable[[], None] = lambda: None) -> dict[str, object]:
        meanwhile()
        self.clock.now += self.seconds
        self.orders += 1
        self.last = order
        return self.replies.pop(0) if self.replies else {"status": "done"}


def launched(store: Store, tasks: list[list[Run]] | None = None, **about: object) -> Launch:
    tasks = tasks or [RUNS]
    base = {"backend": "slurm", "cluster": "c", "owner": this_process().to_dict(), "arrays": [len(tasks)], "at": 0.0}
    made = publish_launch(store, 1, "000001-abc", tasks, base | about)
    assert made is not None
    return made


def task(store: Store, seconds: tuple[float, ...] = ()) -> TaskRef:
    return TaskRef(str(store.root), 1, "000001-abc", 0, seconds=seconds)


def kinds(store: Store) -> list[str]:
    names = sorted(store.root.glob("tasks/000001-abc/0.*.json"), key=lambda p: int(p.name.split(".")[1]))
    from json import loads

    return [loads(path.read_bytes())["kind"] for path in names]


def test_no_further_run_starts_that_cannot_end_in_time_but_a_first_always_does(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path)
    launched(store)
    child = Given(seconds=0.1, clock=clock)
    late = Supervisor(child, JOB, until=clock.now - 5, returns=True)
    assert late.work(task(store, (1.0, 1.0, 1.0, 1.0))) == "out of time"
    assert child.orders == 1
    assert kinds(store) == ["claim"]  # still ours, to be given back


def test_the_clock_of_checkpoints_is_the_tasks(tmp_path: Path) -> None:
    store, child = Store(tmp_path), Given()
    launched(store)
    assert Supervisor(child, JOB).work(replace(task(store), checkpoint_minutes=2.5)) == "done"
    assert child.last["checkpoint_minutes"] == 2.5


def test_the_pace_so_far_corrects_the_plan(tmp_path: Path, clock: Clock) -> None:
    """Planned at a second each, they take a fiftieth: three more fit into a second, though the plan says otherwise."""
    store = Store(tmp_path)
    launched(store)
    child = Given(seconds=0.02, clock=clock)
    assert Supervisor(child, JOB, until=clock.now + 1).work(task(store, (1.0, 1.0, 1.0, 1.0))) == "done"
    assert child.orders == 4
    slow = Store(tmp_path / "slow")
    launched(slow)
    child = Given(seconds=0.3, clock=clock)
    until = clock.now + 0.5
    assert Supervisor(child, JOB, until=until).work(task(slow, (0.001, 0.001, 0.001, 0.001))) == "out of time"
    assert child.orders == 1


def test_a_pause_is_no_failure_and_the_same_job_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    launched(store)
    supervisor = Supervisor(Given({"status": "paused", "step": 5}), JOB, returns=True)
    supervisor.stop.set()
    supervisor.stop.clear()
    assert supervisor.work(task(store)) == "stopped"
    assert supervisor.give_back(store, task(store))
    assert kinds(store) == ["claim", "return"]
    picture = look(store)
    assert not picture.attempts
    assert not picture.in_hand
    assert len(picture.held) == 4
    assert Supervisor(Given(), {**JOB, "job": "8_0"}).work(task(store)) == "not ours"
    assert Supervisor(Given(), {**JOB, "restart": 1}).work(task(store)) == "done"
    assert kinds(store) == ["claim", "return", "claim", "end"]


def test_a_pause_that_comes_no_further_is_not_repeated_for_ever(tmp_path: Path) -> None:
    store = Store(tmp_path)
    launched(store)
    for restart, step, further in ((0, 5, True), (1, 9, True), (2, 9, False)):
        supervisor = Supervisor(Given({"status": "paused", "step": step}), {**JOB, "restart": restart}, returns=True)
        assert supervisor.work(task(store)) == "stopped"
        assert supervisor.give_back(store, task(store)) is further


def test_a_job_that_is_told_to_go_says_at_once_that_it_will_be_back(tmp_path: Path) -> None:
    """Killed a moment later, it has not died without a word."""
    store = Store(tmp_path)
    launched(store)
    supervisor = Supervisor(Given({"died": True, "status": "failed", "cause": "killed"}), JOB, returns=True)
    carry_out = supervisor.child.carry_out

    def told(order: dict[str, object], meanwhile: Callable[[], None] = lambda: None) -> dict[str, object]:
        supervisor.stop.set()
        return carry_out(order, meanwhile)

    supervisor.child.carry_out = told  # type: ignore[method-assign]
    assert supervisor.work(task(store)) == "stopped"
    assert kinds(store) == ["claim", "return"]
    assert not look(store).attempts


def test_two_silent_deaths_over_one_run_are_that_runs_failure(tmp_path: Path) -> None:
    store = Store(tmp_path)
    launched(store)
    for restart in range(3):
        assert not attempts_of(store, RUNS[0].id)
        Supervisor(Given(), {**JOB, "restart": restart}).claim(store, task(store), RUNS)
    (attempt,) = attempts_of(store, RUNS[0].id)
    assert attempt.outcome == "failed"
    # preempted in between: no death of its own
    other = Store(tmp_path / "other")
    launched(other)
    for restart in range(4):
        supervisor = Supervisor(Given(), {**JOB, "restart": restart}, returns=True)
        supervisor.claim(other, task(other), RUNS)
        supervisor.give_back(other, task(other))
    assert not attempts_of(other, RUNS[0].id)


@pytest.mark.parametrize(
    ("state", "in_hand", "others"),
    [
        ("TIMEOUT", "timeout", "lost"),
        ("OUT_OF_MEMORY", "oom", "lost"),
        ("NODE_FAIL", "node_failed", "lost"),
        ("PREEMPTED", "preempted", "lost"),
        ("CANCELLED", "cancelled", "cancelled"),
        ("FAILED", "lost", "lost"),
        ("COMPLETED", "lost", "lost"),
    ],
)
def test_what_slurm_says_of_a_job_names_its_runs(tmp_path: Path, state: str, in_hand: str, others: str) -> None:
    store = Store(tmp_path)
    made = launched(store)
    append(store, made.token, 0, None, "claim", JOB)
    gone = Queued("isosweep-000001-abc-0", 0, "7", state, "")
    queue = Queue("c", {}, {(gone.name, 0): gone})
    picture, _, (dead,) = survey(store, lambda picture: queue)
    assert reap(store, picture, dead)
    after = look(store)
    assert after.state(RUNS[0].id).status == in_hand
    assert {after.state(run.id).status for run in RUNS[1:]} == {others}
    assert state in str(after.state(RUNS[1].id).why)
    # a job of this name that is in the queue lives, whatever is said of another
    assert why_dead(store, dead.task, Queue("c", {(gone.name, 0): gone}, queue.ended), store.now()) is None


def test_a_job_that_never_began_says_why(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launched(store)
    gone = Queued("isosweep-000001-abc-0", 0, "7", "FAILED", "")
    queue = Queue("c", {}, {(gone.name, 0): gone})
    (open_task,) = look(store).open_tasks
    # its launcher died before the job's pickle had its name: nobody's fault
    dead = why_dead(store, open_task, queue, store.now())
    assert dead is not None
    assert dead.others == "lost"
    folder = store.jobs / made.token
    folder.mkdir(parents=True)
    (folder / "7_submitted.pkl").touch()
    dead = why_dead(store, open_task, queue, store.now())
    assert dead is not None
    assert "does not see the store" in dead.why
    (folder / "7_0_log.out").write_text("fine\n")
    (folder / "7_0_log.err").write_text(
        "slurmstepd: error: execve(): /nowhere/python3: No such file\n"
        "srun: error: n1: task 0: Exited with exit code 2\n"
    )
    dead = why_dead(store, open_task, queue, store.now())
    assert dead is not None
    assert (dead.in_hand, dead.others) == ("failed", "failed")
    assert dead.why == f"{NEVER_BEGAN}: execve(): /nowhere/python3: No such file"


def test_a_run_over_which_task_after_task_is_lost_has_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    seen = []
    for number in range(1, 4):
        about = {"backend": "local", "cluster": None, "arrays": [1], "at": 0.0}
        owner = {**this_process().to_dict(), "pid": 2**22 + 1, "start": 5}
        made = publish_launch(store, number, f"{number:06d}-abc", [RUNS[:1]], {**about, "owner": owner})
        assert made is not None
        append(store, made.token, 0, None, "claim", {"kind": "local"})
        picture, _, (dead,) = survey(store, lambda picture: None)
        assert reap(store, picture, dead)
        seen.append(look(store).state(RUNS[0].id).status)
    assert seen == ["lost", "lost", "failed"]


def test_outputs_are_those_of_the_tasks_own_array(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launched(store, [[run] for run in RUNS], arrays=[3, 1])
    folder = store.jobs / made.token
    folder.mkdir(parents=True)
    for name in ("11_0_0_log.err", "11_2_0_log.err", "12_0_log.err", "12_0_log.out"):
        (folder / name).write_text(name)
    (folder / "array-0.json").write_text('{"job": "11", "tasks": [0, 3]}')
    (folder / "array-1.json").write_text('{"job": "12", "tasks": [3, 4]}')
    names = [[path.name for path in outputs(store, OpenTask(made, i, None))] for i in range(4)]
    assert names == [["11_0_0_log.err"], [], ["11_2_0_log.err"], ["12_0_log.err", "12_0_log.out"]]
    assert last_words(store, OpenTask(made, 3, None)) == "12_0_log.err"
    # without the launcher's note, the claim tells the job
    (folder / "array-0.json").unlink()
    claim = append(store, made.token, 2, None, "claim", {"job": "11_2"})
    assert [p.name for p in outputs(store, OpenTask(made, 2, claim))] == ["11_2_0_log.err"]


def test_runs_that_took_a_task_along_are_packed_alone() -> None:
    tasks = pack(RUNS, target_seconds=1e9, alone={RUNS[1].id})
    assert sorted(len(packed) for packed in tasks) == [1, 3]
    assert (RUNS[1],) in tasks
    assert pack(RUNS[:1], target_seconds=1.0, alone={RUNS[0].id}) == ((RUNS[0],),)


def test_the_constant_is_fitted_from_records(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert fit(store, list_records(store)).records == 0
    true = 3e-7
    for number in range(6):
        run = replace(RUN, network=replace(RUN.network, depth=number + 1), seed=number, id=f"{number:020x}")
        operations = run_operations(run)
        assert operations is not None
        about = {"device": "cpu", "seconds": 0.02 + true * operations * (0.1 if number == 0 else 1)}
        encoded = encode_record(run, Measurement((), (), (), {}), "done", 1, about)
        assert publish_record(store, run.id, "done", encoded)
    cost = fit(store, list_records(store))
    assert cost.records == 6
    assert cost.seconds_per_operation == pytest.approx(true, rel=1e-9)
    assert fit(store, list_records(store), "cuda").records == 0


def test_the_end_is_estimated_by_the_tasks_at_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launched(store, [RUNS[:2], RUNS[2:]], seconds_per_operation=1e-3, arrays=[2])
    picture = look(store)
    assert seconds_left(RUNS, picture.states(run.id for run in RUNS), store.now()) is None
    append(store, made.token, 0, None, "claim", JOB)
    picture = look(store)
    left = seconds_left(RUNS, picture.states(run.id for run in RUNS), store.now())
    assert left == pytest.approx(4 * Cost(1e-3).seconds(RUN))  # one task at work does all four


def test_a_void_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launched(store)
    (open_task,) = look(store).open_tasks
    append(store, made.token, 0, None, "claim", JOB)
    assert not give_up(store, open_task, "sbatch refused the submission")
    entry = last_entry(store, made.token, 0)
    assert entry is not None
    assert entry.kind == "claim"


def test_a_run_that_cannot_be_charged_to_a_task_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launched(store)
    append(store, made.token, 0, None, "claim", JOB)
    publish_attempt(store, RUNS[0].id, "failed", "cause", f"{made.token}-0")
    assert look(store).first_of(look(store).open_tasks[0]) == RUNS[1].id


def test_an_interrupted_pool_waits_until_its_workers_have_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the interrupt comes, every claimed task has its end before it is passed on; Thread.join, interrupted,
    would wait no longer.
    """
    end, held = Supervisor.end, threading.Event()

    def slow_end(self: Supervisor, store: Store, task: TaskRef) -> None:
        time.sleep(0.5)
        end(self, store, task)

    def work(self: Supervisor, task: TaskRef) -> str:
        assert self.claim(Store(task.store), task, RUNS) is not None
        held.set()
        self.stop.wait()
        return "stopped"

    monkeypatch.setattr(Supervisor, "end", slow_end)
    monkeypatch.setattr(Supervisor, "work", work)
    interrupt = threading.Thread(target=lambda: (held.wait(), time.sleep(0.3), os.kill(os.getpid(), signal.SIGINT)))
    store = Store(tmp_path)
    launched(store)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        pool.run_pool([task(store)], [{}], tmp_path / "log", tmp_path / "launch", lambda run, status: None)
    interrupt.join()
    assert kinds(store) == ["claim", "end"]


def test_a_heartbeat_survives_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "HEARTBEAT_SECONDS", 0.01)
    done = threading.Event()
    beat = threading.Thread(target=pool._heartbeat, args=(tmp_path / "launch", done), daemon=True)
    beat.start()
    time.sleep(0.1)
    assert beat.is_alive()
    (tmp_path / "launch").touch()
    os.utime(tmp_path / "launch", (1, 1))
    deadline = time.monotonic() + 120
    while (tmp_path / "launch").stat().st_mtime < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done.set()
    beat.join(10)


def test_a_store_whose_path_pythonpath_cannot_hold_is_refused(tmp_path: Path) -> None:
    from isosweep.store.store import StoreError

    with pytest.raises(StoreError, match="PYTHONPATH cannot hold"):
        Store(tmp_path / "a:b").create()
    assert not (tmp_path / "a:b").exists()
