"""Real kills: whatever dies, and whenever, the next launch finds what is left and does each run once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import faults
import processes
import pytest
from conftest import Command

from isosweep.store.launches import list_launches
from isosweep.store.records import read_record
from isosweep.store.status import look
from isosweep.store.store import Store

from .conftest import TROUBLE

HELD = """\
name: held
network: {module: "trouble:build", mode: [fine, sleeps]}
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6}, jacobian: {samples: 2}}
seeds: 3
"""


@pytest.fixture
def held(command: Command) -> Command:
    """A folder with a sweep of six runs, three of which never end."""
    command.write("trouble.py", TROUBLE)
    command.write("held.yaml", HELD)
    return command


def until(condition: Callable[[], object], timeout: float = 240.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def records(command: Command) -> list[Path]:
    return list(command.folder.glob("isosweep-store/records/*/*.arrow"))


def start_and_wait_for_sleepers(held: Command) -> subprocess.Popen[str]:
    """A pool of two workers, both of which sit in runs that never end, or are about to."""
    pool = held.start(
        "launch", "held.yaml", "--local", "--workers", "2", "--runs-per-task", "1", "--where", "mode=sleeps"
    )
    until(lambda: len(list(held.folder.glob("isosweep-store/tasks/*/*.1.json"))) == 2)
    until(lambda: len(processes.children(pool.pid)) == 2)
    return pool


def test_an_interrupt_leaves_nothing_behind_and_loses_nothing(held: Command) -> None:
    pool = start_and_wait_for_sleepers(held)
    children = processes.children(pool.pid)
    pool.send_signal(signal.SIGINT)
    pool.communicate(timeout=240)
    assert pool.returncode == 130
    assert not any(processes.alive(child) for child in children)
    # the two in hand were given up without a trace, the third had not been begun
    assert held.json("status", "held.yaml", check=4)["counts"] == {"missing": 6}
    assert held.json("launch", "held.yaml", "--local", "--dry-run")["runs"] == 6


@pytest.mark.whole
def test_a_launcher_killed_outright_takes_its_workers_along_and_frees_its_runs(held: Command) -> None:
    pool = start_and_wait_for_sleepers(held)
    children = processes.children(pool.pid)
    pool.kill()
    pool.communicate()
    until(lambda: not any(processes.alive(child) for child in children))
    # seen at once, changed by nobody but a launch
    assert held.json("status", "held.yaml", check=4)["counts"] == {"lost": 3, "missing": 3}
    planned = held.json("launch", "held.yaml", "--local", "--dry-run")
    assert planned["runs"] == 6
    done = held.json("launch", "held.yaml", "--local", "--where", "mode=fine", check=4)
    assert done["runs"] == 3
    assert len(records(held)) == 3


@pytest.mark.whole
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_launchers_killed_at_random_instants_never_lose_or_double_a_run(command: Command, seed: int) -> None:
    draw = random.Random(seed)
    # Twice, not three times: a run that is in hand whenever its launcher dies has failed at the third death, and on a
    # slow machine the first two runs are.
    for _ in range(2):
        launcher = command.start("launch", "tiny.yaml", "--local", "--workers", "2", "--runs-per-task", "1")
        time.sleep(draw.uniform(0.1, 6.0))
        launcher.kill()
        launcher.communicate()
    command.run("launch", "tiny.yaml", "--local", "--workers", "2")
    assert command.json("status", "tiny.yaml")["counts"] == {"done": 4}
    found = [read_record(path).column("run_id")[0].as_py() for path in records(command)]
    assert len(found) == len(set(found)) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_children_start_is_no_failure_of_a_run(held: Command, number: int) -> None:
    """Ctrl-C reaches the whole group of a terminal, `timeout` and `kill` the launcher alone: both end it cleanly. The
    runs never end, so that the signal is never too late.
    """
    store = held.folder / "isosweep-store"
    words = ("launch", "held.yaml", "--local", "--workers", "2", "--runs-per-task", "1", "--where", "mode=sleeps")
    signalled, text = faults.run_and_kill(
        held.arguments(*words),
        lambda: list(store.glob("tasks/*/*.1.json")),
        number=number,
        env=os.environ,
        cwd=held.folder,
    )
    assert signalled
    assert "interrupted" in text
    picture = look(Store(store))
    assert not picture.open_tasks
    assert not picture.attempts


@pytest.mark.whole
def test_a_store_that_fills_up_stops_the_pool_and_the_next_launch_goes_on(held: Command) -> None:
    try:
        with faults.small_disk(held.folder / "disk", "16m") as disk:
            words = ("launch", "held.yaml", "--local", "--workers", "1", "--store", "disk/store")
            pool = held.start(*words, "--set", "network.mode=[waits]")
            until(lambda: list((disk.path / "store").glob("tasks/*/*.1.json")))
            disk.fill()
            (held.folder / "go").touch()
            out, err = pool.communicate(timeout=240)
            assert pool.returncode == 4, out + err
            assert "No space left" in err
            assert "Traceback" not in err
            assert not list((disk.path / "store").glob("records/*/*"))
            assert not list((disk.path / "store").rglob(".tmp-*"))
            disk.free()
            held.run(*words, "--set", "network.mode=[waits]")
            for path in (disk.path / "store").glob("records/*/*.arrow"):
                read_record(path)
    except faults.FaultUnavailable as error:
        if os.environ.get("ISOSWEEP_REQUIRE_SLURM") == "1":
            raise
        pytest.skip(str(error))


def test_a_child_that_cannot_import_says_so_and_blames_no_store(command: Command) -> None:
    (command.folder / "broken" / "torch").mkdir(parents=True)
    (command.folder / "broken" / "torch" / "__init__.py").write_text("raise OSError('libtorch.so: cannot open')\n")
    command.environment |= {"PYTHONPATH": str(command.folder / "broken")}
    command.run("launch", "tiny.yaml", "--local", "--workers", "1", check=3)
    (group,) = command.json("status", "tiny.yaml", check=3)["failures"]
    assert group["runs"] == 4
    assert "libtorch.so: cannot open" in group["cause"]
    said = command.json("logs", group["samples"][0], "--failed")["attempts"]
    assert "Traceback" in said[0]["traceback"]


def test_two_launchers_at_once_share_the_runs(command: Command) -> None:
    both = [
        command.start("launch", "tiny.yaml", "--local", "--workers", "1", "--runs-per-task", "1", "--set", "seeds=4")
        for _ in range(2)
    ]
    for launcher in both:
        launcher.communicate(timeout=240)
    assert command.json("status", "tiny.yaml", "--set", "seeds=4")["counts"] == {"done": 8}
    held = Counter(
        run
        for launch in list_launches(Store(command.folder / "isosweep-store"))
        for task in launch.tasks
        for run in task
    )
    assert set(held.values()) == {1}
    assert sum(held.values()) == 8


def test_a_child_does_not_outlive_its_supervisor_on_closed_pipe(command: Command) -> None:
    read, write = os.pipe()
    child = subprocess.Popen(
        [*command.arguments()[:2], "isosweep.cluster.child", str(os.getpid())],
        stdin=read,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read)
    os.close(write)
    assert child.wait(timeout=240) == 0
