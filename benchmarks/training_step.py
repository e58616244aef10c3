"""A training step against a plain PyTorch loop, as ratios of things interleaved in one run.

    python benchmarks/training_step.py [--depth 200] [--width 400] [--batch 1000] [--rounds 3]

Rows: the plain loop (autograd, torch.optim) and isosweep's step of the same network, batch and optimizer, on one thread
and shared by two workers; the optimizer's part on the Stiefel and the oblique manifold (`training_stiefel.py` has it
beside geoopt). "seconds" are the fastest round; "core-seconds" are processor time of the process in that round, which
other work on the machine leaves alone.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from isosweep.sweep.train_settings import TrainSettings
from isosweep.threads import Workers, single_threaded
from isosweep.training.batch_gradient import batch_gradient
from isosweep.training.parameters import Parameters


class Clock:
    """The fastest round of each named task, in seconds and in core-seconds; rounds go over all tasks in turn."""

    def __init__(self) -> None:
        self.tasks: dict[str, Callable[[], object]] = {}
        self.seconds: dict[str, float] = {}
        self.cores: dict[str, float] = {}

    def run(self, rounds: int) -> None:
        for task in self.tasks.values():
            task()  # buffers, caches
        for _ in range(rounds):
            for name, task in self.tasks.items():
                began, used = time.perf_counter(), time.process_time()
                task()
                elapsed, used = time.perf_counter() - began, time.process_time() - used
                self.seconds[name] = min(elapsed, self.seconds.get(name, elapsed))
                self.cores[name] = min(used, self.cores.get(name, used))

    def row(self, name: str, scale: float = 1.0) -> str:
        return f"{name:44} {scale * self.seconds[name]:9.3f} {scale * self.cores[name]:12.3f}"


def network_of(depth: int, width: int, inputs: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for layer in range(depth):
        dense = nn.Linear(inputs if layer == 0 else width, width)
        nn.init.orthogonal_(dense.weight)
        layers += [dense, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--depth", type=int, default=200)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--inputs", type=int, default=3072)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    depth, batch = asked.depth, asked.batch
    network = network_of(depth, asked.width, asked.inputs)
    x, y = torch.randn(batch, asked.inputs) * 0.1, torch.randint(10, (batch,))
    clock = Clock()

    plain = copy.deepcopy(network)
    adam = torch.optim.Adam(plain.parameters(), lr=1e-5)

    def plain_step() -> None:
        adam.zero_grad()
        with torch.enable_grad():
            functional.cross_entropy(plain(x), y).backward()
        adam.step()

    clock.tasks["plain loop, 1 thread"] = plain_step
    with single_threaded(), torch.no_grad(), Workers(1) as one, Workers(2) as two:
        for on in ("euclidean", "stiefel", "oblique"):
            apart = {} if on == "euclidean" else {"learning_rate_manifold": 1e-5, "learning_rate_scale": 1e-5}
            options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
            settings = TrainSettings(1, batch, "riemannian_adam", 1e-5, manifold=on, **apart, **options)
            own = copy.deepcopy(network)
            held = Parameters(own, settings, one)
            for crew, words in ((one, "1 worker"), (two, "2 workers")):
                walk = batch_gradient(own, held.gradients, batch, "cross_entropy", crew)
                shared = copy.copy(held)
                shared.workers = crew

                def step(walk: Callable[..., object] = walk, shared: Parameters = shared) -> None:
                    walk(x, y)
                    shared.gradient_norm()
                    shared.step(1.0)

                if on == "euclidean":
                    clock.tasks[f"isosweep adam, {words}"] = step
                    clock.tasks[f"  of it forward and backward, {words}"] = lambda walk=walk: walk(x, y)
                else:
                    held.gradient.normal_().mul_(1e-4)
                    clock.tasks[f"riemannian adam on {on}, {words}"] = lambda shared=shared: shared.step(1.0)
        clock.run(asked.rounds)
    print(f"torch {torch.__version__}; depth {depth}, width {asked.width}, batch {batch}")
    print(f"{'':44} {'seconds':>9} {'core-seconds':>12}")
    for name in clock.tasks:
        print(clock.row(name))
    cores, seconds = clock.cores, clock.seconds
    loop, mine = "plain loop, 1 thread", "isosweep adam, {}"
    both, stiefel = "  of it forward and backward, {}", "riemannian adam on stiefel, {}"
    rows = {
        "speed of a step beside the plain loop, 1 thread (≥ 0.9)": cores[loop] / cores[mine.format("1 worker")],
        "two workers beside one, seconds (≥ 1.6)": seconds[mine.format("1 worker")] / seconds[mine.format("2 workers")],
        "core-seconds that two workers waste": cores[mine.format("2 workers")] / cores[mine.format("1 worker")] - 1,
        "stiefel optimizer over forward and backward (≤ 1)": cores[stiefel.format("1 worker")]
        / cores[both.format("1 worker")],
        "the same in seconds, two workers": seconds[stiefel.format("2 workers")] / seconds[both.format("2 workers")],
    }
    for name, value in rows.items():
        print(f"{name:60} {value:7.2f}")


if __name__ == "__main__":
    main()
