"""What only a real Slurm can show: split arrays, refusals, requeues, cancelled jobs, a controller that is silent."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.store.claims import entries_of_launch
from isosweep.store.launches import list_launches
from isosweep.store.store import Store

from .conftest import PROFILE, TROUBLE, TROUBLED

pytestmark = pytest.mark.slurm
SLEEPER = TROUBLED.replace("[fine, raises, dies]", "sleeps").replace("name: troubled", "name: sleeper")


@pytest.fixture
def on_slurm(command: Command, slurm: PrivateSlurm) -> Command:
    command.write("profile.toml", PROFILE)
    command.write("trouble.py", TROUBLE)
    command.write("sleeper.yaml", SLEEPER)
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    return command


def until(condition: Callable[[], object], timeout: float = 90.0) -> None:
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


@pytest.mark.parametrize(
    ("option", "said"),
    [("partition=nowhere", "partition"), ("gres=unobtainium:1", "gres"), ("no-such-option=1", "no-such-option")],
)
def test_a_refused_submission_says_why_and_holds_nothing(on_slurm: Command, option: str, said: str) -> None:
    refused = on_slurm.run("launch", "tiny.yaml", "--profile", "profile.toml", "--sbatch", option, check=5)
    assert said in refused.stderr.lower()
    assert counts(on_slurm, "tiny.yaml").keys() <= {"lost", "missing"}
    assert on_slurm.json("launch", "tiny.yaml", "--profile", "profile.toml", "--dry-run")["runs"] == 4


def test_a_requeued_job_goes_on_with_its_task(on_slurm: Command, slurm: PrivateSlurm) -> None:
    on_slurm.write("both.yaml", TROUBLED.replace("[fine, raises, dies]", "[fine, sleeps]").replace("troubled", "both"))
    job = on_slurm.json("launch", "both.yaml", "--profile", "profile.toml", "--runs-per-task", "4")["jobs"][0]
    until(lambda: counts(on_slurm, "both.yaml").get("running") == 1)
    (launch,) = list_launches(store(on_slurm))
    slurm.requeue(job)
    until(lambda: entries_of_launch(store(on_slurm), launch.token)[0].owner.get("restart") == 1)
    assert entries_of_launch(store(on_slurm), launch.token)[0].kind == "claim"
    on_slurm.run("cancel", "both.yaml")
    assert counts(on_slurm, "both.yaml").get("running") is None


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


def test_jobs_that_vanish_are_lost_after_the_grace_and_only_then(on_slurm: Command, slurm: PrivateSlurm) -> None:
    job = on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", "--runs-per-task", "1")["jobs"][0]
    until(lambda: counts(on_slurm, "sleeper.yaml").get("running") == 2)
    slurm.run("scancel", job)
    until(
        lambda: (
            not [j for j in slurm.squeue() if j.id.startswith(job) and j.state in ("RUNNING", "COMPLETING", "PENDING")]
        )
    )
    # within the grace period the tasks still count as held: squeue may be behind
    assert counts(on_slurm, "sleeper.yaml") == {"running": 2}
    assert on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", "--dry-run")["runs"] == 0
    time.sleep(1.1)
    assert counts(on_slurm, "sleeper.yaml", ISOSWEEP_GRACE="1") == {"lost": 2}
    again = on_slurm.json("launch", "sleeper.yaml", "--profile", "profile.toml", ISOSWEEP_GRACE="1")
    assert again["runs"] == 2
    on_slurm.run("cancel", "sleeper.yaml")


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


def test_a_surrounding_job_does_not_leak_into_the_submission(on_slurm: Command) -> None:
    """SLURM_* of a job that launches from within would set limits and CPU bindings of what it submits."""
    on_slurm.run(
        "launch",
        "tiny.yaml",
        "--profile",
        "profile.toml",
        "--limit",
        "1",
        "--wait",
        check=4,
        SLURM_JOB_ID="77",
        SLURM_CPU_BIND="mask_cpu:0x1",
        SLURM_NTASKS="5",
    )
    record = next((on_slurm.folder / "isosweep-store" / "jobs").rglob("*_submission.sh"))
    assert "--wckey" not in record.read_text()
    assert "--requeue" in record.read_text()


def test_many_tasks_off_a_terminal_need_a_word(on_slurm: Command) -> None:
    many = ["launch", "tiny.yaml", "--profile", "profile.toml", "--set", "seeds=600", "--runs-per-task", "1"]
    assert "--yes" in on_slurm.run(*many, check=2).stderr
    assert not store(on_slurm).root.exists()
