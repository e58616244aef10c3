"""What checkpoints add to a training of realistic size, in seconds and core-seconds of its steps.

    python benchmarks/training_checkpoints.py [--depth 50] [--width 400] [--minutes 10]

A checkpoint is written and read once beside a few steps; the share is that of one every `--minutes` of training. At the
end of an epoch the loop writes one only where it costs at most 1 % of the time since the last.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from isosweep.measurement.environment import fingerprint
from isosweep.sweep.train_settings import TrainSettings
from isosweep.threads import Workers, single_threaded
from isosweep.training.batch_gradient import batch_gradient
from isosweep.training.checkpoints import _SHARE, Checkpoints
from isosweep.training.parameters import Parameters

try:
    from benchmarks.training_step import network_of
except ImportError:  # run as a file
    from training_step import network_of  # type: ignore[import-not-found,no-redef]

STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    network = network_of(asked.depth, asked.width, 784)
    x, y = torch.randn(1000, 784) * 0.1, torch.randint(10, (1000,))
    settings = TrainSettings(1, 1000, "adam", 1e-5, beta1=0.9, beta2=0.999, eps=1e-8)
    with single_threaded(), torch.no_grad(), tempfile.TemporaryDirectory() as place:
        held = Parameters(network, settings, Workers())
        walk = batch_gradient(network, held.gradients, 1000, "cross_entropy", Workers())
        walk(x, y)
        held.step(1.0)
        began, used = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            walk(x, y)
            held.step(1.0)
        step, step_cores = (time.perf_counter() - began) / STEPS, (time.process_time() - used) / STEPS
        box = Checkpoints(Path(place), "run", 1, asked.minutes, fingerprint())
        began, used = time.perf_counter(), time.process_time()
        path = box.save(1, box.content({}, {n: t.numpy() for n, t in held.tensors().items()}))
        write, write_cores = time.perf_counter() - began, time.process_time() - used
        began = time.perf_counter()
        assert box.load() is not None
        read, size = time.perf_counter() - began, path.stat().st_size
    print(f"{held.flat.numel():,} parameters, a checkpoint of {size / 1e6:.0f} MB")
    print(f"{'a step':30} {step:8.3f} s {step_cores:8.3f} core-seconds")
    print(f"{'a checkpoint written':30} {write:8.3f} s {write_cores:8.3f} core-seconds")
    print(f"{'read':30} {read:8.3f} s")
    print(f"share, one every {asked.minutes:g} minutes (< 0.02): {write / (60 * asked.minutes + write):.5f}")
    print(f"share at the ends of short epochs, at most (< 0.02): {_SHARE:.3f}")


if __name__ == "__main__":
    main()
