"""Where a residual branch leaves and returns: the chain itself keeps and adds what passes there.

Forwards, a fork puts x aside and a join returns a·x + b·f. Backwards, a join puts a·c aside and goes on with b·c, and
the fork adds what was put aside: the same stack, read in the other direction.
"""

from __future__ import annotations

from torch import Tensor, nn

from isosweep.curvature.layers.rule import Rule
from isosweep.networks.residual import Fork, Join

__all__ = ["RULE", "Branching"]


class Branching(Rule):
    types = (Fork, Join)

    def apply(self, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("forks and joins are the chain's own work")

    def pull_back(self, module: nn.Module, saved: Tensor, cotangents: Tensor, out: Tensor) -> None:
        raise AssertionError("forks and joins are the chain's own work")


RULE = Branching()
