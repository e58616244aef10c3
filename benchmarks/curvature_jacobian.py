"""The graded Jacobian against the plain chain with its singular values, on one thread.

    python benchmarks/curvature_jacobian.py            depth 200, width 400, one input, float64
    python benchmarks/curvature_jacobian.py --quick

The plain chain multiplies the float64 factors and takes the singular values; at this depth most of those are rounding
errors. The two run in turn; the least processor time of each counts.
"""

from __future__ import annotations

import argparse
import time

import torch
from curvature_networks import chaotic_tanh, gaussian_inputs

from isosweep.curvature import jacobian_spectrum

LN10 = 2.302585092994046


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    sizes = [(64, 64, 16), (20, 400, 1)] if options.quick else [(64, 64, 16), (64, 400, 4), (200, 400, 1)]
    print("| depth | width | inputs | plain s | graded s | graded / plain | log10 condition |")
    print("|---|---|---|---|---|---|---|")
    for depth, width, samples in sizes:
        network, inputs = chaotic_tanh(depth, width, 10), gaussian_inputs(samples, width)
        best = {"plain": float("inf"), "graded": float("inf")}
        condition = torch.zeros(1)
        for _ in range(options.repeats):
            for method in best:
                start = time.process_time()
                found = jacobian_spectrum(network, inputs, method=method)  # type: ignore[arg-type]
                best[method] = min(best[method], time.process_time() - start)
            condition = found.log_condition_number.max() / LN10
        ratio = best["graded"] / best["plain"]
        print(
            f"| {depth} | {width} | {samples} | {best['plain']:.3f} | {best['graded']:.3f} | {ratio:.1f} "
            f"| {float(condition):.0f} |"
        )


if __name__ == "__main__":
    main()
