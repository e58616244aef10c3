"""A step of Riemannian Adam on the Stiefel manifold against geoopt's, as ratios of things interleaved in one run.

    python benchmarks/training_stiefel.py [--depth 200] [--width 400] [--batch 1000] [--rounds 2] [--dtype float32 ...]

geoopt as its users have it: every weight a `ManifoldParameter`, all of them in one `RiemannianAdam`, `stabilize` left
alone; on `Stiefel()`, whose metric is the canonical one, and on `EuclideanStiefel()`, the manifold that isosweep and
the paper move on. isosweep's step moves scales, biases and readout besides. Matrices are square, drawn orthogonal; "n³"
are the operations of a matrix by the formulas: what a ratio could be if every operation took the same time.

Rates: the paper's, at which a step in float32 is one product after the projection; 1e-3, three; 1e-2, a Cholesky factor
and two products. geoopt does the same at each. In float64 isosweep takes the last way at all three.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import geoopt  # type: ignore[import-untyped]
import torch
from torch import nn

from isosweep.sweep.train_settings import TrainSettings
from isosweep.threads import Workers, single_threaded
from isosweep.training.batch_gradient import batch_gradient
from isosweep.training.parameters import Parameters

try:
    from benchmarks.training_step import Clock, network_of
except ImportError:  # run as a file
    from training_step import Clock, network_of  # type: ignore[import-not-found,no-redef]

RATES = {1.298e-5: "the paper's", 1e-3: "1e-3", 1e-2: "1e-2"}
# Products: gradient 2, inner product 1, A = ux' − xu' 2, Ax and Av 2; LU ⅔; two triangular solves with 2n columns 4.
# Products: gradient 2, transport 2; R of the QR decomposition 4/3, Q 4/3.
OPERATIONS = {"canonical": 2 * 7 + 2 / 3 + 4, "euclidean": 2 * 4 + 8 / 3}


def on_threads(threads: int, step: Callable[[], object]) -> Callable[[], None]:
    def task() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        step()
        torch.set_num_threads(before)

    return task


def measure(dtype: torch.dtype, depth: int, width: int, batch: int, rounds: int) -> None:
    network = network_of(depth, width, width).to(dtype)
    x, y = (torch.randn(batch, width) * 0.1).to(dtype), torch.randint(10, (batch,))
    clock = Clock()
    with single_threaded(), torch.no_grad(), Workers(1) as one, Workers(2) as two:
        crews = {1: one, 2: two}
        for threads, crew in crews.items():
            own = copy.deepcopy(network)
            views = [torch.zeros_like(p) for p in own.parameters()]
            walk = batch_gradient(own, views, batch, "cross_entropy", crew)
            clock.tasks[f"forward and backward, {threads}"] = lambda walk=walk: walk(x, y)
        for rate, words in RATES.items():
            held = Parameters(
                copy.deepcopy(network),
                TrainSettings(
                    1,
                    batch,
                    "riemannian_adam",
                    1e-5,
                    manifold="stiefel",
                    learning_rate_manifold=rate,
                    learning_rate_scale=1e-5,
                    beta1=0.9,
                    beta2=0.999,
                    eps=1e-8,
                ),
                one,
            )
            held.gradient.normal_().mul_(1e-4)
            for threads, crew in crews.items():
                shared = copy.copy(held)
                shared.workers = crew
                clock.tasks[f"isosweep, rate {words}, {threads}"] = lambda shared=shared: shared.step(1.0)
        gradients = [torch.randn(width, width).to(dtype) * 1e-4 for _ in range(depth)]
        for metric, manifold in (("canonical", geoopt.Stiefel()), ("euclidean", geoopt.EuclideanStiefel())):
            points = [
                geoopt.ManifoldParameter(module.weight.detach().clone(), manifold=manifold)
                for module in list(network)[:-1]
                if isinstance(module, nn.Linear)
            ]
            theirs = geoopt.optim.RiemannianAdam(points, lr=1.298e-5)
            for point, gradient in zip(points, gradients, strict=True):
                point.grad = gradient
            for threads in crews:
                clock.tasks[f"geoopt, {metric}, {threads}"] = on_threads(threads, theirs.step)
        clock.run(rounds)
    print(f"\n{dtype}, {depth} matrices of {width} × {width}")
    print(f"{'threads or workers at the end':44} {'seconds':>9} {'core-seconds':>12}")
    for name in clock.tasks:
        print(clock.row(name))
    for threads in crews:
        both = f"forward and backward, {threads}"
        for rate in RATES.values():
            mine = f"isosweep, rate {rate}, {threads}"
            share = clock.cores[mine] / clock.cores[both]
            print(f"{f'optimizer over forward and backward, {rate}, {threads} (≤ 1)':64} {share:6.2f} core-seconds")
            for metric in OPERATIONS:
                other = f"geoopt, {metric}, {threads}"
                cores, seconds = (took[other] / took[mine] for took in (clock.cores, clock.seconds))
                words = f"geoopt {metric} over isosweep, {rate}, {threads} (≥ 10)"
                print(f"{words:64} {cores:6.2f} core-seconds {seconds:6.2f} seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--depth", type=int, default=200)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", nargs="*", default=["float32"])
    asked = parser.parse_args()
    print(f"torch {torch.__version__}, geoopt {geoopt.__version__}")
    counted = ", ".join(f"geoopt {metric} {count:.1f} n³" for metric, count in OPERATIONS.items())
    print(f"operations of a matrix: {counted}; isosweep 4¼ n³ at the paper's rate in float32, 8¼ at 1e-3, 9⅗ at 1e-2")
    for name in asked.dtype:
        measure(getattr(torch, name), asked.depth, asked.width, asked.batch, asked.rounds)


if __name__ == "__main__":
    main()
