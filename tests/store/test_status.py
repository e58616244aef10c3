"""Where runs stand, while others write: nothing that ends meanwhile looks lost or missing."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from isosweep.cluster.process import Child
from isosweep.cluster.profile import Profile, load_profile
from isosweep.cluster.slurm import Queue
from isosweep.cluster.snapshot import Snapshot, versions
from isosweep.cluster.supervisor import Supervisor
from isosweep.cluster.task import TaskRef
from isosweep.launching.launch import Launcher
from isosweep.launching.reap import survey, why_dead
from isosweep.store import status
from isosweep.store.attempts import publish_attempt
from isosweep.store.claims import append, entries_of_launch, last_entry
from isosweep.store.launches import Launch, close_launch, publish_launch
from isosweep.store.owner import LocalOwner, this_process
from isosweep.store.publish import publish
from isosweep.store.status import Picture, look
from isosweep.store.store import Store
from isosweep.sweep.settings import Run
from isosweep.sweep.sweep import load

from .test_records import RUN

RUNS = [replace(RUN, seed=seed, id=f"{seed:020x}") for seed in range(3)]
ME = {"kind": "local", **this_process().to_dict()}
GONE = {**this_process().to_dict(), "pid": 2**22 + 1, "start": 5}


def launch(store: Store, number: int, tasks: Sequence[Sequence[Run]], **about: object) -> Launch:
    base = {"backend": "local", "cluster": None, "owner": this_process().to_dict(), "arrays": [len(tasks)]}
    made = publish_launch(store, number, f"{number:06d}-abc", tasks, base | about)
    assert made is not None
    return made


def test_a_failure_that_comes_while_we_look_is_seen_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in the other order, the run would have neither attempt nor task, and be launched again as missing."""
    store = Store(tmp_path)
    made = launch(store, 1, [RUNS[:1]])
    claim = append(store, made.token, 0, None, "claim", ME)

    def ends_first(store: Store, token: str) -> object:
        publish_attempt(store, RUNS[0].id, "failed", "cause", f"{token}-0")
        append(store, token, 0, claim, "end", ME)
        return entries_of_launch(store, token)

    monkeypatch.setattr(status, "entries_of_launch", ends_first)
    assert look(store).state(RUNS[0].id).status == "failed"


def test_a_task_that_ends_while_the_queue_is_asked_is_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launch(store, 1, [RUNS[:1]], owner=GONE)
    claim = append(store, made.token, 0, None, "claim", ME)
    assert [dead.task.task for dead in survey(store, lambda picture: None)[2]] == [0]

    def ask(picture: Picture) -> None:
        append(store, made.token, 0, claim, "end", ME)

    picture, _, dead = survey(store, ask)
    assert not dead
    assert not picture.open_tasks


def test_a_run_that_an_open_task_has_tried_is_not_held_by_it(tmp_path: Path) -> None:
    """Though another launch has tried it since."""
    store = Store(tmp_path)
    first = launch(store, 1, [RUNS[:2]])
    append(store, first.token, 0, None, "claim", ME)
    publish_attempt(store, RUNS[0].id, "failed", "cause", f"{first.token}-0")
    second = launch(store, 2, [RUNS[:1]])
    claim = append(store, second.token, 0, None, "claim", ME)
    publish_attempt(store, RUNS[0].id, "oom", "cause", f"{second.token}-0")
    append(store, second.token, 0, claim, "end", ME)
    states = look(store).states(run.id for run in RUNS)
    assert [state.status for state in states.values()] == ["oom", "running", "missing"]


def test_a_closed_launch_is_not_read_again_and_its_runs_stay_given_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = launch(store, 1, [RUNS[:1], RUNS[1:2], RUNS[2:]])
    append(store, first.token, 0, None, "void", {"kind": "cancel", "outcome": "cancelled", "why": "by its user"})
    append(store, first.token, 1, None, "void", {"kind": "reaper"})
    assert not look(store).closable
    append(store, first.token, 2, append(store, first.token, 2, None, "claim", ME), "end", ME)
    before = look(store)
    assert before.closable == {1: {RUNS[0].id: ("cancelled", "by its user"), RUNS[1].id: ("lost", "")}}
    close_launch(store, 1, before.closable[1])
    close_launch(store, 1, before.closable[1])
    shutil.rmtree(store.tasks)
    after = look(store)
    assert not after.closable
    assert [after.state(run.id).status for run in RUNS] == ["cancelled", "lost", "missing"]
    # a later launch of a cancelled run has the last word
    append(store, launch(store, 2, [RUNS[:1]]).token, 0, None, "void", {"kind": "reaper"})
    assert look(store).state(RUNS[0].id).status == "lost"


def test_the_queue_of_another_cluster_is_no_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOSWEEP_GRACE", "-1")
    store = Store(tmp_path)
    launch(store, 1, [RUNS[:1]], backend="slurm", cluster="here")
    (task,) = look(store).open_tasks
    assert why_dead(store, task, Queue("here", {}), store.now()) is not None
    assert why_dead(store, task, Queue("elsewhere", {}), store.now()) is None
    assert why_dead(store, task, None, store.now()) is None


def test_a_process_of_another_container_cannot_be_judged() -> None:
    there = LocalOwner.from_dict({**this_process().to_dict(), "space": "pid:[1]", "pid": 2**22 + 1})
    assert there.alive() is None
    assert LocalOwner.from_dict(GONE).alive() is False


class _Given(Child):
    """Stands for a process that ends a run while somebody gives its task up, or that dies once it is recorded."""

    def __init__(self, during: object) -> None:
        super().__init__()
        self.during, self.orders = during, 0

    def carry_out(self, order: dict[str, object], meanwhile: Callable[[], None] = lambda: None) -> dict[str, object]:
        meanwhile()
        self.orders += 1
        return self.during(order)  # type: ignore[operator,no-any-return]


def test_a_worker_whose_task_was_given_up_starts_no_further_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launch(store, 1, [RUNS])

    def during(order: object) -> dict[str, object]:
        append(store, made.token, 0, last_entry(store, made.token, 0), "void", {"kind": "cancel"})
        return {"status": "done"}

    child = _Given(during)
    assert Supervisor(child, ME).work(TaskRef(str(tmp_path), 1, made.token, 0)) == "given up"
    assert child.orders == 1
    entry = last_entry(store, made.token, 0)
    assert entry is not None
    assert (entry.number, entry.kind) == (2, "void")


def test_a_child_that_dies_with_its_record_published_has_not_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = launch(store, 1, [RUNS[:1]])
    said: list[str] = []

    def during(order: object) -> dict[str, object]:
        publish(store.records / store.fan(RUNS[0].id) / f"{RUNS[0].id}.done.arrow", b"a record")
        return {"status": "failed", "died": True, "cause": "the process died of SIGKILL"}

    Supervisor(_Given(during), ME, progress=lambda run, status: said.append(status)).work(
        TaskRef(str(tmp_path), 1, made.token, 0)
    )
    assert said == ["done"]
    assert not store.attempts.exists()


def test_a_child_that_was_killed_before_it_started_never_starts() -> None:
    child = Child()
    child.kill()
    assert child.carry_out({})["died"]


def test_a_python_of_the_profiles_own_brings_its_own_packages(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "network: {depth: 2, width: 8, activation: tanh, init: orthogonal, gain: 1.0}\n"
        "name: s\ndata: {name: digits, samples: 16}\nmeasure: {jacobian: {samples: 2}}\nseeds: 1\n"
    )
    sweep, store = load(tmp_path / "s.yaml"), Store(tmp_path / "store")
    made = launch(store, 1, [sweep.runs()], folder=None)

    def expected(backend: str, python: str | None) -> dict[str, str]:
        profile: Profile = replace(load_profile(None), python=python)
        launcher = Launcher(store, sweep, backend, profile)
        launcher._code, launcher._seconds = Snapshot("id", None), [(1.0,)]
        return launcher._refs(made)[0].expects

    assert expected("slurm", "apptainer exec torch.sif python3") == {"code": "id"}
    assert expected("slurm", None) == expected("local", "anything") == {"code": "id", **versions()}


def test_a_file_system_that_syncs_no_folders_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert publish(tmp_path / "a" / "b" / "name", b"x")
