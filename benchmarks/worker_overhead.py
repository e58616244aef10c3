"""What a worker adds to each run beyond its measurement: one worker, many tiny runs, wall time between records
against `execute` itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import isosweep

RUNS = 200
SPEC = f"""\
name: overhead
network: {{depth: 1, width: 4, activation: tanh, init: gaussian, gain: 1.0}}
data: {{name: gaussian, inputs: 4, classes: 2, samples: 4}}
measure: {{fisher: {{samples: 2}}, jacobian: {{samples: 1}}}}
seeds: {RUNS}
"""


def main() -> None:
    """Print milliseconds a run: in a launch, alone, and the difference."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "overhead.yaml")
        spec.write_text(SPEC)
        command = [
            sys.executable,
            "-m",
            "isosweep.cli",
            "launch",
            str(spec),
            "--local",
            "--workers",
            "1",
            "--store",
            f"{folder}/store",
            "-q",
            "--runs-per-task",
            str(RUNS),
        ]
        subprocess.run(command, check=True)
        stamps = sorted(path.stat().st_mtime for path in Path(folder).glob("store/records/*/*.arrow"))
        assert len(stamps) == RUNS
        # the first run pays for imports, which are paid once a task
        launched = (stamps[-1] - stamps[0]) / (RUNS - 1)
        runs = isosweep.load(spec).runs()
        isosweep.execute(runs[0])
        began = time.perf_counter()
        for run in runs[1:]:
            isosweep.execute(run)
        alone = (time.perf_counter() - began) / (RUNS - 1)
    print(f"a run of a launch          {1000 * launched:6.1f} ms")
    print(f"its measurement alone      {1000 * alone:6.1f} ms")
    print(f"overhead                   {1000 * (launched - alone):6.1f} ms   (asked: under 30)")


if __name__ == "__main__":
    main()
