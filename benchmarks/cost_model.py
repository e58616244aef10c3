"""How far the plan's cost model is from what runs take: processor seconds of a run of each kind over those planned.

One constant, seconds an operation, is fitted to all of them (their median), as a launch fits it from the store; each
kind's own is printed over that. Runs are packed by it: a factor of two or three matters little, tens would matter much.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import isosweep
from isosweep.launching.cost import Cost
from isosweep.launching.operations import run_operations
from isosweep.sweep.settings import Run

KINDS = {
    "dense, small": "network: {depth: 4, width: 64, X}\nmeasure: {fisher: {samples: 32}, jacobian: {samples: 8}}",
    "dense, deep": "network: {depth: 64, width: 64, X}\nmeasure: {fisher: {samples: 32}, jacobian: {samples: 8}}",
    "dense, wide": "network: {depth: 4, width: 512, X}\nmeasure: {fisher: {samples: 32}, jacobian: {samples: 2}}",
    "many samples": "network: {depth: 4, width: 64, X}\nmeasure: {fisher: {samples: 160}}",
    "spectra of layers": "network: {depth: 8, width: 64, X}\nmeasure: {fisher: {samples: 64, layers: spectrum}}",
    "bounds, exact": "network: {depth: 4, width: 64, X}\nmeasure: {fisher: {samples: 32, bounds: true}}",
    "bounds, estimated": "network: {depth: 8, width: 64, X}\nmeasure: {fisher: {samples: 100, bounds: true}}",
    "lanczos": "network: {depth: 8, width: 256, X}\n"
    "measure: {fisher: {samples: 64, method: lanczos, leading: 4, steps: 40, probes: 2}}",
    "convolutional": "network: {architecture: convolutional, depth: 3, width: 8, X}\nmeasure: {fisher: {samples: 16}}",
    "training": "network: {depth: 4, width: 128, X}\nmeasure: {fisher: {samples: 16}}\n"
    "train: {epochs: 10, batch: 32, optimizer: sgd, learning_rate: 0.01}",
    "Hessian": "network: {depth: 4, width: 64, X}\nmeasure: {fisher: {samples: 64, layers: none}}\n"
    "train: {epochs: 1, batch: 32, optimizer: sgd, learning_rate: 0.01, measure: {hessian: 2}}",
    "kernel": "network: {depth: 4, width: 64, X}\nmeasure: {fisher: {samples: 128, layers: none}}\n"
    "train: {epochs: 1, batch: 32, optimizer: sgd, learning_rate: 0.01, measure: {kernel: 128}}",
}
FIXED = "activation: tanh, init: gaussian, gain: 1.0"


def main() -> None:
    """Print every kind's seconds and its ratio to the plan's."""
    found: dict[str, tuple[float, Run]] = {}
    with tempfile.TemporaryDirectory() as place:
        for kind, text in KINDS.items():
            path = Path(place) / "sweep.yaml"
            path.write_text(f"name: cost\n{text.replace('X', FIXED)}\ndata: {{name: digits, samples: 256}}\nseeds: 1\n")
            (run,) = isosweep.load(path).runs()
            isosweep.execute(run)  # imports, and what is compiled or looked up once
            began = time.process_time()
            isosweep.execute(run)
            found[kind] = (time.process_time() - began, run)
    fixed = Cost(0.0)
    each = [(seconds - fixed.seconds(run)) / (run_operations(run) or 1.0) for seconds, run in found.values()]
    cost = Cost(statistics.median(each))
    print(f"{cost.seconds_per_operation:.2g} core-seconds an operation")
    for kind, (seconds, run) in found.items():
        planned = cost.seconds(run)
        print(f"{kind:18} {seconds:7.3f} s, planned {planned:7.3f} s   {seconds / planned:5.2f}")


if __name__ == "__main__":
    main()
