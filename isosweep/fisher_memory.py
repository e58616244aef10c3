"""How many bytes a method for the Fisher spectrum needs above the network, and which method fits a budget.

The method of a run is a setting of the run: it is resolved from the shapes before launch, by this rule, and never by
the node. The counts are of the arrays that a method holds at once; a bound to plan with, not a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "DEFAULT_MEMORY",
    "KEPT_BYTES",
    "Method",
    "Problem",
    "cheapest_method",
    "dual_bytes",
    "layer_group",
    "matrix_free_bytes",
]

Method = Literal["dual", "lanczos"]

# The budget of method "auto" where none is given: 8 GiB.
DEFAULT_MEMORY = 8 * 2**30

# What the layers save on the way forward is kept up to so many bytes; beyond, it is computed again on the way back, a
# segment of layers at a time. A rule of shapes, on which no bit of a result depends.
KEPT_BYTES = 2**30

# Layers whose cotangents the dual holds together, so that a tile of the sum is read and written once for all of them:
# as many as `GROUP_BYTES` hold, within these limits. No bit of a result depends on it.
FEWEST_LAYERS, MOST_LAYERS = 2, 16
GROUP_BYTES = 192 * 2**20


def layer_group(layer_bytes: int) -> int:
    """How many layers, each of whose cotangents take so many bytes, the dual holds together."""
    return max(FEWEST_LAYERS, min(MOST_LAYERS, -(-GROUP_BYTES // max(1, layer_bytes))))


@dataclass(frozen=True)
class Problem:
    """The sizes that decide.

    Attributes:
        samples: n.
        rows: R, of the dual matrix as it is built: n·C where it is centred.
        parameters: P.
        saved: sum of the widths of all activations that are kept, one a module.
        widest: the largest of them.
        itemsize: bytes a number.
        layers: whether every layer's own block is wanted.
    """

    samples: int
    rows: int
    parameters: int
    saved: int
    widest: int
    itemsize: int
    layers: bool = False


def dual_bytes(problem: Problem) -> int:
    """Activations, the cotangents of two groups of layers, K and the eigensolver's copy; two more R² for the layers'
    own.
    """
    squares = 4 if problem.layers else 2
    layer = problem.rows * problem.widest
    cotangents = (2 * layer_group(layer * problem.itemsize) + 2) * layer
    return problem.itemsize * (problem.samples * problem.saved + cotangents + squares * problem.rows**2)


def matrix_free_bytes(problem: Problem, steps: int) -> int:
    """Activations, two gradients of all parameters, and the Krylov basis in the smaller of the two spaces."""
    basis = (steps + 3) * min(problem.rows, problem.parameters)
    group = 10 * problem.samples * problem.widest
    return problem.itemsize * (problem.samples * problem.saved + group + 2 * problem.parameters + basis)


def cheapest_method(problem: Problem, budget: int) -> Method:
    """The dual, which gives the whole spectrum, where it fits the budget (bytes); else Lanczos."""
    return "dual" if dual_bytes(problem) <= budget else "lanczos"
