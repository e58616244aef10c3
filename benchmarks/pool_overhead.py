"""What the local pool adds to runs that only sleep: the share of the pool's wall time that no run was in hand.

Runs of a fifth of a second, so that a run's overhead weighs five times what it does at one second. The share at one
second follows from the milliseconds a run. An argument gives another number of runs (10,000 take half an hour on two
workers).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import isosweep

RUNS = 300
SLEEP = 0.2
WORKERS = 2
ALONE = 50
MODULE = f"""\
import time
from torch import nn

def build(inputs, classes):
    time.sleep({SLEEP})
    return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, classes))
"""
SPEC = """\
name: pool
network: {{module: "sleeper:build"}}
data: {{name: gaussian, inputs: 2, classes: 2, samples: 2}}
measure: {{fisher: {{samples: 1, likelihood: gaussian, layers: none}}}}
seeds: {runs}
"""


def main() -> None:
    """Print milliseconds a run beyond its sleep, and shares."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "sleeper.py").write_text(MODULE)
        (folder / "pool.yaml").write_text(SPEC.format(runs=runs))
        words = ["launch", "pool.yaml", "--local", "--workers", str(WORKERS), "-q"]
        subprocess.run([sys.executable, "-m", "isosweep.cli", *words], cwd=folder, check=True)
        stamps = sorted(path.stat().st_mtime for path in folder.glob("isosweep-store/records/*/*.arrow"))
        assert len(stamps) == runs
        # between records, so without the imports, which are paid once a worker
        each = (stamps[-1] - stamps[WORKERS - 1]) / (runs - WORKERS) * WORKERS
        some = isosweep.load(folder / "pool.yaml").runs()[:ALONE]
        isosweep.execute(some[0], folder=folder)
        began = time.perf_counter()
        for run in some:
            isosweep.execute(run, folder=folder)
        alone = (time.perf_counter() - began) / len(some)
    beyond = each - alone
    print(f"a run of {SLEEP} s takes a worker   {1000 * each:7.1f} ms")
    print(f"by itself, without a pool     {1000 * alone:7.1f} ms")
    print(f"the pool's part               {1000 * beyond:7.1f} ms")
    print(f"share at 1 s a run            {100 * beyond / (1 + beyond):7.2f} %   (asked: under 5 %)")


if __name__ == "__main__":
    main()
