"""All singular values of a graded matrix diag(2^e) R, to high relative accuracy, whatever its range.

An LQ decomposition of R is blind to the scales, so diag(2^e) R = diag(2^e) L Qᵀ with L lower triangular and well
scaled. The columns of Lᵀ diag(2^e) are a well-conditioned matrix times a diagonal: the case in which one-sided Jacobi
(LAPACK's dgejsv; Drmač and Veselić 2008) finds every singular value to a few rounding errors times the condition of L
alone.

Where the exponents span more than float64 holds, the matrix is cut into windows of rows. L couples a row to those
that are 2^g times larger with a relative effect of 2^{−2g} on their singular values, so a window's values are right
for the rows that are `MARGIN` bits inside it.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from isosweep.curvature.graded_qr import ZERO_EXPONENT
from isosweep.curvature.lapack import jacobi_singular_values

__all__ = ["graded_log_singular_values"]

# Bits that one call of dgejsv may span.
WINDOW = 900
# Bits by which a value must be inside its window, away from an end where rows were cut off.
MARGIN = 120

LN2 = float(np.log(2.0))


def graded_log_singular_values(rows: np.ndarray, exponents: np.ndarray, count: int) -> np.ndarray:
    """ln of the singular values of diag(2^e) R, largest first, −inf for those that are exactly zero.

    Args:
        rows: R, (q, p), rows of size 1, or exactly 0.
        exponents: e, (q,); `ZERO_EXPONENT` marks a zero row.
        count: how many values to return; the matrix has at most that many that are not zero.
    """
    logs = np.full(count, -np.inf)
    alive = exponents > ZERO_EXPONENT / 2
    rows, exponents = rows[alive], exponents[alive]
    if len(rows) == 0:
        return logs
    order = np.argsort(-exponents, kind="stable")
    rows, exponents = rows[order], exponents[order]
    (upper,) = scipy.linalg.qr(rows.T, mode="r", check_finite=False)
    found = _windows(upper[: len(rows)], exponents)
    logs[: len(found)] = np.sort(found)[::-1]
    return logs


def _windows(upper: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The values of U diag(2^e), U (k, r) upper triangular, e descending."""
    size = len(exponents)
    logs = np.empty(size)
    known = 0
    while known < size:
        # The window starts MARGIN bits above the first unknown row and goes down as far as the range allows.
        first = int(np.searchsorted(-exponents, -(exponents[known] + MARGIN)))
        last = int(np.searchsorted(-exponents, -(exponents[first] - WINDOW), side="right"))
        inside = (
            last if last == size else int(np.searchsorted(-exponents, -(exponents[last - 1] + MARGIN), side="right"))
        )
        inside = max(inside, known + 1)
        block = upper[first:last, first:last] * np.exp2(exponents[first:last] - exponents[first])
        values = jacobi_singular_values(block)
        with np.errstate(divide="ignore"):
            window = np.log(values) + LN2 * exponents[first]
        logs[known:inside] = window[known - first : inside - first]
        known = inside
    return logs
