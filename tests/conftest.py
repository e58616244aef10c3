"""What all tests share: the command line, a small sweep, one private Slurm a session; which tests stay together."""

from __future__ import annotations

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process has the browser and the pages that are made for it; all other tests go wherever there is room."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("browser"))
        elif item.path.name == "test_archive.py":  # its archive takes half a minute to make
            item.add_marker(pytest.mark.xdist_group("archive"))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command line in a new folder with `tiny.yaml`."""
    made = Command(tmp_path)
    made.write("tiny.yaml", TINY)
    return made


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    """A real Slurm of two nodes with small arrays, for the whole session; skipped, or failed with
    ISOSWEEP_REQUIRE_SLURM=1, without its programs.
    """
    private_slurm.require_slurm()
    with PrivateSlurm(max_array_size=3) as cluster:
        yield cluster
