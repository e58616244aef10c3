"""What all tests share: the command line, a small sweep, one private Slurm a session; which tests stay together."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import private_slurm
import pytest
from command_line import Command
from private_slurm import PrivateSlurm

TINY = """\
name: tiny
network: {depth: [2, 3], width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6}, jacobian: {samples: 2}}
seeds: 2
"""


def pytest_configure(config: pytest.Config) -> None:
    """Interrupts reach the tests and what they start: a shell that starts them in the background ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# What takes long to make, once for all that use it: these tests share one process. The browser is one of them.
_TOGETHER = {"launched": "launched", "quickstart": "report", "browser": "report"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that share what takes long to make stay in one process; these, and whole lives, begin first, so that no
    process is left alone with them at the end. All other tests go wherever there is room.
    """
    for item in items:
        for fixture, group in _TOGETHER.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(group))
                break
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(item.iter_markers("xdist_group")))
        items.sort(key=lambda item: item.get_closest_marker("whole") is None)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command line in a new folder with `tiny.yaml`."""
    made = Command(tmp_path)
    made.write("tiny.yaml", TINY)
    return made


@pytest.fixture(scope="session")
def tiny_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `tiny.yaml` was launched; to be copied, and left as it is."""
    made = Command(tmp_path_factory.mktemp("tiny"))
    made.write("tiny.yaml", TINY)
    made.run("launch", "tiny.yaml", "--local")
    return made.folder


@pytest.fixture
def done(tiny_done: Path, tmp_path: Path) -> Command:
    """The command line in a new folder in which `tiny.yaml` is done."""
    shutil.copytree(tiny_done, tmp_path, dirs_exist_ok=True)
    return Command(tmp_path)


def keep_records(command: Command, count: int) -> None:
    """Only so many runs of the store are done any more; the others are missing."""
    for path in sorted(command.folder.glob("isosweep-store/records/*/*.arrow"))[count:]:
        path.unlink()


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    """A real Slurm of two nodes with small arrays, for the whole session; skipped, or failed with
    ISOSWEEP_REQUIRE_SLURM=1, without its programs.
    """
    private_slurm.require_slurm()
    with PrivateSlurm(max_array_size=3) as cluster:
        yield cluster
