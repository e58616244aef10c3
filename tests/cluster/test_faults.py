"""Faults on a real Slurm, one test each. After every one, and a relaunch, every run has exactly one valid record or a
named failure, and the digests are those of an undisturbed sweep.

`docs/reliability.md` is made by these tests (`tests/cluster/reliability.py`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import faults
import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.store.launches import list_launches
from isosweep.store.records import read_record
from isosweep.store.status import look
from isosweep.store.store import Store
from isosweep.tables.parquet import collection_of

from .faulty import PROFILE, Faulty

pytestmark = [pytest.mark.slurm, pytest.mark.whole]
fault = pytest.mark.fault


@fault("worker: SIGKILL in the middle of a run", "Slurm's FAILED names the task dead at once")
def test_worker_killed(faulty: Faulty) -> None:
    job = faulty.held()
    faults.kill_job(faulty.cluster, job)
    faulty.until(lambda: faulty.counts() == {"lost": 3})
    assert faulty.heal() == {"done": 3}


@pytest.mark.slow
@fault("process that computes: SIGKILL in the middle of a run", "a named failure; its siblings go on", "--only failed")
def test_child_killed(faulty: Faulty) -> None:
    faulty.file("kill")
    faulty.launch("--runs-per-task", "3")
    assert faulty.heal() == {"done": 2, "failed": 1}
    (group,) = faulty.command.json("status", "faulty.yaml", check=3)["failures"]
    assert "SIGKILL" in group["cause"]
    assert faulty.heal("--only", "failed") == {"done": 3}


@fault(
    "process that computes: SIGKILL while the record is written", "a temporary file that nothing reads", "--only failed"
)
def test_killed_while_the_record_is_written(faulty: Faulty) -> None:
    faulty.file("kill-in-link")
    faulty.launch("--runs-per-task", "3")
    assert faulty.heal() == {"done": 2, "failed": 1}
    assert list(faulty.store.root.glob("records/*/.tmp-*"))
    assert faulty.heal("--only", "failed") == {"done": 3}


@fault("node: slurmd and all its processes killed, node down", "Slurm requeues; the same job takes its task over")
def test_node_dies(faulty: Faulty) -> None:
    job = faulty.held()
    node = faulty.cluster.job(job)["NodeList"]
    faulty.cluster.kill_node(node)
    faulty.go()
    try:
        faulty.until(lambda: faulty.counts() == {"done": 3})
    finally:
        faulty.cluster.start_node(node)
    assert faulty.heal() == {"done": 3}


@fault("scontrol requeue", "the job gives its task back and takes it up again")
def test_requeued(faulty: Faulty) -> None:
    job = faulty.held()
    faulty.cluster.requeue(job)
    faulty.go()
    faulty.until(lambda: faulty.counts() == {"done": 3})
    assert faulty.heal() == {"done": 3}


@fault("preemption by a higher partition", "the same")
def test_preempted(faulty: Faulty) -> None:
    faulty.held()
    above = faulty.cluster.sbatch("--partition=high", "--exclusive", "--nodes=2", wrap="true")
    faulty.cluster.wait(above, "COMPLETED")
    faulty.go()
    faulty.until(lambda: faulty.counts() == {"done": 3})
    assert faulty.heal() == {"done": 3}


@fault("Slurm's warning before the time limit, of a run that can pause", "checkpoint, requeue of itself, goes on")
def test_warned_and_paused(faulty: Faulty) -> None:
    faulty.file("pausable", "0")
    (job,) = faulty.launch("--runs-per-task", "3")
    faulty.until(lambda: (faulty.command.folder / "reached").exists())
    faulty.cluster.run("scancel", "--signal=USR2", f"{job}.0")
    faulty.until(lambda: (faulty.command.folder / "pausable").read_text() == "1")
    faulty.go()
    faulty.until(lambda: faulty.counts() == {"done": 3})
    assert not look(faulty.store).attempts  # a pause is no failed attempt
    assert faulty.heal() == {"done": 3}


@pytest.mark.slow
@fault(
    "time limit, of a run that cannot pause", "a named timeout; its siblings go on", "--only timeout --sbatch time=…"
)
def test_time_limit(faulty: Faulty) -> None:
    faulty.command.write("profile.toml", 'device = "cpu"\nsignal_delay = 40\n[sbatch]\ntime = "2"\n')
    faulty.held()
    faulty.until(lambda: list(faulty.store.root.glob("attempts/*/*.timeout.*")), 300)
    faulty.go()
    faulty.until(lambda: faulty.counts() == {"done": 2, "timeout": 1})
    warned = faulty.command.run("launch", "faulty.yaml", "--profile", "profile.toml", "--only", "timeout", "--dry-run")
    assert "give more with --sbatch time" in warned.stderr
    assert "did not end within the time limit of 2 minutes" in warned.stderr
    assert faulty.heal("--only", "timeout", "--sbatch", "time=5") == {"done": 3}


@fault("scancel of one task", "its runs are cancelled, by Slurm's word; the others end", "--only cancelled")
def test_one_task_cancelled(faulty: Faulty) -> None:
    faulty.file("wait")
    (job,) = faulty.launch("--runs-per-task", "1")
    faulty.until(lambda: faulty.counts().get("running", 0) >= 2)
    faulty.cluster.run("scancel", f"{job}_0")
    faulty.until(lambda: faulty.counts().get("cancelled") == 1)
    assert faulty.heal() == {"done": 2, "cancelled": 1}
    assert faulty.heal("--only", "cancelled") == {"done": 3}


@pytest.mark.slow
@fault("scancel of the array", "all are cancelled", "--only cancelled")
def test_array_cancelled(faulty: Faulty) -> None:
    faulty.file("wait")
    (job,) = faulty.launch("--runs-per-task", "1")
    faulty.until(lambda: faulty.counts().get("running", 0) >= 2)
    faulty.cluster.run("scancel", job)
    faulty.until(lambda: faulty.counts() == {"cancelled": 3})
    assert faulty.heal("--only", "cancelled") == {"done": 3}


@fault("slurmctld killed and started again", "nothing: jobs go on, and nothing is concluded from its silence")
def test_controller_restarted(faulty: Faulty) -> None:
    faulty.held()
    faulty.cluster.stop_controller(kill=True)
    assert faulty.command.json("status", "faulty.yaml", check=4, ISOSWEEP_SLURM_TIMEOUT="1")["scheduler_silent"]
    faulty.go()
    faulty.until(lambda: len(list(faulty.store.root.glob("records/*/*.arrow"))) == 3)
    faulty.cluster.start_controller()
    assert faulty.heal() == {"done": 3}


@fault("accounting absent", "states by squeue alone, then lost after the grace")
def test_no_accounting(faulty: Faulty) -> None:
    assert "none" in faulty.cluster.config()["AccountingStorageType"]
    (job,) = faulty.launch("--runs-per-task", "3", "--sbatch", "begin=now+1hour")
    faulty.cluster.run("scancel", job)
    seen = faulty.command.json("status", "faulty.yaml", check=None)
    assert seen["counts"] == {"cancelled": 3}
    assert seen["accounts_silent"] is None
    assert faulty.heal("--only", "cancelled") == {"done": 3}


@fault("a job id used again", "nothing: jobs are known by name, and a name by its launch's token")
@pytest.mark.slow
def test_job_id_used_again(command: Command, undisturbed: dict[str, str]) -> None:
    with PrivateSlurm(nodes=1) as first:
        faulty = Faulty(command, first, undisturbed)
        job = faulty.held()
    with PrivateSlurm(nodes=1) as second:
        faulty.on(second)
        time.sleep(1)
        again = faulty.launch("--runs-per-task", "3", ISOSWEEP_GRACE="0.5")
        assert again == [job]
        assert faulty.heal() == {"done": 3}


@pytest.mark.parametrize("how", ["full", pytest.param("read-only", marks=pytest.mark.slow)])
@fault("store full, or read-only, for a while", "the job ends without a word; no file half")
def test_store_takes_no_files(faulty: Faulty, how: str) -> None:
    try:
        with faults.small_disk(faulty.command.folder / "disk", "24m") as disk:
            faulty.words, faulty.store = ("--store", "disk/store"), Store(disk.path / "store")
            faulty.store.create()
            # the jobs' logs lie elsewhere: a file that is open for writing keeps a disk from turning read-only
            (faulty.command.folder / "logs").mkdir()
            faulty.store.jobs.symlink_to(faulty.command.folder / "logs")
            faulty.held()
            disk.fill() if how == "full" else disk.read_only()
            faulty.go()
            faulty.until(lambda: not faulty.child_works())
            assert not list(disk.path.glob("store/records/*/*"))
            disk.free() if how == "full" else disk.writable()
            faulty.until(lambda: faulty.counts() == {"lost": 3})
            assert faulty.heal() == {"done": 3}
    except faults.FaultUnavailable as error:
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            raise
        pytest.skip(str(error))


@pytest.mark.slow
@fault("a record torn", "collect sets it aside, with the reason, and its run is missing")
def test_record_torn(faulty: Faulty) -> None:
    assert faulty.heal("--runs-per-task", "3") == {"done": 3}
    faults.tear(next(faulty.store.root.glob("records/*/*.arrow")))
    faulty.command.run("collect", "faulty.yaml", "--out", "torn")
    assert faulty.counts() == {"done": 2, "missing": 1}
    assert faulty.heal() == {"done": 3}


@pytest.mark.slow
@fault("temporary files left over everywhere", "nothing reads them")
def test_temporary_files(faulty: Faulty) -> None:
    faulty.launch("--runs-per-task", "3", "--limit", "2")
    faulty.until(lambda: faulty.counts() == {"done": 2, "missing": 1})
    for folder in [p for p in faulty.store.root.rglob("*") if p.is_dir()]:
        (folder / ".tmp-n1-77-abc").write_bytes(b"half")
    assert faulty.heal() == {"done": 3}


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.slow), "between"])
@fault("launcher: SIGKILL before, or between, its submissions", "tasks that nobody ever submits: lost after the grace")
def test_launcher_killed(faulty: Faulty, when: str) -> None:
    """An sbatch that kills whoever calls it, at its first or second submission; four runs are two arrays here."""
    script = """\
case "$1" in --test-only|--help) exec "$REAL" "$@";; esac
echo >> calls
[ $(wc -l < calls) -ge NUMBER ] && kill -9 $PPID && exit 1
exec "$REAL" "$@"
"""
    number = "1" if when == "before" else "2"
    before = dict(faulty.command.environment)
    shadow = faults.shadow_command(
        faulty.command.folder / "bin", "sbatch", script.replace("NUMBER", number), {**os.environ, **before}
    )
    faulty.command.environment["PATH"] = shadow["PATH"]
    words = ("launch", "faulty.yaml", "--profile", "profile.toml", "--runs-per-task", "1", "--set", "seeds=4")
    assert faulty.command.run(*words, check=None).returncode == -signal.SIGKILL
    faulty.command.environment = before
    open_tasks = len(look(faulty.store).open_tasks)
    assert open_tasks >= 1
    time.sleep(0.6)
    seen = faulty.command.json("launch", *words[1:], "--wait", ISOSWEEP_GRACE="0.5")
    assert seen["states"] == {"done": 4}
    assert not look(faulty.store).open_tasks
    assert {p.name.split(".")[0] for p in faulty.store.root.glob("records/*/*.arrow")} == set(faulty.digests)
    assert faulty.heal() == {"done": 3}


@pytest.mark.slow
@fault("launcher: SIGKILL after sbatch, before the job's pickle has its name", "the job waits a minute, fails, is lost")
def test_launcher_killed_after_sbatch(faulty: Faulty) -> None:
    script = 'case "$1" in --test-only|--help) exec "$REAL" "$@";; esac\n"$REAL" "$@"; kill -9 $PPID\n'
    before = dict(faulty.command.environment)
    shadow = faults.shadow_command(faulty.command.folder / "bin", "sbatch", script, {**os.environ, **before})
    faulty.command.environment["PATH"] = shadow["PATH"]
    words = ("launch", "faulty.yaml", "--profile", "profile.toml", "--runs-per-task", "3")
    assert faulty.command.run(*words, check=None).returncode == -signal.SIGKILL
    faulty.command.environment = before
    faulty.until(lambda: faulty.counts() == {"lost": 3}, 180)
    assert faulty.heal() == {"done": 3}


@fault("two launchers at once", "one has the runs, the other finds them held")
def test_two_launchers(faulty: Faulty) -> None:
    words = ("launch", "faulty.yaml", "--profile", "profile.toml", "--runs-per-task", "1")
    both = [faulty.command.start(*words) for _ in range(2)]
    said = [launcher.communicate(timeout=240)[1] for launcher in both]
    assert [launcher.returncode for launcher in both] == [0, 0], said
    faulty.until(lambda: faulty.counts() == {"done": 3})
    held = [run for launch in list_launches(faulty.store) for task in launch.tasks for run in task]
    assert len(held) == len(set(held)) == 3
    assert faulty.heal() == {"done": 3}


@fault("two collectors at once, beside running jobs", "tables of one moment")
def test_two_collectors(faulty: Faulty) -> None:
    job = faulty.held()
    both = [faulty.command.start("collect", "faulty.yaml", "--out", "shared") for _ in range(2)]
    faulty.go()
    for collector in both:
        assert collector.wait(timeout=240) == 0
    del job
    names = ("runs", "fisher", "jacobian", "layers", "training")
    assert len({collection_of(faulty.command.folder / "shared" / f"{name}.parquet") for name in names}) == 1
    faulty.until(lambda: faulty.counts() == {"done": 3})
    assert faulty.heal() == {"done": 3}


@fault(
    "a node whose clock is an hour off",
    "nothing: ages compare the file server's stamps; wall time is counted, not read",
)
def test_clock_an_hour_off(faulty: Faulty) -> None:
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            pytest.fail("no libfaketime (Debian: libfaketime)")
        pytest.skip("no libfaketime (Debian: libfaketime)")
    faulty.command.write(
        "profile.toml",
        f'python = "env LD_PRELOAD={library} FAKETIME=+1h FAKETIME_DONT_FAKE_MONOTONIC=1 {sys.executable}"\n' + PROFILE,
    )
    began = time.time()
    job = faulty.held()
    # within the grace, by the file server's clock, whatever the node's says; and a second launch finds it held
    assert faulty.counts(ISOSWEEP_GRACE="0.5") == {"running": 1, "pending": 2}
    assert not faulty.launch(ISOSWEEP_GRACE="0.5")
    faults.kill_job(faulty.cluster, job)
    faulty.until(lambda: faulty.counts() == {"lost": 3})
    assert faulty.heal() == {"done": 3}
    started = [json_of(path)["started_at"] for path in faulty.store.root.glob("records/*/*.arrow")]
    assert min(started) > began + 3000


def json_of(path: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(read_record(path).column("provenance")[0].as_py())
    return found


@pytest.mark.slow
@fault(
    "python, or the set-up, missing on the node",
    "the job's own last line names it; nothing is tried for ever",
    "--only failed",
)
def test_python_missing_on_the_node(faulty: Faulty) -> None:
    faulty.command.write("profile.toml", 'python = "/nowhere/python3"\n' + PROFILE)
    faulty.launch("--runs-per-task", "3")
    faulty.until(lambda: faulty.counts() == {"failed": 3})
    (group,) = faulty.command.json("status", "faulty.yaml", check=3)["failures"]
    assert "before any run could begin" in group["cause"]
    assert "/nowhere/python3" in group["cause"]
    faulty.command.write("profile.toml", PROFILE)
    assert not faulty.launch()
    assert faulty.heal("--only", "failed") == {"done": 3}


@fault("a run that takes its whole job down, each time", "after two silent deaths it has failed; its siblings end", "–")
@pytest.mark.slow
def test_run_that_kills_its_job(faulty: Faulty) -> None:
    """The node is lost with it, twice, and Slurm requeues the job each time."""
    job = faulty.held()

    def works(restart: int) -> bool:
        return int(faulty.cluster.job(job).get("Restarts", 0)) == restart and faulty.child_works()

    for restart in range(2):
        faulty.until(partial(works, restart))
        node = faulty.cluster.job(job)["NodeList"]
        faulty.cluster.kill_node(node)
        faulty.cluster.start_node(node)
    faulty.go()
    faulty.until(lambda: faulty.counts() == {"done": 2, "failed": 1})
    (group,) = faulty.command.json("status", "faulty.yaml", check=3)["failures"]
    assert "died 2 times with this run in hand" in group["cause"]
    assert faulty.heal() == {"done": 2, "failed": 1}
