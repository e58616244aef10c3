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
