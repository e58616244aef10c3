"""LAPACK routines by the pointers that scipy exports to Cython, so that other workers go on meanwhile.

scipy's own wrappers of these hold Python's lock for as long as they run, which makes two workers as slow as one. The
library is the same (`scipy.linalg.cython_lapack`, one thread inside `isosweep.threads.single_threaded`), and so are
the bits. float64, matrices by columns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_lapack

__all__ = ["jacobi_singular_values", "qr_factor", "times_q"]

Matrix = NDArray[np.float64]

# Columns of one block of reflectors.
QR_BLOCK = 48


@cache
def _routine(name: str) -> Callable[..., None]:
    """The routine of this name; it releases Python's lock while it runs."""
    capsule = cython_lapack.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    count = api.PyCapsule_GetName(capsule).decode().count(",") + 1
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)(address)


def _call(name: str, *arguments: Any) -> int:
    """Calls a routine whose last argument is `info`, and returns that. Numbers and letters are passed by reference."""
    kept: list[Any] = []
    places: list[int] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            places.append(argument.ctypes.data)
            continue
        held = ctypes.c_char(argument) if isinstance(argument, bytes) else ctypes.c_int(argument)
        kept.append(held)
        places.append(ctypes.addressof(held))
    info = ctypes.c_int(0)
    _routine(name)(*places, ctypes.addressof(info))
    return info.value


def _by_columns(matrix: Matrix) -> None:
    if matrix.dtype != np.float64 or not matrix.flags.f_contiguous:
        raise ValueError("LAPACK wants float64, column by column")


def qr_factor(matrix: Matrix) -> Matrix:
    """A = QR in place (dgeqrt): R above the diagonal, the reflectors of Q below; returns T of their compact form.

    Args:
        matrix: (m, n), by columns; overwritten.
    """
    _by_columns(matrix)
    m, n = matrix.shape
    block = max(1, min(QR_BLOCK, m, n))
    t = np.zeros((block, min(m, n)), order="F")
    info = _call("dgeqrt", m, n, block, matrix, max(1, m), t, block, np.empty(block * n))
    if info != 0:
        raise np.linalg.LinAlgError(f"dgeqrt: info {info}")
    return t


def times_q(matrix: Matrix, reflectors: Matrix, t: Matrix) -> None:
    """C ← C Q in place (dgemqrt), Q as `qr_factor` left it.

    Args:
        matrix: C, (r, m), by columns; overwritten.
        reflectors: (m, n), by columns.
        t: what `qr_factor` returned.
    """
    _by_columns(matrix)
    _by_columns(reflectors)
    (rows, m), (block, count) = matrix.shape, t.shape
    if reflectors.shape[0] != m:
        raise ValueError(f"Q acts on {reflectors.shape[0]} columns, the matrix has {m}")
    work = np.empty(block * rows)
    sizes = (rows, m, count, block)
    info = _call("dgemqrt", b"R", b"N", *sizes, reflectors, max(1, m), t, block, matrix, max(1, rows), work)
    if info != 0:
        raise np.linalg.LinAlgError(f"dgemqrt: info {info}")


def jacobi_singular_values(matrix: Matrix) -> Matrix:
    """The singular values of a square matrix with graded columns, largest first, by one-sided Jacobi (dgejsv).

    Args:
        matrix: (n, n); it is copied.

    Raises:
        numpy.linalg.LinAlgError: the sweeps did not converge.
    """
    n = len(matrix)
    if not matrix.any():
        return np.zeros(n)
    a = np.array(matrix, dtype=np.float64, order="F")
    values, nothing = np.empty(n), np.empty(1)
    work, whole = np.empty(max(7, n * n + 6 * n)), np.zeros(4 * n + 3, dtype=np.int32)
    # joba C: accuracy for a column-scaled matrix; jobu, jobv N: values only; jobr N: no small column is set to zero;
    # jobt N: no transposition; jobp N: no perturbation of denormals.
    jobs = (b"C", b"N", b"N", b"N", b"N", b"N")
    info = _call("dgejsv", *jobs, n, n, a, n, values, nothing, 1, nothing, 1, work, len(work), whole)
    if info != 0:
        raise np.linalg.LinAlgError(f"dgejsv did not converge (info {info})")
    found: Matrix = np.sort(values * (work[0] / work[1]))[::-1]
    return found
