"""What a prediction costs: one run with its density after the first of its kind, and a sweep of 100,000 runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import isosweep
from isosweep.tables.theory import theory_row
from isosweep.theory.activations import activation
from isosweep.theory.network import Network
from isosweep.theory.predict import predict, predicted_law

ACTIVATIONS = ("tanh", "hard_tanh", "relu", "erf", "gelu", "silu", "elu", "softplus", "sin")
GAINS = (1.21, 1.25, 1.31, 1.37, 1.4, 1.43)
SHIFTS = (0.004, -0.006)  # other gains near those

SWEEP = """\
name: hundred-thousand
network:
  depth: {range: [2, 102, 2]}
  width: 1000
  activation: [tanh, relu]
  init: [orthogonal, gaussian]
  gain: {linspace: [0.8, 1.7, 20]}
  bias_std: 0.1
data: {name: gaussian, samples: 64, inputs: 1000, classes: 10}
measure: {fisher: {samples: 60, likelihood: categorical}, jacobian: {samples: 1}}
seeds: 25
"""


def _one(name: str, gain: float) -> tuple[float, float]:
    """Wall and processor seconds of the full prediction of one network, density included."""
    began, used = time.perf_counter(), time.process_time()
    p = predict(name, sigma_w=gain, sigma_b=0.2, depth=64, width=800, likelihood="categorical")
    predicted_law(Network(activation(name), p.sigma_w, p.sigma_b, 64, 800))
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    """Print both times beside what is asked for."""
    for name in ACTIVATIONS:
        # The first fill what an activation's predictions share: φ' on the octaves of the variances that they pass.
        first, *others = (_one(name, gain)[1] for gain in GAINS)
        times = [_one(name, gain + shift) for shift in SHIFTS for gain in GAINS]
        wall, cpu = (1000 * statistics.median(each) for each in zip(*times, strict=True))
        slowest = 1000 * max(seconds for _, seconds in times)
        print(
            f"one run of {name:10} {wall:6.1f} ms, {cpu:.1f} ms of a processor, {slowest:.1f} for the slowest gain; "
            f"with octaves of the variance not seen before {1000 * statistics.median(others):.1f}, slowest "
            f"{1000 * max(others):.1f} (the first of its kind {1000 * first:.0f} ms; asked: under 50)"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(SWEEP)
        runs = isosweep.load(path).runs()
        began, used = time.perf_counter(), time.process_time()
        predicted = sum(theory_row(run, {})["theory_chi"] is not None for run in runs)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(
        f"{len(runs)} runs of a sweep {wall:6.1f} s, {cpu:.1f} s of a processor (asked: under 60); "
        f"{predicted} have a prediction"
    )


if __name__ == "__main__":
    main()
