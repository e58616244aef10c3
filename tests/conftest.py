"""What all tests share: the command line, a small sweep, one private Slurm a session; which tests stay together."""

from __future__ import annotations

import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import private_slurm
import pytest
from command_line import Command
from hypothesis import HealthCheck, settings
from private_slurm import PrivateSlurm

TINY = """\
name: tiny
network: {depth: [2, 3], width: 8, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6}, jacobian: {samples: 2}}
seeds: 2
"""

# The examples of a law are the same in every run, and none has a time-out: a loaded machine, or an unlucky draw, fails
# nobody who changed nothing. New examples are drawn with `--hypothesis-profile explore`.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Interrupts reach the tests and what they start: a shell that starts them in the background ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Files whose tests share what takes long to make, a folder each: the browser and the pages of one sweep; a store of
# three sweeps and their archives; a database of accounts.
_TOGETHER = {
    "report": ("test_browser", "test_heat_map", "test_page", "test_spectra", "test_stored_references"),
    "reproducibility": ("test_archive", "test_verify"),
    "cluster": ("test_accounting",),
}


def _together(test: str) -> str:
    """What must stay in one process with a test: all of its folder's shared files, or nothing but itself."""
    path = PurePosixPath(test.partition("::")[0])
    return str(path.parent) if path.stem in _TOGETHER.get(path.parent.name, ()) else test


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests that share what takes long to make stay in one process; all others go wherever there is room.

    By their files: marks of groups do not reach the scheduler of xdist 3.8 under pytest 9.2
    (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _together(nodeid)

    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several processes whole lives, and what stays together, begin first: nobody is left alone with them."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (item.get_closest_marker("whole") is None, _together(item.nodeid) == item.nodeid))


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
def shared_slurm() -> Iterator[PrivateSlurm]:
    """A real Slurm of two nodes with small arrays, for the whole session; skipped, or failed with
    ISOSWEEP_REQUIRE_SLURM=1, without its programs. Tests use it as `slurm`.
    """
    private_slurm.require_slurm()
    with PrivateSlurm(max_array_size=3) as cluster:
        yield cluster


@pytest.fixture
def slurm(shared_slurm: PrivateSlurm) -> Iterator[PrivateSlurm]:
    """The session's Slurm, idle and whole, whatever became of the test before."""
    yield from borrowed(shared_slurm)


def borrowed(cluster: PrivateSlurm) -> Iterator[PrivateSlurm]:
    """Lend a cluster that others share to one test: what the test leaves in it is cleared, and told in a warning. One
    that cannot be cleared fails this test, and the next has a new one.
    """
    yield cluster
    try:
        left = cluster.clear()
    except Exception:
        cluster.renew()
        raise
    if left:
        warnings.warn(f"the test left in its Slurm: {', '.join(left)}", stacklevel=1)
