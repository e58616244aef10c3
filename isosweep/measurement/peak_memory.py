"""How much memory a run took, in a process that carries out many."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

__all__ = ["begin_peak_memory", "peak_memory"]


def begin_peak_memory(device: str = "cpu") -> None:
    """Forget the peaks of before: what `peak_memory` gives counts from now on.

    Where the kernel does not let a process reset its own (a hardened /proc), the peak stays that of the process so far.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM to what is resident now
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str = "cpu") -> dict[str, int | None]:
    """Bytes: `peak_memory_bytes`, resident, of the process; `peak_gpu_memory_bytes`, allocated by torch, None without
    a GPU.
    """
    gpu = None
    if device.startswith("cuda"):
        torch = sys.modules["torch"]
        gpu = int(torch.cuda.max_memory_allocated(device))
    return {"peak_memory_bytes": _resident(), "peak_gpu_memory_bytes": gpu}


def _resident() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
