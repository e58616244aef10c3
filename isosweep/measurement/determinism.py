"""torch's switches for the same bits every time, set for a measurement and put back after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["deterministic"]

# cuBLAS reads it once, when the first handle is made: it must stand in the environment before CUDA starts.
_CUBLAS_WORKSPACE = ":4096:8"

_backends: Any = torch.backends
# (object, attribute, value inside). "ieee" is float32 as it is: neither TF32 nor bfloat16, on GPU or CPU. It is set
# by backend, as `torch.set_float32_matmul_precision` does underneath: only so can the value of before be put back.
_SWITCHES: tuple[tuple[Any, str, Any], ...] = (
    (_backends.cuda.matmul, "fp32_precision", "ieee"),
    (_backends.cudnn.conv, "fp32_precision", "ieee"),
    (_backends.cudnn.rnn, "fp32_precision", "ieee"),
    (_backends.mkldnn.matmul, "fp32_precision", "ieee"),
    (_backends.cuda.matmul, "allow_fp16_reduced_precision_reduction", False),
    (_backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", False),
    (_backends.cudnn, "benchmark", False),
    (_backends.cudnn, "deterministic", True),
)


def _set_all() -> Callable[[], None]:
    """Set every switch; the function that puts all back."""
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    switches = [(owner, name, getattr(owner, name)) for owner, name, _ in _SWITCHES]

    def restore() -> None:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        for owner, name, value in switches:
            setattr(owner, name, value)
        torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)

    torch.use_deterministic_algorithms(True)
    for owner, name, value in _SWITCHES:
        setattr(owner, name, value)
    torch.set_default_dtype(torch.float32)
    if device.type != "cpu":
        torch.set_default_device(None)
    return restore


_lock = threading.Lock()
_inside = 0
_restore: Callable[[], None] = lambda: None  # noqa: E731


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside, an operation without a deterministic version raises and names itself; no TF32, bfloat16 or autotuning.

    Default dtype and device are torch's own, and autocast is off. The switches are process-wide: other threads see
    them meanwhile, and they are put back when the last of nested or concurrent blocks ends.
    """
    global _inside, _restore
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _CUBLAS_WORKSPACE)
    with _lock:
        if _inside == 0:
            _restore = _set_all()
        _inside += 1
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore()
