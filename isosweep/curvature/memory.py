"""Which method a measurement takes, and whether it fits the memory that it was given."""

from __future__ import annotations

from isosweep.curvature.errors import BudgetTooSmall, CurvatureError
from isosweep.fisher_memory import (
    DEFAULT_MEMORY,
    Method,
    Problem,
    cheapest_method,
    dual_bytes,
    matrix_free_bytes,
)

__all__ = ["DEFAULT_MEMORY", "Method", "Problem", "choose_method", "dual_bytes", "matrix_free_bytes"]


def choose_method(problem: Problem, steps: int, memory: int | None, method: str) -> Method:
    """The dual where it fits the budget, else Lanczos; only what was asked for if `method` is not "auto".

    Raises:
        BudgetTooSmall: the method, or for "auto" even the matrix-free one, needs more than `memory` bytes.
        CurvatureError: an unknown method, or layers' blocks without the dual.
    """
    if method not in ("auto", "dual", "lanczos"):
        raise CurvatureError(f"unknown method {method!r}; there are auto, dual, lanczos")
    budget = DEFAULT_MEMORY if memory is None and method == "auto" else memory
    chosen: Method = "lanczos" if method == "lanczos" else "dual"
    if method == "auto" and budget is not None:
        chosen = cheapest_method(problem, budget)
    need = dual_bytes(problem) if chosen == "dual" else matrix_free_bytes(problem, steps)
    if budget is not None and need > budget:
        raise BudgetTooSmall(
            f"method {chosen} needs about {_mebibytes(need)}, the budget is {_mebibytes(budget)}: use fewer samples, "
            "fewer Krylov steps or a larger budget (memory=…, in bytes)"
        )
    if chosen == "lanczos" and problem.layers:
        raise CurvatureError(
            "the matrix-free method gives no spectra of the layers' blocks: layers='none', or a budget that the dual "
            f"fits ({_mebibytes(dual_bytes(problem))})"
        )
    return chosen


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
