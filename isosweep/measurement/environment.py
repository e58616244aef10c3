"""Where a run was computed: what can change its bits (the environment class), and what else one wants to know later."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
from typing import Any

__all__ = ["DECISIVE", "environment_class", "fingerprint"]

# What decides the bits of a result: a change in any of these is another environment class.
DECISIVE = (
    "machine",
    "cpu_model",
    "cpu_capability",
    "cpu_flags",
    "device",
    "gpu_model",
    "driver",
    "cuda_version",
    "cudnn_version",
    "torch_version",
    "numpy_version",
    "scipy_version",
    "blas",
    "libc",
    "math_settings",
    "determinism",
    "threads",
)

# The environment's words to BLAS, LAPACK and CUDA about which kernels to take.
_MATH_SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)


def _cpu() -> tuple[str, str]:
    """Model name with family, model and stepping; and a hash of the instruction sets."""
    fields: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if not line.strip():
                    break
                fields[key.strip()] = value.strip()
    except OSError:
        return platform.processor() or platform.machine(), ""
    model = fields.get("model name", platform.machine())
    numbers = "/".join(fields.get(k, "?") for k in ("cpu family", "model", "stepping"))
    flags = hashlib.sha256(" ".join(sorted(fields.get("flags", "").split())).encode()).hexdigest()[:12]
    return f"{model} ({numbers})", flags


def _gpu(device: str) -> dict[str, Any]:
    import torch

    if not device.startswith("cuda"):
        return {"gpu_model": None, "gpu_uuid": None, "driver": None, "cuda_version": None, "cudnn_version": None}
    properties = torch.cuda.get_device_properties(device)
    driver = None
    if shutil.which("nvidia-smi"):
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        driver = asked.stdout.splitlines()[0].strip() if asked.returncode == 0 and asked.stdout else None
    return {
        "gpu_model": properties.name,
        "gpu_uuid": str(getattr(properties, "uuid", "")) or None,
        "driver": driver,
        "cuda_version": torch.version.cuda,
        "cudnn_version": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
    }


def _blas_and_switches(device: str) -> dict[str, Any]:
    """The BLAS libraries, how many threads a call takes, and torch's switches: as they are inside a measurement."""
    import torch
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    from isosweep.threads import single_threaded

    from .determinism import deterministic, flags

    with deterministic(), single_threaded():
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        threads = max([torch.get_num_threads(), *(pool["num_threads"] for pool in pools)])
        switches = flags(device)
    names = {f"{p['internal_api']} {p.get('version')} {p.get('architecture', '')}".strip() for p in pools}
    mkl = "mkl" if torch.backends.mkl.is_available() else "no mkl"  # type: ignore[no-untyped-call]
    return {
        "blas": ", ".join([*sorted(names), f"torch with {mkl}"]),
        "threads": threads,
        "determinism": switches,
    }


@functools.cache
def fingerprint(device: str = "cpu") -> dict[str, Any]:
    """What is known of this process and machine: numbers, text or None. Computed once a process and device; all of it
    goes into every record.
    """
    import numpy
    import scipy
    import torch

    model, flags = _cpu()
    return {
        "hostname": socket.gethostname(),
        "device": device,
        "machine": platform.machine(),
        "cpu_model": model,
        "cpu_flags": flags,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_count": os.cpu_count(),
        **_gpu(device),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "numpy_version": numpy.__version__,
        "scipy_version": scipy.__version__,
        **_blas_and_switches(device),
        # exp and log of the random numbers' tails, and of scipy, are the C library's
        "libc": " ".join(platform.libc_ver()),
        "math_settings": ", ".join(f"{n}={os.environ[n]}" for n in _MATH_SETTINGS if n in os.environ),
    }


def environment_class(known: dict[str, Any]) -> str:
    """12 hexadecimal digits over what of a fingerprint can change bits."""
    decisive = json.dumps({name: known[name] for name in DECISIVE}, sort_keys=True)
    return hashlib.sha256(decisive.encode()).hexdigest()[:12]
