"""An estimated density of eigenvalues, with the error of everything that is read from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SpectralDensity"]


@dataclass(frozen=True)
class SpectralDensity:
    """An estimate of the density of all eigenvalues, of K or of F.

    Attributes:
        nodes: (probes, steps) float64, the Ritz values of each probe, ascending; NaN where a Krylov space ended early.
        weights: (probes, steps), the mass of each node; every probe's sum to 1.
        dimension: min(R, P), how many eigenvalues the density stands for.
    """

    nodes: Tensor
    weights: Tensor
    dimension: int

    def expectation(self, function: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Σ f(λ) over all eigenvalues, and the standard error of that over the probes (NaN with one probe)."""
        valid = self.weights > 0
        values = torch.where(valid, function(torch.where(valid, self.nodes, 0.0)) * self.weights, 0.0).sum(dim=1)
        values = values * self.dimension
        error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else float("nan")
        return float(values.mean()), error

    def count_above(self, threshold: float) -> tuple[float, float]:
        """The estimated number of eigenvalues above a threshold, and its standard error."""
        return self.expectation(lambda nodes: (nodes > threshold).to(nodes.dtype))

    def counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The density as a staircase: at every node, largest first, how many eigenvalues are at least that large.

        Returns:
            The nodes of all probes together; the estimated counts; their standard errors over the probes (NaN with
            one probe). float64, one entry a node.
        """
        valid = self.weights > 0
        nodes = self.nodes[valid]
        order = nodes.argsort(descending=True, stable=True)
        owner = valid.nonzero()[:, 0][order]
        steps = self.weights.new_zeros(len(self.weights), len(order))
        steps[owner, torch.arange(len(order), device=order.device)] = self.weights[valid][order]
        counts = steps.cumsum(dim=1) * self.dimension
        probes = len(counts)
        error = counts.std(dim=0) / math.sqrt(probes) if probes > 1 else torch.full_like(counts[0], torch.nan)
        return nodes[order], counts.mean(dim=0), error
