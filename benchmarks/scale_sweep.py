"""What the benchmarks of scale share: a sweep of 100,000 runs, a store with a record of 8 KB for each, a stopwatch.

The records are sound in every byte, but nothing was measured for them: only the way round the measurement is timed.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import isosweep
from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, Measurement
from isosweep.store.records import encode_record, record_path
from isosweep.store.store import Store
from isosweep.sweep.identity import MEASUREMENT_VERSION
from isosweep.sweep.sweep import Sweep

RUNS = 100_000
_EIGENVALUES = 120


def spec(runs: int = RUNS) -> str:
    """A sweep file of so many runs: two depths, 50 gains, the rest seeds."""
    gains = ", ".join(f"{0.5 + 0.02 * i:.2f}" for i in range(50))
    return f"""\
name: scale
network: {{depth: [2, 3], width: 4, activation: tanh, init: orthogonal, gain: [{gains}]}}
data: {{name: gaussian, inputs: 4, classes: 2, samples: 4}}
measure: {{fisher: {{samples: 2, likelihood: gaussian}}, jacobian: {{samples: 2}}}}
seeds: {runs // 100}
"""


def write_spec(folder: Path, runs: int = RUNS) -> Path:
    """The sweep file in this folder."""
    path = folder / "scale.yaml"
    path.write_text(spec(runs))
    return path


def fill(store: Store, sweep: Sweep) -> int:
    """Give every run a record; the bytes of one."""
    draw = np.random.default_rng(0)
    size = 0
    for run in sweep.runs():
        values = np.sort(draw.random(_EIGENVALUES))[::-1].copy()
        measured = Measurement(
            (FisherBlock(0, "all", values, float(values[0]), float(values.sum()), _EIGENVALUES, 1e-12),),
            tuple(JacobianSample(0, i, values[:16], np.log(values[:16])) for i in range(2)),
            tuple(LayerActivity(0, i, f"layer{i}", 1.0, 0.5) for i in range(1, 4)),
            {"input_mean_square": 1.0, "input_correlation": 0.0, "jacobian_s_max": float(values[0])},
        )
        about = {"seconds": 0.01, "started_at": 1.0, "device": "cpu", "environment_class": "0" * 12, "task": "none"}
        data = encode_record(run, measured, "done", MEASUREMENT_VERSION, about)
        path = record_path(store, run.id, "done")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        size = len(data)
    return size


def frozen(folder: Path) -> str:
    """A copy of isosweep in `folder`, as a value for PYTHONPATH: an edit while a benchmark runs changes nothing."""
    source = Path(isosweep.__file__).parent
    shutil.copytree(source, folder / "code" / "isosweep", ignore=shutil.ignore_patterns("__pycache__"))
    return str(folder / "code")


@dataclass
class Timed:
    """A command that was timed: wall and processor seconds, peak memory in bytes, and what it printed and said."""

    wall: float
    processor: float
    memory: int
    out: str
    messages: str


def timed(arguments: list[str], folder: Path, **environment: str) -> Timed:
    """Run `isosweep` with these arguments, in a process of its own."""
    program = (
        "import resource, sys; from isosweep.cli import main; sys.argv = ['isosweep', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n"
        "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)"
    )
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3, 4):
        raise SystemExit(f"isosweep {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    peak = int(next(line.split()[1] for line in done.stderr.splitlines() if line.startswith("peak ")))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(wall, processor, peak, done.stdout, done.stderr)


def load(path: Path) -> Sweep:
    """The sweep of a file."""
    return isosweep.load(path)
