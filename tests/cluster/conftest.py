"""The two ways to run a sweep, behind one face: what the contract tests are written against."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Command
from private_slurm import PrivateSlurm

from .faulty import PROFILE, Faulty, undisturbed_digests
from .reliability import write_page

_ENDED: dict[str, list[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how every fault test ends, whichever process it ran in."""
    if report.when == "call" or report.outcome != "passed":
        _ENDED.setdefault(report.location[2].partition("[")[0], []).append(report.outcome)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get("ISOSWEEP_WRITE_RELIABILITY")
    if path and _ENDED and not hasattr(session.config, "workerinput"):
        write_page(Path(path), {test: sorted(set(ends)) for test, ends in _ENDED.items()})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fault(what, leaves, taken='by default'): a fault, what it leaves behind, and how a relaunch takes its runs; a "
        "row of docs/reliability.md",
    )


# A network of the user's own that can be told to fail, or to kill its process.
TROUBLE = """\
import os, signal, time
from torch import nn

def build(inputs, classes, mode="fine"):
    if mode == "raises":
        raise ArithmeticError("planted failure")
    if mode == "sleeps":
        time.sleep(3600)
    if mode == "waits":
        while not os.path.exists("go"):
            time.sleep(0.01)
    if mode == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, classes))
"""

TROUBLED = """\
name: troubled
network: {module: "trouble:build", mode: [fine, raises, dies]}
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6}, jacobian: {samples: 2}}
seeds: 2
"""


@dataclass
class Backend:
    """A backend in a folder with `tiny.yaml`: `launch` returns when nothing is pending or running any more."""

    name: str
    command: Command
    options: tuple[str, ...] = ()
    store: Path = field(init=False)

    def __post_init__(self) -> None:
        self.store = self.command.folder / "isosweep-store"

    def launch(self, spec: str, *words: object, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.command.run("launch", spec, *self.options, *words, check=check)

    def records(self) -> dict[str, Path]:
        return {p.name.split(".")[0]: p for p in self.store.glob("records/*/*.arrow")}

    def runs(self, spec: str) -> dict[str, dict[str, object]]:
        """The rows of `runs.parquet` by run id."""
        self.command.run("collect", spec, "--out", "tables")
        return {
            row["run_id"]: row for row in pq.read_table(self.command.folder / "tables" / "runs.parquet").to_pylist()
        }


@pytest.fixture(params=["local", pytest.param("slurm", marks=[pytest.mark.slurm, pytest.mark.whole])])
def backend(request: pytest.FixtureRequest, command: Command) -> Iterator[Backend]:
    """The pool here, then the private Slurm."""
    command.write("profile.toml", PROFILE)
    command.write("trouble.py", TROUBLE)
    command.write("troubled.yaml", TROUBLED)
    if request.param == "local":
        yield Backend("local", command, ("--local", "--workers", "2"))
    else:
        cluster = request.getfixturevalue("slurm")
        command.environment |= {"SLURM_CONF": str(cluster.conf), "PATH": cluster.env()["PATH"]}
        yield Backend("slurm", command, ("--profile", "profile.toml", "--wait", "--runs-per-task", "2"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run id → digest of the faulty sweep that nothing has happened to."""
    return undisturbed_digests(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def faulty(command: Command, slurm: PrivateSlurm, undisturbed: dict[str, str]) -> Iterator[Faulty]:
    made = Faulty(command, slurm, undisturbed)
    yield made
    made.go()
    command.run("cancel", "faulty.yaml", *made.words, check=None)
