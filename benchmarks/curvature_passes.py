"""One pass against two: what it costs to keep every layer's cotangents until the Gram matrices are taken.

    python benchmarks/curvature_passes.py              depth 200, width 400, n = 300
    python benchmarks/curvature_passes.py --quick

Both take the same products on the same tiles, a group of layers at a time. Bytes counted, from memory and to it:
cotangents are written once; they are read again for the Gram matrices, unless everything written since fits the last
cache (32 MiB are assumed); the dual matrix is read and written once for every group. Cotangents are pulled on while
they are in cache, in both. What the one pass saves is the memory.
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
from isosweep.curvature.dual_gram import DualAccumulator, layer_terms
from isosweep.curvature.output_weights import output_weights
from isosweep.fisher_memory import layer_group
from isosweep.threads import Workers, single_threaded

CACHE = 32 * 2**20


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
    group = layer_group(8 * rows * width)
    held = 8 * rows * width * (group if passes == 1 else depth)
    cotangents = 8 * depth * rows * width * (1 + (held > CACHE))
    moved = cotangents + 2 * 8 * rows**2 / 2 * (depth + 1) / group
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
