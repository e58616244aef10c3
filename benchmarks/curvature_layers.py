"""What each kind of layer costs: the whole Fisher spectrum of a network of it, beside the dense one, and depth 10,000.

    python benchmarks/curvature_layers.py
    python benchmarks/curvature_layers.py --quick

Core-seconds of a layer: those of a network of 24 such layers less those of 8, by 16. Memory of a layer likewise, from
the peak above the network. Depth 10,000: a residual network by Euler steps, and a convolutional one of 16 channels on
images of 8 × 8, each in a process of its own, its whole peak.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from curvature_fisher import PeakMemory
from torch import nn

from isosweep.curvature import fisher
from isosweep.networks.convolutional import convolution, delta_orthogonal
from isosweep.networks.normalization import freeze_batch_statistics
from isosweep.networks.quantized import QuantizedLinear, QuantizedReLU
from isosweep.networks.residual import Residual
from isosweep.networks.scaled import ScaledLinear

WIDTH, SAMPLES, CLASSES = 128, 32, 10
SIDE, CHANNELS = 8, 16  # images of as many pixels as make WIDTH · 8 numbers


def dense() -> list[nn.Module]:
    return [nn.Linear(WIDTH, WIDTH), nn.Tanh()]


KINDS = {
    "dense": dense,
    "residual": lambda: [Residual(nn.Sequential(*dense()), 0.1)],
    "residual, heun": lambda: [Residual(nn.Sequential(*dense()), 0.1, "heun")],
    "layer norm": lambda: [nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh()],
    "RMS norm": lambda: [nn.Linear(WIDTH, WIDTH), nn.RMSNorm(WIDTH), nn.Tanh()],
    "batch norm": lambda: [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Tanh()],
    "quantised": lambda: [QuantizedLinear(WIDTH, WIDTH, 2), QuantizedReLU(4)],
    "with factors": lambda: [ScaledLinear(WIDTH, WIDTH, WIDTH**-0.5), nn.Tanh()],
    "convolution": lambda: [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, padding_mode="circular"), nn.Tanh()],
}


def network_of(kind: str, layers: int) -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    images = kind == "convolution"
    modules = [module for _ in range(layers) for module in KINDS[kind]()]
    if images:
        modules = [nn.Unflatten(1, (CHANNELS, SIDE, SIDE)), *modules, nn.AvgPool2d(SIDE), nn.Flatten()]
    network = nn.Sequential(*modules, nn.Linear(CHANNELS if images else WIDTH, CLASSES)).double()
    inputs = torch.randn(SAMPLES, CHANNELS * SIDE * SIDE if images else WIDTH, dtype=torch.float64)
    freeze_batch_statistics(network, inputs)
    return network, inputs


def cost(kind: str, layers: int) -> tuple[float, float]:
    """(core-seconds, peak bytes above the network)."""
    network, inputs = network_of(kind, layers)
    fisher(network, inputs)
    memory = PeakMemory()
    memory.start()
    start = time.process_time()
    fisher(network, inputs)
    seconds = time.process_time() - start
    memory.done.set()
    memory.join()
    return seconds, memory.peak


def deep(depth: int, width: int, samples: int) -> str:
    torch.manual_seed(0)
    blocks = [Residual(nn.Sequential(nn.Linear(width, width), nn.Tanh()), 0.01) for _ in range(depth - 1)]
    network = nn.Sequential(nn.Linear(width, width), nn.Tanh(), *blocks, nn.Linear(width, CLASSES)).double()
    start = time.process_time()
    found = fisher(network, torch.randn(samples, width, dtype=torch.float64))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"| {depth} | {width} | {samples} | {seconds:.0f} | {peak:.2f} | {found.lambda_max:.3g} |"


def deep_images(depth: int, samples: int) -> str:
    """A delta-orthogonal one: a chain whose activations alone would take 16 KiB a layer and sample."""
    modules: list[nn.Module] = [nn.Unflatten(1, (CHANNELS, SIDE, SIDE))]
    for layer in range(1, depth + 1):
        kernel = delta_orthogonal(0, layer, CHANNELS, CHANNELS, 3)
        modules += [convolution(kernel, torch.zeros(CHANNELS), "circular", torch.float64), nn.Tanh()]
    network = nn.Sequential(*modules, nn.AvgPool2d(SIDE), nn.Flatten(), nn.Linear(CHANNELS, CLASSES).double())
    torch.manual_seed(0)
    inputs = 0.1 * torch.randn(samples, CHANNELS * SIDE * SIDE, dtype=torch.float64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.process_time()
    found = fisher(network, inputs)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    kept = samples * 2 * CHANNELS * SIDE**2 * 8 * depth / 2**30
    return (
        f"| {depth} | {CHANNELS} | {samples} | {seconds:.0f} | {peak:.2f} ({before:.2f} before) | {kept:.2f} | "
        f"{found.lambda_max:.3g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--deep", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--deep-images", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, default=12, help="of the deep convolutional network")
    options = parser.parse_args()
    if options.deep_images:
        print(deep_images(options.deep_images, options.samples))
        return
    if options.deep:
        print(deep(options.deep, 64, 32))
        return
    few, many = (2, 4) if options.quick else (8, 24)
    print("| layer | core-ms a layer | to dense | MiB a layer |")
    print("|---|---|---|---|")
    base = None
    for kind in KINDS:
        (less, low), (more, high) = cost(kind, few), cost(kind, many)
        each = (more - less) / (many - few)
        base = base or each
        memory = (high - low) / 2**20 / (many - few)
        print(f"| {kind} | {1e3 * each:.1f} | {each / base:.2f} | {memory:.2f} |", flush=True)
    print("\n| depth, residual | width | samples | core-seconds | peak GiB, all | λ_max |")
    print("|---|---|---|---|---|---|")
    depth = "200" if options.quick else "10000"
    command = [sys.executable, __file__, "--deep", depth]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)
    print("\n| depth, images | channels | samples | core-seconds | peak GiB, all | GiB that layers save | λ_max |")
    print("|---|---|---|---|---|---|---|")
    command = [sys.executable, __file__, "--deep-images", depth, "--samples", str(options.samples)]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
