"""A store with a few sweeps in it, launched once; every test works on a copy of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import TINY, Command

# Draws from every global generator, and from a set of names, whose order a process chooses by itself.
OWN = """\
import random
import numpy as np
import torch
from torch import nn
from sizes import WIDTH

def build(inputs, classes, seed, gain=1.0):
    names = {"torch", "numpy", "python", "set"}
    first = nn.Linear(inputs, WIDTH)
    second = nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        second.weight += torch.from_numpy(np.random.standard_normal((WIDTH, WIDTH))).to(second.weight.dtype)
        second.bias += random.random() + 0.01 * list(names).index("torch")
        second.weight *= gain
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(WIDTH, classes))
"""

# Layer 3 draws from the machine's entropy.
PLANTED = """\
import torch
from torch import nn

def build(inputs, classes, width=7):
    layers = [nn.Linear(inputs, width), nn.Tanh()]
    for _ in range(3):
        layers += [nn.Linear(width, width), nn.Tanh()]
    unseeded = torch.Generator()
    unseeded.seed()
    with torch.no_grad():
        layers[4].weight.copy_(torch.randn(width, width, generator=unseeded, dtype=torch.float64))
    return nn.Sequential(*layers, nn.Linear(width, classes))
"""

REST = """\
data: {name: digits, samples: 16}
measure: {fisher: {samples: 6, layers: spectrum}, jacobian: {samples: 2}}
"""
SWEEPS = {
    "tiny": TINY,
    "own": 'name: own\nnetwork: {module: "own:build", gain: [1.0, 1.5]}\n' + REST,
    "planted": 'name: planted\nnetwork: {module: "planted:build"}\n' + REST,
}


def write_sweeps(command: Command) -> None:
    for name, text in SWEEPS.items():
        command.write(f"{name}.yaml", text)
    command.write("own.py", OWN)
    command.write("sizes.py", "WIDTH = 6\n")
    command.write("planted.py", PLANTED)


@pytest.fixture(scope="session")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every sweep of `SWEEPS` was launched."""
    command = Command(tmp_path_factory.mktemp("launched"))
    write_sweeps(command)
    for name in SWEEPS:
        command.run("launch", f"{name}.yaml", "--local")
    return command.folder


@pytest.fixture
def swept(launched: Path, tmp_path: Path) -> Command:
    """A copy of it."""
    folder = tmp_path / "swept"
    shutil.copytree(launched, folder)
    return Command(folder)


def records(folder: Path) -> dict[str, Path]:
    return {p.name.split(".")[0]: p for p in folder.glob("isosweep-store/records/*/*.arrow")}


def everything(folder: Path) -> dict[str, bytes]:
    """Every file of a store by its name, less the findings."""
    store = folder / "isosweep-store"
    return {
        str(p.relative_to(store)): p.read_bytes()
        for p in store.rglob("*")
        if p.is_file() and "verifications" not in p.parts
    }
