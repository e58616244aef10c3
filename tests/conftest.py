"""What all tests share: the command line as a subprocess, small sweeps, and one private Slurm for the session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import private_slurm
import pytest
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


@dataclass
class Command:
    """The real `isosweep`, run in a folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def arguments(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "isosweep.cli", *map(str, words)]

    def run(
        self, *words: object, check: int | None = 0, timeout: float = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.arguments(*words),
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}, expected {check}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: object, check: int | None = 0, **environment: str) -> dict[str, Any]:
        return json.loads(self.run(*words, "--json", check=check, **environment).stdout)

    def start(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments(*words),
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name


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
