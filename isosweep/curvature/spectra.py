"""What a measurement of the Fisher matrix returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["BlockSpectrum", "FisherSpectrum"]


@dataclass(frozen=True)
class BlockSpectrum:
    """The spectrum of one layer's diagonal block of F.

    Attributes:
        eigenvalues: min(R, P_layer) values, largest first, clipped at 0; None where only the summary was asked for.
        lambda_max: the largest eigenvalue.
        trace: the sum of all.
        rank: how many exceed R·ε·λ_max.
    """

    eigenvalues: Tensor | None
    lambda_max: float
    trace: float
    rank: int


@dataclass(frozen=True)
class FisherSpectrum:
    """The spectrum of the Fisher information matrix F of P parameters, through R = n(C − 1) or nC rows of the Jacobian.

    Attributes:
        eigenvalues: min(R, P) values, 1-d float64, largest first, clipped at 0. F's other P − R eigenvalues are
            exactly 0.
        trace: tr F.
        frobenius: ‖F‖ in the Frobenius norm.
        rank: how many eigenvalues exceed R·ε·λ_max, ε the rounding unit of the computation's dtype.
        abs_error: bounds the absolute error of every eigenvalue.
        parameters: P.
        blocks: the layers' own blocks by name, the first layer first; empty where none were asked for.
    """

    eigenvalues: Tensor
    trace: float
    frobenius: float
    rank: int
    abs_error: float
    parameters: int
    blocks: dict[str, BlockSpectrum] = field(default_factory=dict)

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue; 0 where there is none."""
        return float(self.eigenvalues[0]) if self.eigenvalues.numel() else 0.0

    @property
    def condition_number(self) -> float:
        """λ_max over the smallest eigenvalue that counts towards `rank`; NaN where the rank is 0."""
        return self.lambda_max / float(self.eigenvalues[self.rank - 1]) if self.rank else float("nan")

    def effective_dimension(self, damping: float) -> float:
        """tr F(F + λI)⁻¹ for λ = `damping` > 0: how many directions the data determine against a prior of precision
        λ.
        """
        return float((self.eigenvalues / (self.eigenvalues + damping)).sum())

    def log_determinant(self, damping: float) -> float:
        """log det(I + F/λ), natural, for λ = `damping` > 0."""
        return float(torch.log1p(self.eigenvalues / damping).sum())
