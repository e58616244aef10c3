"""The weighted Jacobian G (R × P, F = GᵀG) as an operator: u ↦ Gᵀu by one pass back, v ↦ Gv by one pass forward.

Neither G nor the dual matrix is formed. Extra memory: the activations and P.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isosweep.curvature.chain import Chain, Trace
from isosweep.curvature.dual_gram import pull_back_all
from isosweep.curvature.layers import Parameters
from isosweep.curvature.output_weights import OutputWeights
from isosweep.networks.residual import Fork, Join
from isosweep.threads import Workers

__all__ = ["WeightedJacobian"]

# Samples whose tangents go forward together.
SAMPLE_SHARD = 160
# Layers whose gradients are taken together, by several workers.
GRADIENT_GROUP = 8


@dataclass(frozen=True)
class WeightedJacobian:
    """G of a network at a batch.

    Attributes:
        chain: the network.
        trace: its forward pass.
        weights: the rows.
        parameters: which parameters are columns, in the order of `network.parameters()`.
        workers: who does the work.
    """

    chain: Chain
    trace: Trace
    weights: OutputWeights
    parameters: Parameters
    workers: Workers

    @property
    def rows(self) -> int:
        """R."""
        return self.weights.rows

    @property
    def columns(self) -> int:
        """P."""
        last: int = self._places()[-1].stop
        return last

    def _places(self) -> list[slice]:
        """Where the parameters of every stage stand among the columns; the same for all places of a module."""
        places: list[slice] = []
        end = 0
        for index, stage in enumerate(self.chain.stages):
            if stage.owner != index:
                places.append(places[stage.owner])
                continue
            start, end = end, end + stage.rule.parameter_count(stage.module, self.parameters)
            places.append(slice(start, end))
        return [*places, slice(end, end)]

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        """Gᵀu for each row u of `coefficients` (m, R): (m, P)."""
        return self.gradients(self.weights.combine(coefficients))

    def gradients(self, cotangents: Tensor) -> Tensor:
        """Σ_i J_iᵀ c_i for each of m rows of cotangents at the outputs, (m, n, C): (m, P)."""
        result = cotangents.new_empty(len(cotangents), self.columns)
        places = self._places()
        stages = self.chain.stages
        # A module that stands in several places has its gradients added in the order of the walk.
        shared = {stage.owner for index, stage in enumerate(stages) if stage.owner != index}
        for owner in shared:
            result[:, places[owner]] = 0
        waiting: list[tuple[int, Tensor, Tensor]] = []

        def task(item: tuple[int, Tensor, Tensor]) -> Tensor | None:
            index, saved, cotangents = item
            stage = stages[index]
            gradients = stage.rule.gradients(stage.module, saved, cotangents, self.parameters)
            if stage.owner in shared:
                return gradients
            result[:, places[index]] = gradients
            return None

        def carry_out() -> None:
            for (index, _, _), gradients in zip(waiting, self.workers.run(task, waiting), strict=True):
                if gradients is not None:
                    result[:, places[index]] += gradients
            waiting.clear()

        for index, current in pull_back_all(self.chain, self.trace, cotangents, self.parameters, self.workers):
            waiting.append((index, self.trace.saved[index], current))
            if len(waiting) == GRADIENT_GROUP:
                carry_out()
        carry_out()
        return result

    def times(self, direction: Tensor) -> Tensor:
        """Gv for v (P,): (R,)."""
        return self.weights.project(self.output_tangents(direction))

    def output_tangents(self, direction: Tensor) -> Tensor:
        """J_i v for v (P,) at every sample: (n, C)."""
        count = len(self.trace.outputs)
        pieces = [slice(start, min(start + SAMPLE_SHARD, count)) for start in range(0, count, SAMPLE_SHARD)]
        return torch.cat(self.workers.run(lambda piece: self._output_tangents(direction, piece), pieces))

    def _output_tangents(self, direction: Tensor, piece: slice) -> Tensor:
        tangents: Tensor | None = None  # zero so far
        aside: list[Tensor | None] = []
        for stage, saved, place in zip(self.chain.stages, self.trace.saved, self._places(), strict=False):
            kept = saved[piece]
            if isinstance(stage.module, Fork):
                aside.append(tangents)
            elif isinstance(stage.module, Join):
                skipped = aside.pop()
                tangents = None if tangents is None else stage.module.branch * tangents
                if skipped is not None:
                    tangents = _sum(stage.module.skip * skipped, tangents)
            elif tangents is not None:
                tangents = stage.rule.push_forward(stage.module, kept, tangents)
            if place.stop > place.start:
                change = stage.rule.push_parameters(stage.module, kept, direction[place], self.parameters)
                tangents = _sum(change, tangents)
        assert tangents is not None
        return tangents

    def dual_times(self, u: Tensor) -> Tensor:
        """Ku = GGᵀu, (R,)."""
        return self.times(self.transposed_times(u[None])[0])

    def fisher_times(self, v: Tensor) -> Tensor:
        """Fv = GᵀGv, (P,)."""
        return self.transposed_times(self.times(v)[None])[0]


def _sum(one: Tensor, other: Tensor | None) -> Tensor:
    return one if other is None else other + one
