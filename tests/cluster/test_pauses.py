"""A run in training is paused and goes on, to the same last bit: in the pool, and on a node told to go."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import faults
import pytest
from conftest import Command
from private_slurm import PrivateSlurm

import isosweep
from isosweep.store.records import read_record
from isosweep.store.status import look
from isosweep.store.store import Store

from .conftest import PROFILE

SPEC = """\
name: pauses
network: {depth: 2, width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 64}
train: {epochs: 2000, batch: 8, optimizer: sgd, learning_rate: 0.01}
measure: {fisher: {samples: 4}}
seeds: 1
"""
# A checkpoint after more than a second of the several that the training takes.
CLOCK = "checkpoint_minutes = 0.02\n"


def digests(folder: Path) -> list[str]:
    paths = folder.glob("isosweep-store/records/*/*.arrow")
    return [str(read_record(path).column("digest")[0].as_py()) for path in paths]


def stamps(store: Store) -> dict[Path, int]:
    """The checkpoints there are, and when each was written."""
    found = {}
    for path in store.checkpoints.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a later one has taken its place
            if path.is_file():
                found[path] = path.stat().st_mtime_ns
    return found


@pytest.mark.whole
def test_an_interrupted_pool_keeps_what_was_trained(command: Command) -> None:
    """The first checkpoint is the clock's and says that the run trains; the interrupt's is another."""
    command.write("pauses.yaml", SPEC)
    command.write("clock.toml", CLOCK + PROFILE)
    words = ("launch", "pauses.yaml", "--local", "--workers", "1", "--profile", "clock.toml")
    pool = command.start(*words)
    store = Store(command.folder / "isosweep-store")
    faults.wait_until(lambda: pool.poll() is not None or stamps(store), 240)
    before = stamps(store)
    pool.send_signal(signal.SIGINT)
    _, said = pool.communicate(timeout=240)
    assert pool.returncode == 130, said
    assert before
    assert stamps(store)
    assert stamps(store) != before
    picture = look(store)
    assert not picture.attempts
    assert not picture.open_tasks
    command.run(*words)
    (run,) = isosweep.load(command.folder / "pauses.yaml").runs()
    assert digests(command.folder) == [isosweep.execute(run).digest]
    assert not store.checkpoints_of(run.id).exists()


@pytest.mark.slow
def test_a_checkpoint_by_the_clock_of_the_profile_outlives_a_kill(command: Command) -> None:
    command.write("pauses.yaml", SPEC)
    command.write("often.toml", 'device = "cpu"\ncheckpoint_minutes = 0.005\n')
    words = ("launch", "pauses.yaml", "--local", "--workers", "1", "--profile", "often.toml")
    pool = command.start(*words)
    store = Store(command.folder / "isosweep-store")
    faults.wait_until(lambda: [p for p in store.checkpoints.rglob("*") if p.is_file()], 240)
    pool.kill()
    pool.communicate()
    assert not look(store).records
    command.run(*words)
    (run,) = isosweep.load(command.folder / "pauses.yaml").runs()
    assert digests(command.folder) == [isosweep.execute(run).digest]


@pytest.mark.slow
@pytest.mark.slurm
def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(command: Command, slurm: PrivateSlurm) -> None:
    command.write("profile.toml", CLOCK + PROFILE)
    command.write("pauses.yaml", SPEC)
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    (job,) = command.json("launch", "pauses.yaml", "--profile", "profile.toml")["jobs"]
    store = Store(command.folder / "isosweep-store")
    faults.wait_until(lambda: stamps(store), 240)
    before = stamps(store)
    slurm.requeue(job)
    faults.wait_until(lambda: stamps(store) != before, 240)
    faults.wait_until(lambda: look(store).records, 240)
    assert not look(store).attempts
    (run,) = isosweep.load(command.folder / "pauses.yaml").runs()
    assert digests(command.folder) == [isosweep.execute(run).digest]
