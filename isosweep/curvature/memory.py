"""How many bytes a method needs above the network, and which method fits a budget.

The estimate counts the arrays a method holds at once; it is a bound to plan with, not a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isosweep.curvature.dual_gram import LAYER_GROUP
from isosweep.curvature.errors import BudgetTooSmall, CurvatureError

__all__ = ["DEFAULT_MEMORY", "Method", "Problem", "choose_method", "dual_bytes", "matrix_free_bytes"]

Method = Literal["dual", "lanczos"]

# The budget of method "auto" where none is given: 8 GiB.
DEFAULT_MEMORY = 8 * 2**30


@dataclass(frozen=True)
class Problem:
    """The sizes that decide.

    Attributes:
        samples: n.
        rows: R, of the dual matrix as it is built: n·C where it is centred.
        parameters: P.
        widths: of all activations that are saved, one a stage.
        itemsize: bytes a number.
    """

    samples: int
    rows: int
    parameters: int
    widths: tuple[int, ...]
    itemsize: int


def dual_bytes(problem: Problem, layers: bool) -> int:
    """Activations, the cotangents of two groups of layers, K and the eigensolver's copy; two more R² for the layers'
    own.
    """
    squares = 4 if layers else 2
    cotangents = (2 * LAYER_GROUP + 2) * problem.rows * max(problem.widths)
    return problem.itemsize * (problem.samples * sum(problem.widths) + cotangents + squares * problem.rows**2)


def matrix_free_bytes(problem: Problem, steps: int) -> int:
    """Activations, a gradient of all parameters and its image, and the Krylov basis in the smaller of the two
    spaces.
    """
    basis = (steps + 3) * min(problem.rows, problem.parameters)
    group = 10 * problem.samples * max(problem.widths)
    return problem.itemsize * (problem.samples * sum(problem.widths) + group + 2 * problem.parameters + basis)


def choose_method(problem: Problem, layers: bool, steps: int, memory: int | None, method: str) -> Method:
    """The dual where it fits the budget, else Lanczos; only what was asked for if `method` is not "auto".

    Raises:
        BudgetTooSmall: the method, or for "auto" even the matrix-free one, needs more than `memory` bytes.
        CurvatureError: an unknown method, or layers' blocks without the dual.
    """
    if method not in ("auto", "dual", "lanczos"):
        raise CurvatureError(f"unknown method {method!r}; there are auto, dual, lanczos")
    budget = DEFAULT_MEMORY if memory is None and method == "auto" else memory
    need_dual, need_free = dual_bytes(problem, layers), matrix_free_bytes(problem, steps)
    if method == "dual" or (method == "auto" and (budget is None or need_dual <= budget)):
        chosen: Method = "dual"
        need = need_dual
    else:
        chosen, need = "lanczos", need_free
    if budget is not None and need > budget:
        raise BudgetTooSmall(
            f"method {chosen} needs about {_mebibytes(need)}, the budget is {_mebibytes(budget)}: use fewer samples, "
            "fewer Krylov steps or a larger budget (memory=…, in bytes)"
        )
    if chosen == "lanczos" and layers:
        raise CurvatureError(
            "the matrix-free method gives no spectra of the layers' blocks: layers='none', or a budget that the dual "
            f"fits ({_mebibytes(need_dual)})"
        )
    return chosen


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
