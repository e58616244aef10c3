"""One pass against two: what it costs to keep every layer's cotangents until the Gram matrices are taken.

    python benchmarks/curvature_passes.py              depth 200, width 400, n = 300
    python benchmarks/curvature_passes.py --quick

Both take the same products on the same tiles. Bytes counted: cotangents written once and read once to be pulled back
(both); read once more, from memory, for the Gram matrix (two passes: they have left the cache); the dual matrix read
and written once for every group of layers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import torch
from curvature_fisher import OUTPUTS, PeakMemory
from curvature_networks import chaotic_tanh, gaussian_inputs

from isosweep.curvature.chain import chain_of
from isosweep.curvature.dual_gram import LAYER_GROUP, DualAccumulator, layer_terms
from isosweep.curvature.output_weights import output_weights
from isosweep.threads import Workers, single_threaded


def run(passes: int, depth: int, width: int, samples: int) -> str:
    network, inputs = chaotic_tanh(depth, width, OUTPUTS), gaussian_inputs(samples, width)
    with single_threaded(), torch.no_grad(), Workers(os.cpu_count() or 1) as crew:
        chain = chain_of(network, inputs)
        trace = chain.forward(inputs, crew)
        vectors = output_weights(trace.outputs, "categorical", "true", None, False).vectors
        memory = PeakMemory()
        memory.start()
        start, processor = time.perf_counter(), time.process_time()
        dual = DualAccumulator(vectors, crew)
        layers = layer_terms(chain, trace, vectors, "all", crew)
        for layer in list(layers) if passes == 2 else layers:
            dual.add(layer)
        dual.flush()
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        memory.done.set()
        memory.join()
    rows = samples * (OUTPUTS - 1)
    cotangents = 8 * depth * rows * width
    moved = (1 + passes) * cotangents + 2 * 8 * rows**2 / 2 * (depth + 1) / LAYER_GROUP
    return f"| {passes} | {seconds:.2f} | {processor:.1f} | {memory.peak / 2**20:.0f} | {moved / 2**30:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--passes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    depth = 20 if options.quick else 200
    if options.passes:
        print(run(options.passes, depth, 400, 300))
        return
    print("| passes | seconds | core-seconds | MiB above activations | GiB counted |")
    print("|---|---|---|---|---|")
    for passes in (1, 2):
        command = [sys.executable, __file__, "--passes", str(passes), *(["--quick"] if options.quick else [])]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
