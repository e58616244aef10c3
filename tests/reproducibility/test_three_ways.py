"""One sweep three times: alone; packed and shuffled with other thread counts; on a real Slurm that preempts it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.store.claims import entries_of_launch
from isosweep.store.launches import list_launches
from isosweep.store.store import Store

pytestmark = [pytest.mark.slurm, pytest.mark.whole]

# The network waits for the word to go on, once: so long a preemption meets it.
NETWORK = """\
import os, time
import torch
from torch import nn

def build(inputs, classes, width=5):
    while os.environ.get("SLURM_JOB_ID") and not os.path.exists("go"):
        open("waiting", "w").close()
        time.sleep(0.05)
    hidden = [nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.GELU()]
    return nn.Sequential(*hidden, nn.Linear(width, classes))
"""
SPEC = """\
name: thrice
network: {module: "waits:build", width: [5, 40]}
data: {name: digits, samples: 32}
measure: {fisher: {samples: 12, layers: spectrum}, jacobian: {samples: 3}}
seeds: 3
"""
PROFILE = """\
device = "cpu"
[sbatch]
time = "00:10:00"
cpus-per-task = 1
"""


def until(condition: Callable[[], object], timeout: float = 240.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


def test_every_digest_agrees(command: Command, slurm: PrivateSlurm) -> None:
    command.write("waits.py", NETWORK)
    command.write("thrice.yaml", SPEC)
    command.write("profile.toml", PROFILE)

    # alone: one worker, one run a task, in the file's order
    command.run("launch", "thrice.yaml", "--local", "--workers", 1, "--runs-per-task", 1, "--store", "alone")

    # packed and shuffled: seeds the other way round, all in two tasks, on threads enough to disturb
    loud = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "7")
    words = ("launch", "thrice.yaml", "--local", "--store", "packed")
    command.run(*words, "--where", "seed=2", "--where", "width=40", "--workers", 1, check=None, **loud)
    command.run(*words, "--runs-per-task", 3, "--workers", 3, PYTHONHASHSEED="77", **loud)

    # on Slurm: preempted by jobs of a higher partition while a run is in hand, requeued, and done
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    command.run("launch", "thrice.yaml", "--profile", "profile.toml", "--runs-per-task", 3, "--store", "slurm")
    until(lambda: (command.folder / "waiting").exists())
    above = slurm.sbatch("--partition=high", "--exclusive", "--nodes=2", wrap="true")
    slurm.wait(above, "COMPLETED")
    (launch,) = list_launches(Store(command.folder / "slurm"))

    def restarted() -> bool:
        entries = entries_of_launch(Store(command.folder / "slurm"), launch.token)
        return any(entry.owner.get("restart") for entry in entries.values())

    until(restarted)
    (command.folder / "go").touch()
    command.run("launch", "thrice.yaml", "--profile", "profile.toml", "--store", "slurm", "--wait")

    tables: dict[str, list[dict[str, object]]] = {}
    for store in ("alone", "packed", "slurm"):
        command.run("collect", "thrice.yaml", "--store", store, "--out", f"tables-{store}", "--require-uniform")
        tables[store] = pq.read_table(command.folder / f"tables-{store}" / "runs.parquet").to_pylist()
    digests = {store: {row["run_id"]: row["digest"] for row in rows} for store, rows in tables.items()}
    assert len(set(digests["alone"].values())) == 6
    assert None not in digests["alone"].values()
    assert digests["packed"] == digests["alone"]
    assert digests["slurm"] == digests["alone"]
    assert len({row["environment_class"] for rows in tables.values() for row in rows}) == 1
    assert any(row["slurm_restart"] for row in tables["slurm"])
    assert all(row["slurm_job"] for row in tables["slurm"])
    assert {row["threads"] for row in tables["packed"]} == {1}

    # and what Slurm recorded is what is computed here
    shown = command.json("verify", "thrice.yaml", "--store", "slurm", "--sample", 3, PATH=os.environ["PATH"])
    assert shown["counts"] == {"same": 3}
    # as on Slurm what this machine recorded
    words = ("verify", "thrice.yaml", "--store", "alone", "--sample", 2, "--profile", "profile.toml")
    assert command.json(*words)["counts"] == {"same": 2}
    assert not Path(command.folder, "isosweep-store").exists()
