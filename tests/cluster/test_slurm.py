"""What only a real Slurm can show: split arrays, cancelled jobs, a silent controller. Faults: test_faults.py."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.cluster.process import Child
from isosweep.cluster.supervisor import Supervisor
from isosweep.cluster.task import TaskRef
from isosweep.cluster.worker import SlurmTask
from isosweep.store.claims import entries_of_launch
from isosweep.store.launches import list_launches, publish_launch
from isosweep.store.status import look
from isosweep.store.store import Store
from isosweep.sweep.settings import DataSettings, JacobianSettings, MeasureSettings, NetworkSettings, Run
from isosweep.sweep.sweep import load

from .conftest import PROFILE, TROUBLE, TROUBLED

pytestmark = pytest.mark.slurm
RUN = Run(
    NetworkSettings(2, 4, "tanh"),
    DataSettings("digits", 8, "unit", 1.0, 64, 10),
    MeasureSettings(None, JacobianSettings(1)),
    0,
    "",
)
SLEEPER = TROUBLED.replace("[fine, raises, dies]", "sleeps").replace("name: troubled", "name: sleeper")


@pytest.fixture
def on_slurm(command: Command, slurm: PrivateSlurm) -> Command:
    command.write("profile.toml", PROFILE)
    command.write("trouble.py", TROUBLE)
    command.write("sleeper.yaml", SLEEPER)
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    return command


def until(condition: Callable[[], object], timeout: float = 240.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


def store(command: Command) -> Store:
    return Store(command.folder / "isosweep-store")


def counts(command: Command, spec: str, **environment: str) -> dict[str, int]:
    return dict(command.json("status", spec, check=None, **environment)["counts"])


def test_arrays_are_split_at_the_clusters_limit(on_slurm: Command) -> None:
    planned = on_slurm.json("launch", "tiny.yaml", "--profile", "profile.toml", "--runs-per-task", "1", "--dry-run")
    assert planned["arrays"] == [3, 1]  # MaxArraySize is 3 here
    done = on_slurm.json("launch", "tiny.yaml", "--profile", "profile.toml", "--runs-per-task", "1", "--wait")
    assert done["arrays"] == [3, 1]
    assert len(done["jobs"]) == 2
    assert done["states"] == {"done": 4}
    # one claim and one end for each task, by different jobs
    (launch,) = list_launches(store(on_slurm))
    entries = entries_of_launch(store(on_slurm), launch.token)
    assert {(e.number, e.kind) for e in entries.values()} == {(2, "end")}
    assert len({e.owner["job"] for e in entries.values()}) == 4


@pytest.mark.whole
def test_cancel_ends_the_jobs_and_its_runs_are_taken_again_only_by_name(on_slurm: Command, slurm: PrivateSlurm) -> None:
    on_slurm.run("launch", "sleeper.yaml", "--profile", "profile.toml", "--runs-per-task", "1")
    until(lambda: counts(on_slurm, "sleeper.yaml").get("running") == 2)
    ended = on_slurm.json("cancel", "sleeper.yaml")
    assert ended["tasks"] == 2
    assert counts(on_slurm, "sleeper.yaml") == {"cancelled": 2}
    assert on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", "--dry-run")["runs"] == 0
    assert (
        on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", "--dry-run", "--only", "cancelled")["runs"]
        == 2
    )
    until(
        lambda: (
            not [j for j in slurm.squeue() if j.id in ended["jobs"] and j.state in ("RUNNING", "COMPLETING", "PENDING")]
        )
    )


@pytest.mark.whole
def test_jobs_ended_behind_our_back_are_named_by_what_slurm_says(on_slurm: Command, slurm: PrivateSlurm) -> None:
    """scancel without isosweep: no accounting is needed, and nobody waits for the grace period."""
    job = on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", "--runs-per-task", "1")["jobs"][0]
    until(lambda: counts(on_slurm, "sleeper.yaml").get("running") == 2)
    slurm.run("scancel", f"{job}_0")
    until(lambda: counts(on_slurm, "sleeper.yaml") == {"cancelled": 1, "running": 1})
    (group,) = on_slurm.json("status", "sleeper.yaml", check=None)["failures"]
    assert group["cause"] == f"Slurm says CANCELLED of its job {job}_0"
    # a launch gives the task up and leaves the run alone until it is named
    assert on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml")["runs"] == 0
    planned = on_slurm.run("launch", "sleeper.yaml", "--profile", "profile.toml", "--dry-run", "--only", "cancelled")
    assert f"cancelled, attempt 2: Slurm says CANCELLED of its job {job}_0" in planned.stderr
    on_slurm.run("cancel", "sleeper.yaml")


@pytest.mark.whole
def test_tasks_that_were_never_submitted_are_lost_after_the_grace_and_only_then(on_slurm: Command) -> None:
    place = store(on_slurm).create()
    runs = load(on_slurm.folder / "sleeper.yaml").runs()
    about = {"backend": "slurm", "cluster": "isosweep", "owner": {}, "arrays": [1], "at": time.time()}
    assert publish_launch(place, 1, "000001-never", [runs], about) is not None
    assert counts(on_slurm, "sleeper.yaml") == {"pending": 2}
    assert on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", "--dry-run")["runs"] == 0
    time.sleep(1.1)
    assert counts(on_slurm, "sleeper.yaml", ISOSWEEP_GRACE="1") == {"lost": 2}
    again = on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", ISOSWEEP_GRACE="1")
    assert again["runs"] == 2
    on_slurm.run("cancel", "sleeper.yaml")


@pytest.mark.whole
def test_a_silent_controller_is_no_evidence(command: Command) -> None:
    """Status answers from the store and says that Slurm does not; a launch frees nothing and exits with 5."""
    with PrivateSlurm(nodes=1) as cluster:
        command.write("profile.toml", PROFILE)
        command.write("trouble.py", TROUBLE)
        command.write("sleeper.yaml", SLEEPER)
        command.environment |= {"SLURM_CONF": str(cluster.conf), "PATH": cluster.env()["PATH"]}
        command.run("launch", "sleeper.yaml", "--profile", "profile.toml")
        until(lambda: counts(command, "sleeper.yaml").get("running") == 1)
        cluster.stop_controller()
        # commands alone give up sooner: nobody is there to answer them, however long they wait
        conf = cluster.conf.read_text()
        assert "\nMessageTimeout=60\n" in conf
        cluster.conf.write_text(conf.replace("\nMessageTimeout=60\n", "\nMessageTimeout=2\n"))
        seen = command.json("status", "sleeper.yaml", check=4, ISOSWEEP_GRACE="0.1")
        assert seen["scheduler_silent"]
        assert seen["counts"] == {"running": 1, "pending": 1}
        assert (
            "isosweep:"
            in command.run("launch", "sleeper.yaml", "--profile", "profile.toml", check=5, ISOSWEEP_GRACE="0.1").stderr
        )
        assert [
            e.kind
            for launch in list_launches(store(command))
            for e in entries_of_launch(store(command), launch.token).values()
        ] == ["claim"]


@pytest.mark.whole
def test_a_surrounding_job_does_not_leak_into_the_submission(on_slurm: Command) -> None:
    """SLURM_* of a job that launches from within would set limits and CPU bindings of what it submits; a user's own
    SBATCH_* would win over the script, and SQUEUE_* hide living jobs, whose tasks would look dead.
    """
    place = on_slurm.folder / 'it\'s "another" ü'
    done = on_slurm.json(
        "launch",
        "tiny.yaml",
        "--profile",
        "profile.toml",
        "--wait",
        "--store",
        place,
        SLURM_JOB_ID="77",
        SLURM_CPU_BIND="mask_cpu:0x1",
        SLURM_NTASKS="5",
        SBATCH_JOB_NAME="another",
        SBATCH_TIMELIMIT="1",
        SQUEUE_NAMES="another",
        SQUEUE_PARTITION="high",
        ISOSWEEP_GRACE="0.5",
    )
    assert done["states"] == {"done": 4}
    assert "_0_log.out" in on_slurm.run("logs", next(iter(done_runs(place))), "--store", place).stdout
    record = next((place / "jobs").rglob("*_submission.sh"))
    assert "--wckey" not in record.read_text()
    assert "--requeue" in record.read_text()


def done_runs(place: Path) -> list[str]:
    return [path.name.split(".")[0] for path in place.glob("records/*/*.arrow")]


def warned_after(seconds: float, on: Path, limit: float = 600.0) -> tuple[Store, str]:
    """A task whose job was warned by Slurm after so long, with its first run in hand, and could not be requeued."""
    place = Store(on / f"store-{seconds}-{limit}")
    run = replace(RUN, id="a" * 20)
    about = {"backend": "slurm", "cluster": "c", "owner": {}, "arrays": [1]}
    assert publish_launch(place, 1, "000001-abc", [[run]], about) is not None
    reference = TaskRef(str(place.root), 1, "000001-abc", 0)
    supervisor = Supervisor(Child(), {"kind": "slurm", "job": "7_0", "restart": 0}, returns=True)
    supervisor.claim(place, reference, [run])
    supervisor.in_hand = run
    SlurmTask(reference, limit, 90)._give_back(supervisor, reference, seconds, [signal.SIGUSR2])
    return place, look(place).state(run.id).status


def test_a_warned_job_that_cannot_be_requeued_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scontrol is missing in many a container. Only a run that had the wall time to itself has timed out."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for seconds, limit, expected in [
        (450, 600, "timeout"),
        (30, 600, "missing"),
        (5, 120, "missing"),
        (25, 120, "timeout"),
    ]:
        place, status = warned_after(seconds, tmp_path, limit)
        assert (seconds, limit, status) == (seconds, limit, expected)
        assert not look(place).open_tasks


def test_many_tasks_off_a_terminal_need_a_word(on_slurm: Command) -> None:
    many = ["launch", "tiny.yaml", "--profile", "profile.toml", "--set", "seeds=600", "--runs-per-task", "1"]
    assert "--yes" in on_slurm.run(*many, check=2).stderr
    assert not store(on_slurm).root.exists()
