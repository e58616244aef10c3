"""A network's Jacobian between two layers as the product of its factors, never multiplied out here.

∂x^b/∂x^a = D^b W^b … D^{a+1} W^{a+1}: the weights are shared by all samples, D = diag φ'(h) is each sample's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isosweep.curvature.chain import Chain, Stage
from isosweep.curvature.errors import CurvatureError, NonFiniteNetwork
from isosweep.curvature.layers import Elementwise, Rule

__all__ = ["Factor", "jacobian_factors"]


@dataclass(frozen=True)
class Factor:
    """One factor diag(d_i) A_i of sample i's Jacobian; the first factor acts first.

    Attributes:
        matrix: A, (out, in), shared by all samples, or (m, out, in).
        diagonal: d, (m, out), or None for all ones.
    """

    matrix: Tensor
    diagonal: Tensor | None

    def select(self, samples: slice) -> Factor:
        """The factor of some of the samples."""
        matrix = self.matrix if self.matrix.ndim == 2 else self.matrix[samples]
        return Factor(matrix, None if self.diagonal is None else self.diagonal[samples])


def jacobian_factors(chain: Chain, inputs: Tensor, start: int, end: int) -> list[Factor]:
    """The factors of ∂x^end/∂x^start at every input (m, N_0); end = L + 1 stands for the outputs.

    Raises:
        CurvatureError: not 0 ≤ start < end ≤ L + 1.
        NonFiniteNetwork: the activations overflow.
    """
    if not 0 <= start < end <= chain.depth + 1:
        raise CurvatureError(
            f"start and end must satisfy 0 <= start < end <= {chain.depth + 1} "
            f"({chain.depth + 1} is the outputs), got start={start}, end={end}"
        )
    trace = chain.forward(inputs)
    factors: list[Factor] = []
    for position, (stage, saved) in enumerate(zip(chain.stages, trace.saved, strict=True)):
        if _interval(chain, position) < start or _interval(chain, position) >= end:
            continue
        _append(factors, stage, saved)
    for factor in factors:
        if factor.diagonal is not None and not torch.isfinite(factor.diagonal).all():
            raise NonFiniteNetwork("a derivative of an activation is not finite")
    return factors


def _interval(chain: Chain, position: int) -> int:
    """l for a stage on the way from x^l to x^{l+1}: the modules after a dense layer belong to it."""
    stage = chain.stages[position]
    return stage.depth if stage.is_dense or stage.depth == 0 else stage.depth - 1


def _append(factors: list[Factor], stage: Stage, saved: Tensor) -> None:
    rule: Rule = stage.rule
    if not isinstance(rule, Elementwise):
        factors.append(Factor(rule.jacobian(stage.module, saved), None))
        return
    if rule.is_identity:
        return
    if factors:
        last = factors.pop()
        factors.append(Factor(last.matrix, saved if last.diagonal is None else last.diagonal * saved))
    else:
        factors.append(Factor(torch.eye(saved.shape[1], dtype=saved.dtype, device=saved.device), saved))
