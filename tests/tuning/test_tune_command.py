"""`isosweep tune` from a shell: a small search with real runs, stopped and begun again."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from isosweep.store.records import list_records, read_record
from isosweep.store.store import Store
from isosweep.sweep import load

SPEC = """\
name: searched
network: {depth: 2, width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 200, validation: 100}
measure: {jacobian: {samples: 2}}
train: {epochs: 2, batch: 50, optimizer: adam, learning_rate: 1e-5}
seeds: 2
tune: {ranges: {learning_rate: [1e-6, 1]}, trials: 6, batch: 3}
"""


@pytest.fixture
def tune(command: Command) -> Command:
    command.write("searched.yaml", SPEC)
    return command


@pytest.mark.whole
def test_a_search_from_the_file_to_the_found_file(tune: Command) -> None:
    told = tune.json("tune", "searched.yaml", "--local", "--workers", "1")
    assert len(told["trials"]) == 6
    assert told["trials"][0]["values"] == {"learning_rate": 1e-5}  # the file's own
    assert told["best"]["value"] == max(trial["value"] for trial in told["trials"])
    assert told["best"]["value"] > told["trials"][0]["value"]
    # the trials are runs of the store, and the found file's runs are among them
    records = list_records(Store(tune.folder / "isosweep-store"))
    assert len(records) == 12
    runs = load(tune.folder / told["out"]).runs()
    assert {run.train.learning_rate for run in runs} == {told["best"]["values"]["learning_rate"]}
    assert {run.id for run in runs} <= set(records)
    # begun again nothing is computed, and the same is found
    before = {path: path.stat().st_mtime_ns for path in (tune.folder / "isosweep-store" / "records").rglob("*.arrow")}
    again = tune.json("tune", "searched.yaml", "--local", "--force")
    assert again == told
    after = {path: path.stat().st_mtime_ns for path in (tune.folder / "isosweep-store" / "records").rglob("*.arrow")}
    assert after == before
    # more trials go on from there; the file that is there is not replaced unasked
    refused = tune.run("tune", "searched.yaml", "--local", "--trials", "7", check=2)
    assert "searched-tuned.yaml is there already" in refused.stderr


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_finds_the_same(tune: Command, tmp_path: Path) -> None:
    arguments = ("tune", "searched.yaml", "--local", "--workers", "1", "--json")
    disturbed = tune.start(*arguments)
    store = Store(tune.folder / "isosweep-store")
    deadline = time.monotonic() + 240
    while len(list_records(store)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    disturbed.send_signal(signal.SIGKILL)
    disturbed.communicate()
    assert 3 <= len(list_records(store)) < 12
    assert not (tune.folder / "searched-tuned.yaml").exists()
    resumed = tune.json(*arguments[:-1])
    whole = tune.json(*arguments[:-1], "--store", "another", "--out", "other.yaml")
    assert resumed["trials"] == whole["trials"]
    assert (tune.folder / "searched-tuned.yaml").read_text() == (tune.folder / "other.yaml").read_text()


def test_a_dry_run_says_what_would_be_searched_and_writes_nothing(tune: Command) -> None:
    shown = tune.run("tune", "searched.yaml", "--dry-run", "--trials", "9").stdout
    assert "9 trials of 2 runs each, 3 at a time" in shown
    assert "learning_rate  1e-06 to 1, log-uniform" in shown
    assert tune.json("tune", "searched.yaml", "-n")["runs_per_trial"] == 2
    assert sorted(path.name for path in tune.folder.iterdir()) == ["searched.yaml", "tiny.yaml"]


def test_every_trial_diverging_is_an_error_that_says_so(tune: Command) -> None:
    done = tune.run(
        "tune",
        "searched.yaml",
        "--local",
        "--workers",
        "1",
        *("--set", "tune={ranges: {learning_rate: [1e30, 1e38]}, trials: 2, batch: 2}"),
        *("--set", "train.optimizer=sgd", "--set", "network.activation=linear", "--set", "seeds=1"),
        check=3,
    )
    assert "every trial diverged" in done.stderr
    assert not (tune.folder / "searched-tuned.yaml").exists()


def test_a_column_that_is_not_measured_at_that_epoch(tune: Command) -> None:
    done = tune.run(
        "tune",
        "searched.yaml",
        "--local",
        "--workers",
        "1",
        *("--set", "tune.objective=train_loss", "--set", "tune.epoch=1", "--set", "tune.trials=1", "--set", "seeds=1"),
        check=3,
    )
    assert "has no train_loss at epoch 1; it has one at 0, 2" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tiny.yaml",), "the file has no section tune"),
        (("searched.yaml", "--grid", "0"), "there is no grid 0"),
        (("searched.yaml", "--out", "nowhere/x.yaml"), "there is no folder"),
        (("searched.yaml", "--device", "tpu", "--local"), "expected cpu, cuda or auto"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(tune: Command, words: tuple[str, ...], said: str) -> None:
    done = tune.run("tune", *words, check=2)
    assert said in done.stderr
    assert not (tune.folder / "isosweep-store" / "records").exists()


PROFILE = """\
device = "cpu"
[sbatch]
time = "00:10:00"
cpus-per-task = 1
"""


@pytest.mark.whole
@pytest.mark.slurm
def test_on_a_cluster_trials_are_jobs_and_find_what_is_found_here(tune: Command, slurm: PrivateSlurm) -> None:
    tune.write("profile.toml", PROFILE)
    tune.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    few = ("--set", "tune.trials=2", "--set", "tune.batch=2", "--set", "seeds=1")
    there = tune.json("tune", "searched.yaml", "--profile", "profile.toml", *few)
    records = [read_record(path).to_pylist()[0] for path in (tune.folder / "isosweep-store").rglob("*.arrow")]
    assert len(records) == 2
    assert all(json.loads(record["provenance"])["slurm_job"] for record in records)
    here = tune.json("tune", "searched.yaml", "--local", "--store", "here", "--out", "here.yaml", *few)
    assert there["trials"] == here["trials"]


def test_a_run_that_fails_ends_the_search_with_its_name(tune: Command) -> None:
    tune.write(
        "mine.py",
        "import torch\n\ndef build(inputs, classes):\n    raise ArithmeticError('planted')\n",
    )
    done = tune.run(
        *("tune", "searched.yaml", "--local", "--workers", "1", "--set", "tune.trials=1", "--set", "seeds=1"),
        *("--set", "network={module: 'mine:build'}"),
        check=3,
    )
    assert "1 run of this batch of trials did not end (1 failed)" in done.stderr
    assert "isosweep logs " in done.stderr
    assert not (tune.folder / "searched-tuned.yaml").exists()


@pytest.mark.slurm
def test_a_large_search_is_not_submitted_unasked(tune: Command, slurm: PrivateSlurm) -> None:
    tune.write("profile.toml", PROFILE)
    tune.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    done = tune.run("tune", "searched.yaml", "--profile", "profile.toml", "--trials", "1001", check=2)
    assert "1001 tasks" in done.stderr
    assert "need --yes" in done.stderr
    assert not (tune.folder / "isosweep-store" / "launches").exists()
