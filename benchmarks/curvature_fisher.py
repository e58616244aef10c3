"""Full Fisher spectra against other libraries and against the machine's own matrix-product rate.

    python benchmarks/curvature_fisher.py                   the table: depth 200, width 400, 10 classes, float64
    python benchmarks/curvature_fisher.py --quick           depth 20, to see that everything runs
    python benchmarks/curvature_fisher.py --rows isosweep:1000

Every row runs in a process of its own, one after the other. Its rate is that of 3000 × 3000 products in the same
process, taken before and after every run: the best of all. "of rate" counts the minimal operations
L·R²·w + 2(L − 1)·R·w² + 4R³/3, R = n(C − 1), over the time of the best run (of five, one beyond n = 300 and for peers)
and that rate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

OUTPUTS = 10
DEFAULT_ROWS = [
    "isosweep:100",
    "isosweep-1-worker:100",
    "vivit:100",
    "nngeometry:100",
    "curvlinops:100",
    "isosweep:300",
    "vivit:300",
    "isosweep:1000",
]


def minimal_operations(depth: int, width: int, samples: int) -> float:
    rows = samples * (OUTPUTS - 1)
    layers = depth + 1
    return layers * rows**2 * width + 2 * (layers - 1) * rows * width**2 + 4 * rows**3 / 3


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class PeakMemory(threading.Thread):
    """Samples the resident set every 5 ms; `peak` is the largest above that at the start, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = resident()
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.005):
            self.peak = max(self.peak, resident() - self.before)


def product_rate() -> float:
    """Operations a second of the machine's own product on all cores: the best of five, 3000 × 3000, float64."""
    import torch

    square = torch.randn(3000, 3000, dtype=torch.float64)
    torch.set_num_threads(os.cpu_count() or 1)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - start)
    return 2 * 3000**3 / min(seconds)


def measure(method: str, samples: int, depth: int, width: int, repeats: int) -> dict[str, object]:
    import torch
    from curvature_networks import chaotic_tanh, gaussian_inputs

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(os.cpu_count() or 1)
    network, inputs = chaotic_tanh(depth, width, OUTPUTS), gaussian_inputs(samples, width)
    rate = product_rate()
    if method.startswith("isosweep"):
        from isosweep.curvature import fisher

        workers = 1 if method.endswith("1-worker") else (os.cpu_count() or 1)
        fisher(network[-3:], gaussian_inputs(4, width))

        def run() -> torch.Tensor:
            return fisher(network, inputs, workers=workers).eigenvalues

        version = importlib_version("isosweep")
    else:
        from curvature_peers import PEERS
        from curvature_peers import version as version_of

        package, function = PEERS[method]
        version = version_of(package)

        def run() -> torch.Tensor:
            return function(network, inputs)

    best, processor, values, peak = float("inf"), 0.0, None, 0
    for _ in range(repeats):
        memory = PeakMemory()
        memory.start()
        start, start_processor = time.perf_counter(), time.process_time()
        values = run()
        if time.perf_counter() - start < best:
            best, processor = time.perf_counter() - start, time.process_time() - start_processor
        memory.done.set()
        memory.join()
        peak = max(peak, memory.peak)
        rate = max(rate, product_rate())
    assert values is not None
    return {
        "method": method,
        "version": version,
        "samples": samples,
        "seconds": best,
        "processor": processor,
        "gflops": rate / 1e9,
        "of_rate": minimal_operations(depth, width, samples) / best / rate,
        "megabytes": peak / 2**20,
        "values": values[:200].tolist(),
        "count": len(values),
    }


def importlib_version(package: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(package)


def agreement(row: dict, rows: list[dict]) -> str:
    """The largest difference of the leading eigenvalues from isosweep's, relative to the largest."""
    reference = next(
        (r for r in rows if r["method"] == "isosweep" and r["samples"] == row["samples"] and "values" in r), None
    )
    if reference is None or reference is row or "values" not in row:
        return ""
    pairs = zip(row["values"], reference["values"], strict=False)
    return f"{max(abs(a - b) for a, b in pairs) / reference['values'][0]:.0e}"


def table(rows: list[dict]) -> str:
    lines = [
        "| method | version | n | seconds | core-seconds | × isosweep | of rate | MiB above network | agrees to |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = next((r["seconds"] for r in rows if (r["method"], r["samples"]) == ("isosweep", row["samples"])), None)
        if "seconds" not in row:
            lines.append(f"| {row['method']} | | {row['samples']} | {row['error']} | | | | | |")
            continue
        ratio = f"{row['seconds'] / ours:.1f}" if ours else ""
        lines.append(
            f"| {row['method']} | {row['version']} | {row['samples']} | {row['seconds']:.2f} "
            f"| {row['processor']:.1f} | {ratio} "
            f"| {row['of_rate']:.0%} of {row['gflops']:.0f} GFLOP/s | {row['megabytes']:.0f} | {agreement(row, rows)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=200)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--rows", nargs="*", default=DEFAULT_ROWS, metavar="METHOD:N")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--timeout", type=float, default=900)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    depth = 20 if options.quick else options.depth
    if options.one:
        method, samples = options.one.split(":")
        repeats = 5 if method.startswith("isosweep") and int(samples) < 1000 else 1
        print(json.dumps(measure(method, int(samples), depth, options.width, repeats)))
        return
    rows: list[dict] = []
    for name in options.rows:
        command = [sys.executable, __file__, "--one", name, "--depth", str(depth), "--width", str(options.width)]
        method, samples = name.split(":")
        row: dict = {"method": method, "samples": int(samples)}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            row["error"] = f"stopped after {options.timeout:.0f} s"
        except subprocess.CalledProcessError as failure:
            row["error"] = (
                failure.stderr.strip().splitlines()[-1][:80] if failure.stderr else f"exit {failure.returncode}"
            )
        rows.append(row)
        print(table(rows).splitlines()[-1], flush=True)
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
