"""What this machine brings for the local pool."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from isosweep.cluster.pool import slots
from isosweep.cluster.snapshot import versions
from isosweep.doctor.finding import Finding, good, problem

__all__ = ["check_machine"]


def check_machine(device: str) -> Iterator[Finding]:
    """Python, packages, workers; torch is not imported."""
    found = versions()
    if "torch" in found:
        packages = ", ".join(f"{name} {version}" for name, version in found.items() if name != "python")
        yield good("here: packages", f"Python {platform.python_version()}, {packages}")
    else:
        yield problem("here: packages", "torch is not installed", "pip install isosweep, or make install")
    workers = slots(device)
    gpus = [one["CUDA_VISIBLE_DEVICES"] for one in workers if one["CUDA_VISIBLE_DEVICES"]]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    what = f"{len(gpus)} GPUs" if gpus else f"{len(workers)} workers on the CPU"
    yield good("here: the pool", f"{what}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GB")
    if device == "cuda" and not gpus:
        yield problem("here: GPU", "device is cuda and this machine shows none", "say --device cpu or auto")
