"""A network's Jacobian between two layers as the product of its factors, never multiplied out here.

∂x^b/∂x^a = D^b W^b … D^{a+1} W^{a+1}: the weights are shared by all samples, D = diag φ'(h) is each sample's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isosweep.curvature.chain import Chain, Stage
from isosweep.curvature.errors import CurvatureError, NonFiniteNetwork
from isosweep.curvature.layers import Elementwise, Rule
from isosweep.networks.residual import Fork, Join

__all__ = ["Factor", "cuts", "jacobian_factors"]


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


def jacobian_factors(chain: Chain, inputs: Tensor, start: int, end: int) -> list[list[Factor]]:
    """The factors of ∂x^end/∂x^start at every input (m, …); end = L + 1 stands for the outputs.

    Returns:
        one list for every place from x^start to x^end where the chain can be cut: after every counted layer, but not
        within a residual branch.

    Raises:
        CurvatureError: not 0 ≤ start < end ≤ L + 1, or one of them lies within a residual branch.
        NonFiniteNetwork: the activations overflow.
    """
    if not 0 <= start < end <= chain.depth + 1:
        raise CurvatureError(
            f"start and end must satisfy 0 <= start < end <= {chain.depth + 1} "
            f"({chain.depth + 1} is the outputs), got start={start}, end={end}"
        )
    places = cuts(chain)
    for given in (start, end):
        if given not in places:
            raise CurvatureError(f"x^{given} lies within a residual branch: the cuts are {sorted(places)}")
    saved = chain.forward(inputs).saved
    within = [position for layer, position in sorted(places.items()) if start <= layer <= end]
    groups = [_factors(chain.stages[a:b], saved[a:b]) for a, b in itertools.pairwise(within)]
    for factor in itertools.chain.from_iterable(groups):
        if factor.diagonal is not None and not torch.isfinite(factor.diagonal).all():
            raise NonFiniteNetwork("a derivative of an activation is not finite")
    return groups


def cuts(chain: Chain) -> dict[int, int]:
    """l → the index of the stage that x^l enters, for every l that is no branch's own.

    x^l is what counted layer l + 1 reads; where that layer is the first of a residual block, what the block reads.
    """
    places = {0: 0, chain.depth + 1: len(chain.stages)}
    opened = 0  # where the outermost open branch left
    used = -1
    for index, stage in enumerate(chain.stages):
        if stage.branches == 0:
            opened = index
        if stage.counts and opened != used:
            used = opened
            if stage.depth:
                places[stage.depth] = opened
    return places


def _factors(stages: Sequence[Stage], saved: Sequence[Tensor]) -> list[Factor]:
    factors: list[Factor] = []
    outer: list[list[Factor]] = []
    for stage, kept in zip(stages, saved, strict=True):
        if isinstance(stage.module, Fork):
            outer.append(factors)
            factors = []
        elif isinstance(stage.module, Join):
            block = _block(stage.module, factors, stage.shape.numel(), kept)
            factors = [*outer.pop(), block]
        else:
            _append(factors, stage, kept)
    return factors


def _block(join: Join, branch: list[Factor], width: int, like: Tensor) -> Factor:
    """a·I + b·B of a residual block, B the product of its branch's factors."""
    identity = torch.eye(width, dtype=like.dtype, device=like.device)
    product = identity
    for factor in branch:
        product = factor.matrix @ product
        if factor.diagonal is not None:
            product = factor.diagonal[:, :, None] * product
    return Factor(join.skip * identity + join.branch * product, None)


def _append(factors: list[Factor], stage: Stage, saved: Tensor) -> None:
    rule: Rule = stage.rule
    if rule.is_identity:
        return
    if not isinstance(rule, Elementwise):
        factors.append(Factor(rule.jacobian(stage.module, saved, stage.shape), None))
        return
    saved = saved.flatten(1)
    if factors:
        last = factors.pop()
        factors.append(Factor(last.matrix, saved if last.diagonal is None else last.diagonal * saved))
    else:
        factors.append(Factor(torch.eye(saved.shape[1], dtype=saved.dtype, device=saved.device), saved))
