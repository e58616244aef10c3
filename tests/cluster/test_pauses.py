"""A run in training is paused and goes on, to the same last bit: in the pool, and on a node told to go."""

from __future__ import annotations

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
train: {epochs: EPOCHS, batch: 8, optimizer: sgd, learning_rate: 0.01}
measure: {fisher: {samples: 4}}
seeds: 1
"""


def digests(folder: Path) -> list[str]:
    paths = folder.glob("isosweep-store/records/*/*.arrow")
    return [str(read_record(path).column("digest")[0].as_py()) for path in paths]


@pytest.mark.whole
def test_an_interrupted_pool_keeps_what_was_trained(command: Command) -> None:
    command.write("pauses.yaml", SPEC.replace("EPOCHS", "400"))
    pool = command.start("launch", "pauses.yaml", "--local", "--workers", "1")
    store = Store(command.folder / "isosweep-store")
    # the run is in hand, and has come as far as its training: the measurement at initialisation is its first step
    faults.wait_until(lambda: list(store.root.glob("tasks/*/*.1.json")), 120)
    faults.wait_until(lambda: list(store.root.glob("jobs/*/pool.log")), 120)
    checkpoint = store.checkpoints
    asked = 0
    while pool.poll() is None and not list(checkpoint.rglob("*")) and asked < 1:
        faults.wait_until(lambda: pool.poll() is not None or in_training(pool.pid), 120)
        pool.send_signal(signal.SIGINT)
        asked += 1
        pool.wait(timeout=120)
    pool.communicate()
    assert pool.returncode == 130
    assert [path for path in checkpoint.rglob("*") if path.is_file()]
    picture = look(store)
    assert not picture.attempts
    assert not picture.open_tasks
    command.run("launch", "pauses.yaml", "--local", "--workers", "1")
    (run,) = isosweep.load(command.folder / "pauses.yaml").runs()
    assert digests(command.folder) == [isosweep.execute(run).digest]
    assert not store.checkpoints_of(run.id).exists()


@pytest.mark.slow
def test_a_checkpoint_by_the_clock_of_the_profile_outlives_a_kill(command: Command) -> None:
    command.write("pauses.yaml", SPEC.replace("EPOCHS", "400"))
    command.write("often.toml", 'device = "cpu"\ncheckpoint_minutes = 0.005\n')
    words = ("launch", "pauses.yaml", "--local", "--workers", "1", "--profile", "often.toml")
    pool = command.start(*words)
    store = Store(command.folder / "isosweep-store")
    faults.wait_until(lambda: [p for p in store.checkpoints.rglob("*") if p.is_file()], 120)
    pool.kill()
    pool.communicate()
    assert not look(store).records
    command.run(*words)
    (run,) = isosweep.load(command.folder / "pauses.yaml").runs()
    assert digests(command.folder) == [isosweep.execute(run).digest]


def in_training(pool: int) -> bool:
    """Whether the pool's child has torch loaded and works: it has mapped the library, and used two seconds since."""
    import processes

    for child in processes.children(pool):
        try:
            maps = Path(f"/proc/{child}/maps").read_text()
            ticks = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if "libtorch_cpu" in maps and int(ticks[11]) > 400:
            return True
    return False


@pytest.mark.slow
@pytest.mark.slurm
def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(command: Command, slurm: PrivateSlurm) -> None:
    command.write("profile.toml", PROFILE)
    command.write("pauses.yaml", SPEC.replace("EPOCHS", "1500"))
    command.environment |= {"SLURM_CONF": str(slurm.conf), "PATH": slurm.env()["PATH"]}
    (job,) = command.json("launch", "pauses.yaml", "--profile", "profile.toml")["jobs"]
    store = Store(command.folder / "isosweep-store")
    faults.wait_until(lambda: look(store).in_hand, 120)

    def works() -> bool:
        found = [p.pid for p in slurm.job_processes() if "isosweep.cluster.child" in faults._command_line(p.pid)]
        return any(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) > 400 for pid in found)

    faults.wait_until(works, 120)
    slurm.requeue(job)
    faults.wait_until(lambda: [p for p in store.checkpoints.rglob("*") if p.is_file()], 60)
    faults.wait_until(lambda: look(store).records, 180)
    assert not look(store).attempts
    (run,) = isosweep.load(command.folder / "pauses.yaml").runs()
    assert digests(command.folder) == [isosweep.execute(run).digest]
