"""torch's switches for the same bits every time, set for a measurement and put back after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["deterministic", "determinism_flags"]

# cuBLAS reads it once, when the first handle is made: it must stand in the environment before CUDA starts.
_CUBLAS_WORKSPACE = ":4096:8"


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside, an operation without a deterministic version raises and names itself; no TF32, no reduced-precision sums, no autotuning.

    The flags are process-wide: they are restored when the block ends, and other threads see them meanwhile.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _CUBLAS_WORKSPACE)
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        matmul.allow_tf32,
        matmul.allow_fp16_reduced_precision_reduction,
        matmul.allow_bf16_reduced_precision_reduction,
        cudnn.allow_tf32,
        cudnn.benchmark,
        cudnn.deterministic,
        torch.get_default_dtype(),
    )
    try:
        torch.use_deterministic_algorithms(True)
        matmul.allow_tf32 = False
        matmul.allow_fp16_reduced_precision_reduction = False
        matmul.allow_bf16_reduced_precision_reduction = False
        cudnn.allow_tf32 = False
        cudnn.benchmark = False
        cudnn.deterministic = True
        torch.set_default_dtype(torch.float32)
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction = before[2], before[3]
        matmul.allow_bf16_reduced_precision_reduction = before[4]
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before[5], before[6], before[7]
        torch.set_default_dtype(before[8])


def determinism_flags() -> dict[str, bool | str]:
    """The flags as they stand, for the fingerprint."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cuda_tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
    }
