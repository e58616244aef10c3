"""doctor, init and gc: what they find, write and remove."""

from __future__ import annotations

import os

import faults
import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.store.launches import list_launches
from isosweep.store.status import look
from isosweep.store.store import Store


def states(found: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {one["what"]: one["state"] for one in found["findings"]}


def test_this_machine(command: Command) -> None:
    found = command.json("doctor", "--local", "--device", "cpu")
    assert set(states(found).values()) <= {"ok", "warning"}
    assert {"store: exclusive names", "store: listing", "store: clock", "here: packages", "here: the pool"} <= set(
        states(found)
    )
    assert [p.name for p in (command.folder / "isosweep-store").iterdir()] == ["store.json"]
    no_gpu = command.run("doctor", "--local", "--device", "cuda", check=5, CUDA_VISIBLE_DEVICES="-1")
    assert "PROBLEM" in no_gpu.stdout
    refused = command.run("launch", "tiny.yaml", "--local", "--device", "cuda", check=2, CUDA_VISIBLE_DEVICES="-1")
    assert "device is cuda and this machine shows no GPU" in refused.stderr
    assert not list((command.folder / "isosweep-store").glob("launches/*"))


@pytest.mark.slurm
def test_a_cluster_and_a_node_through_a_real_job(command: Command, slurm: PrivateSlurm) -> None:
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    assert command.run("init").stdout.split() == ["first.yaml", "slurm/isosweep.toml"]
    found = command.json(
        "doctor", "--profile", "isosweep", "--device", "auto", "--sbatch", "mem=500M", "--sbatch", "cpus-per-task=1"
    )
    seen = states(found)
    assert seen["Slurm: accounting"] == "warning"
    for what in ("Slurm: controller", "Slurm: limits", "Slurm: profile", "node: a job runs", "node: the store"):
        assert seen[what] == "ok"
    assert seen["node: torch"] == seen["node: scontrol"] == seen["node: clock"] == "ok"
    assert found["profile_values"]["sbatch.mem"] == {"value": "500M", "origin": "flag --sbatch"}
    assert not list((command.folder / "isosweep-store").glob("jobs/*"))


@pytest.mark.slurm
def test_what_is_wrong_is_said_with_its_remedy(command: Command, slurm: PrivateSlurm) -> None:
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    command.write("bad.toml", 'python = "/nowhere/python3"\n[sbatch]\nmem = "500M"\ntime = "5"\n')
    found = command.json("doctor", "--profile", "bad.toml", check=5)["findings"]
    (bad,) = [one for one in found if one["state"] == "problem"]
    assert bad["what"] == "node: a job runs"
    assert "/nowhere/python3" in bad["said"]
    assert "python" in bad["remedy"]
    found = command.json("doctor", "--sbatch", "partition=nowhere", check=5)["findings"]
    (bad,) = [one for one in found if one["state"] == "problem"]
    assert "partition" in bad["said"]
    # a job that cannot start is given up after a while, and cancelled
    before = {job.id for job in slurm.squeue()}
    found = command.json("doctor", "--sbatch", "begin=now+1hour", "--sbatch", "mem=500M", "--patience", "2")["findings"]
    assert any("still PENDING" in one["said"] for one in found)
    late = [job for job in slurm.squeue() if job.id not in before]
    assert {job.state for job in late} == {"CANCELLED"}
    # a controller that hangs
    with slurm.hanging_controller():
        said = command.run("doctor", check=5, ISOSWEEP_SLURM_TIMEOUT="2").stdout
    assert "no answer within 2 s" in said


def test_init_writes_what_a_launch_takes_and_nothing_over_it(command: Command) -> None:
    command.run("init", "here", "--name", "mine")
    assert "is there already" in command.run("init", "here", "--name", "mine", check=2).stderr
    inside = Command(command.folder / "here")
    planned = inside.json("launch", "first.yaml", "--profile", "mine", "--local", "--dry-run")
    assert planned["runs"] == 16
    assert planned["profile_values"]["sbatch.time"]["origin"] == "project slurm/mine.toml"


def test_gc_removes_what_nobody_needs_and_nothing_else(done: Command) -> None:
    done.run("launch", "tiny.yaml", "--local")  # closes the first
    store = Store(done.folder / "isosweep-store")
    (launch,) = list_launches(store)
    run = launch.tasks[0][0]
    old, young = store.records / ".tmp-old", store.records / ".tmp-young"
    old.touch()
    young.touch()
    faults.age(old, 2 * 86400)
    for one in (run, "f" * 20):
        store.checkpoints_of(one).mkdir(parents=True)
        (store.checkpoints_of(one) / "7").write_bytes(b"x" * 100)
    before = {p for p in store.root.rglob("*") if p.is_file()}
    planned = done.json("gc", "--dry-run")
    assert {p for p in store.root.rglob("*") if p.is_file()} == before
    kinds = {kind: found["entries"] for kind, found in planned["kinds"].items()}
    assert kinds == {"temporaries": 1, "checkpoints": 1, "claims": 1, "logs": 0, "superseded": 0}
    done.run("gc", "--only", "temporaries,checkpoints")
    assert not old.exists()
    assert young.exists()
    assert not store.checkpoints_of(run).exists()
    assert store.checkpoints_of("f" * 20).exists()
    assert done.json("gc", "--older-than", "0")["kinds"]["logs"]["entries"] == 1
    assert not (store.tasks / launch.token).exists()
    assert look(store).states(r for t in launch.tasks for r in t).keys()
    assert done.json("status", "tiny.yaml")["counts"] == {"done": 4}
    assert "expected some of" in done.run("gc", "--only", "records", check=2).stderr


def test_gc_leaves_a_launch_that_is_open_alone(command: Command) -> None:
    command.run("launch", "tiny.yaml", "--local", "--limit", "1", check=4)
    store = Store(command.folder / "isosweep-store")
    assert command.json("gc", "--older-than", "0")["kinds"]["claims"]["entries"] == 0
    assert list(store.tasks.iterdir())


def test_another_users_store_is_not_tidied(command: Command) -> None:
    store = Store(command.folder / "isosweep-store").create()
    (store.root / "store.json").write_text(f'{{"format": 1, "uid": {os.getuid() + 1}}}')
    assert "belongs to user id" in command.run("gc", check=2).stderr
    command.run("gc", "--dry-run")
