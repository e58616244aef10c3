"""Full Fisher spectra on a CUDA device, in float64 and float32, as a fraction of the device's own matrix-product rate.

    python benchmarks/curvature_gpu.py

Checked against the CPU on a smaller network: 1e-12 of the largest eigenvalue in float64, 1e-4 in float32. Without a
device it says so and ends.
"""

from __future__ import annotations

import time

import torch
from curvature_fisher import OUTPUTS, minimal_operations
from curvature_networks import chaotic_tanh, gaussian_inputs

from isosweep.curvature import fisher, jacobian_spectrum

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}


def seconds(function) -> float:  # type: ignore[no-untyped-def]
    function()
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    if not torch.cuda.is_available():
        print("no CUDA device here")
        return
    small, few = chaotic_tanh(20, 100, OUTPUTS), gaussian_inputs(60, 100)
    exact = fisher(small, few).eigenvalues
    logs = jacobian_spectrum(small, few[:4]).log_singular_values
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print("| dtype | n | seconds | of rate | small network agrees to |")
    print("|---|---|---|---|---|")
    for dtype, tolerance in TOLERANCE.items():
        found = fisher(small.to("cuda", dtype), few.to("cuda", dtype)).eigenvalues.cpu()
        error = float((found - exact).abs().max() / exact[0])
        assert error <= tolerance, f"{dtype}: {error}"
        if dtype == torch.float64:
            on_device = jacobian_spectrum(small, few[:4].to("cuda")).log_singular_values.cpu()
            assert float((on_device - logs).abs().max()) <= 1e-6, (
                "Jacobian: the device's own forward pass differs by more"
            )
        small.to("cpu", torch.float64)
        square = torch.randn(8000, 8000, dtype=dtype, device="cuda")
        rate = 2 * 8000**3 / seconds(lambda x=square: x @ x)
        for samples in (100, 300, 1000):
            network = chaotic_tanh(200, 400, OUTPUTS).to("cuda", dtype)
            inputs = gaussian_inputs(samples, 400).to("cuda", dtype)
            taken = seconds(lambda n=network, x=inputs: fisher(n, x))
            fraction = minimal_operations(200, 400, samples) / taken / rate
            print(f"| {dtype} | {samples} | {taken:.2f} | {fraction:.0%} of {rate / 1e12:.1f} TFLOP/s | {error:.0e} |")


if __name__ == "__main__":
    main()
