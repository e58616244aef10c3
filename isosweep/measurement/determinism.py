"""torch's switches for the same bits every time and the seeds of every generator in the process, set for a measurement
and put back after it.
"""

from __future__ import annotations

import os
import random
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from isosweep.draws import GLOBAL_GENERATORS, generator

__all__ = ["NondeterministicOperation", "deterministic", "flags"]

# cuBLAS reads it once, when the first handle is made: it must stand in the environment before CUDA starts.
_CUBLAS_WORKSPACE = ":4096:8"

# torch's compiler, and the variable that it reads when it is imported.
_COMPILER = "torch._inductor.config"
_COMPILER_READS = "TORCHINDUCTOR_DETERMINISTIC"

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
    (_backends.cuda.matmul, "allow_fp16_accumulation", False),
    (_backends.cudnn, "enabled", True),
    (_backends.cudnn, "benchmark", False),
    (_backends.cudnn, "deterministic", True),
    (_backends.mkldnn, "enabled", True),
)


class NondeterministicOperation(RuntimeError):
    """An operation that has no deterministic version was used in a run; the message names it."""


def _use_deterministic(mode: bool, *, warn_only: bool = False) -> None:
    """`torch.use_deterministic_algorithms`, which imports the compiler to tell it, too: that takes as long as torch
    itself, in every process that computes. A compiler that is not loaded reads the environment when it is.
    """
    if _COMPILER in sys.modules:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
    else:
        torch._C._set_deterministic_algorithms(mode, warn_only=warn_only)


def _set_all() -> Callable[[], None]:
    """Set every switch of the process; the function that puts all back, the generators too."""
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    dtype = torch.get_default_dtype()
    switches = [(owner, name, getattr(owner, name)) for owner, name, _ in _SWITCHES]
    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    linalg = torch.backends.cuda.preferred_linalg_library() if torch.cuda.is_available() else None

    compiler = os.environ.get(_COMPILER_READS)

    def restore() -> None:
        if compiler is None:
            os.environ.pop(_COMPILER_READS, None)
        else:
            os.environ[_COMPILER_READS] = compiler
        _use_deterministic(algorithms[0], warn_only=algorithms[1])
        for owner, name, value in switches:
            setattr(owner, name, value)
        torch.set_default_dtype(dtype)
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if gpus is not None:
            torch.cuda.set_rng_state_all(gpus)
        if linalg is not None:
            torch.backends.cuda.preferred_linalg_library(linalg)

    os.environ[_COMPILER_READS] = "1"
    _use_deterministic(True)
    for owner, name, value in _SWITCHES:
        setattr(owner, name, value)
    torch.set_default_dtype(torch.float32)
    if linalg is not None:
        torch.backends.cuda.preferred_linalg_library("default")
    return restore


def _flushes_denormals() -> bool:
    """Whether this thread's processor takes denormal numbers for 0: torch can set it, and cannot tell."""
    return sys.float_info.min * float("0.5") == 0.0


def _default_device() -> Callable[[], None]:
    """Let this thread make its tensors on the CPU unless told otherwise; the function that puts its choice back."""
    device = torch.get_default_device()
    if device.type == "cpu":
        return lambda: None
    torch.set_default_device(None)
    return lambda: torch.set_default_device(device)


def _keep_denormals() -> Callable[[], None]:
    """Let this thread compute with denormal numbers; the function that puts its choice back."""
    if not _flushes_denormals():
        return lambda: None
    torch.set_flush_denormal(False)

    def flush() -> None:
        torch.set_flush_denormal(True)

    return flush


def _seed(seed: int) -> None:
    """Every global generator of the process that a library may draw from: torch's (of all devices), numpy's, Python's.

    isosweep draws from none of them; code that does, draws the same in every repetition of a run.
    """
    draw = generator(seed, "process")
    with GLOBAL_GENERATORS:
        torch.manual_seed(int(draw.integers(2**63)))
        np.random.seed(draw.integers(2**32, size=4))  # noqa: NPY002
        random.seed(int(draw.integers(2**63)))


_lock = threading.Lock()
_inside = 0
_restore: Callable[[], None] = lambda: None  # noqa: E731

_NAMED = re.compile(r"(\S+) does not have a deterministic implementation")


def _used_at(error: BaseException) -> str:
    """Where the operation was called: the innermost line that is not torch's own."""
    own = os.path.dirname(torch.__file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(own)]
    return f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


@contextmanager
def deterministic(seed: int | None = None) -> Iterator[None]:
    """Inside, an operation without a deterministic version raises and names itself; no TF32, bfloat16 or autotuning.

    Default dtype and device are torch's own, autocast is off, denormal numbers count. The switches are process-wide:
    other threads see them meanwhile, and they are put back when the last of nested or concurrent blocks ends; so are
    the global generators, wherever the caller had them.

    Args:
        seed: of a run; every global generator of the process begins with it. None leaves them as they are.

    Raises:
        NondeterministicOperation: in place of torch's RuntimeError, with the traceback of the operation.
    """
    global _inside, _restore
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _CUBLAS_WORKSPACE)
    with GLOBAL_GENERATORS, _lock:
        if _inside == 0:
            _restore = _set_all()
        _inside += 1
    try:
        with ExitStack() as stack:
            stack.callback(_default_device())
            stack.callback(_keep_denormals())
            stack.enter_context(torch.autocast("cpu", enabled=False))
            stack.enter_context(torch.autocast("cuda", enabled=False))
            if seed is not None:
                _seed(seed)
            yield
    except RuntimeError as error:
        named = _NAMED.match(str(error))
        if named is None or isinstance(error, NondeterministicOperation):
            raise
        raise NondeterministicOperation(
            f"{named[1]} does not have a deterministic implementation in torch {torch.__version__}: two runs of it may "
            f"differ; use another operation{_used_at(error)}"
        ).with_traceback(error.__traceback__) from error
    finally:
        with GLOBAL_GENERATORS, _lock:
            _inside -= 1
            if _inside == 0:
                _restore()


def flags(device: str = "cpu") -> str:
    """The switches as they stand now, in one line; to be asked inside `deterministic`."""
    found = {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled(),
        "mkldnn": _backends.mkldnn.enabled,
        "mkldnn.fp32": _backends.mkldnn.matmul.fp32_precision,
        "flush_denormal": _flushes_denormals(),
    }
    if device.startswith("cuda"):
        found |= {
            "matmul.fp32": _backends.cuda.matmul.fp32_precision,
            "fp16_reduction": _backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
            "bf16_reduction": _backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
            "cudnn.benchmark": _backends.cudnn.benchmark,
            "cudnn.deterministic": _backends.cudnn.deterministic,
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
        }
    return ", ".join(f"{name}={str(value).lower()}" for name, value in found.items())
