"""The weighted Jacobian G (R × P, F = GᵀG) as an operator: u ↦ Gᵀu by one pass back, v ↦ Gv by one pass forward.

Neither G nor the dual matrix is formed. Extra memory: the activations and P.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isosweep.curvature.chain import Chain, Stage, Trace
from isosweep.curvature.dual_gram import pull_back_all
from isosweep.curvature.layers import Parameters
from isosweep.curvature.output_weights import OutputWeights
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
        return sum(self._count(stage) for stage in self.chain.stages)

    def _count(self, stage: Stage) -> int:
        return stage.rule.parameter_count(stage.module, self.parameters)

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        """Gᵀu for each row u of `coefficients` (m, R): (m, P)."""
        return self.gradients(self.weights.combine(coefficients))

    def gradients(self, cotangents: Tensor) -> Tensor:
        """Σ_i J_iᵀ c_i for each of m rows of cotangents at the outputs, (m, n, C): (m, P)."""
        result = cotangents.new_empty(len(cotangents), self.columns)
        edges = [0]
        for stage in self.chain.stages:
            edges.append(edges[-1] + self._count(stage))
        waiting: list[tuple[int, Tensor]] = []

        def task(item: tuple[int, Tensor]) -> None:
            index, cotangents = item
            stage, saved = self.chain.stages[index], self.trace.saved[index]
            gradients = stage.rule.gradients(stage.module, saved, cotangents, self.parameters)
            result[:, edges[index] : edges[index + 1]] = gradients

        for item in pull_back_all(self.chain, self.trace, cotangents, self.parameters, self.workers):
            waiting.append(item)
            if len(waiting) == GRADIENT_GROUP:
                self.workers.run(task, waiting)
                waiting = []
        self.workers.run(task, waiting)
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
        tangents: Tensor | None = None
        start = 0
        for stage, saved in zip(self.chain.stages, self.trace.saved, strict=True):
            kept = saved[piece]
            if tangents is not None:
                tangents = stage.rule.push_forward(stage.module, kept, tangents)
            count = self._count(stage)
            if count:
                part = direction[start : start + count]
                change = stage.rule.push_parameters(stage.module, kept, part, self.parameters)
                tangents = change if tangents is None else tangents + change
                start += count
        assert tangents is not None
        return tangents

    def dual_times(self, u: Tensor) -> Tensor:
        """Ku = GGᵀu, (R,)."""
        return self.times(self.transposed_times(u[None])[0])

    def fisher_times(self, v: Tensor) -> Tensor:
        """Fv = GᵀGv, (P,)."""
        return self.transposed_times(self.times(v)[None])[0]
