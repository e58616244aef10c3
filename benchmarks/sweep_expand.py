"""Seconds and memory to expand and identify about 100,000 runs of a sweep file.

Goal: under 3 s and 500 MB on one idle core.

    python benchmarks/sweep_expand.py            # every case, each in a process of its own
    python benchmarks/sweep_expand.py networks   # one case, here
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """\
name: expand
network:
  depth: [4, 16, 64]
  width: 64
  activation: [tanh, relu]
  init: [orthogonal, gaussian]
  gain: {linspace: [0.8, 1.6, 5]}
  bias_std: 0.0
data: {name: digits, samples: 256}
measure:
  fisher: {samples: 64, likelihood: categorical}
  jacobian: {samples: 16}
seeds: 3
"""

CASES = {
    "seeds": ["seeds=1667"],
    "networks": ["network.gain={linspace: [0.5, 2, 8340]}", "seeds=1"],
    "excluded": [
        "network.gain={linspace: [0.5, 2, 8340]}",
        "seeds=2",
        "exclude=[{depth: 64, gain: {min: 1}}, {seed: 1, activation: tanh}]",
    ],
    "conditional": [
        "network.activation=tanh",
        "network.gain=critical",
        "network.q_star={linspace: [0.1, 2, 100]}",
        "network.bias_std=0.1",
        "when={bias_std: {gain: {not: critical}}}",
        "seeds=167",
    ],
}


def measure(case: str) -> None:
    """Expand one case in this process and print what it took."""
    import isosweep

    load = isosweep.load  # imports are no part of the time
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(SPEC, encoding="utf-8")
        load(path)
        start, cpu = time.perf_counter(), time.process_time()
        sweep = load(path, CASES[case])
        wall, used = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    took = f"{wall:7.2f} s ({used:.2f} s of CPU) {peak:7.0f} MB at most"
    print(f"{case:12} {len(sweep.runs()):8,} runs {took}", flush=True)


def main() -> None:
    """One case here, or all, each in a process of its own so that each has its own peak."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    for case in CASES:
        subprocess.run([sys.executable, __file__, case], check=True)


if __name__ == "__main__":
    main()
