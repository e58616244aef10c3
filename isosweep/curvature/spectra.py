"""What a measurement of the Fisher matrix returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isosweep.curvature.block_summary import rank_threshold
from isosweep.curvature.spectral_density import SpectralDensity

__all__ = ["BlockSpectrum", "FisherSpectrum", "error_units", "first", "numerical_rank"]


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
    """The spectrum of the Fisher information matrix F of P parameters, through R rows of the weighted Jacobian.

    Attributes:
        eigenvalues: min(R, P) values, 1-d float64, largest first, clipped at 0; F's other P − R are exactly 0. For
            "lanczos", the leading ones.
        trace: tr F.
        frobenius: ‖F‖ in the Frobenius norm; for "lanczos" estimated from the density, NaN without one.
        rank: how many eigenvalues exceed R·ε·λ_max, ε the rounding unit of the computation's dtype; −1 for "lanczos",
            where it is not known.
        abs_error: bounds the absolute error of every eigenvalue.
        parameters: P.
        method: "dual"; "explicit" (accurate=True); "lanczos": only the leading eigenvalues, each once.
        errors: for "lanczos", the bound of each eigenvalue's error; else None, and `abs_error` holds for all.
        density: for "lanczos" with probes, the estimated density of all eigenvalues; else None.
        eigenvectors: (count, P) float64, unit vectors of the largest eigenvalues, in the order of
            `network.parameters()`; None where none were asked for.
        blocks: the layers' own blocks by name, the first layer first; empty where none were asked for.
    """

    eigenvalues: Tensor
    trace: float
    frobenius: float
    rank: int
    abs_error: float
    parameters: int
    method: str = "dual"
    errors: Tensor | None = None
    density: SpectralDensity | None = None
    eigenvectors: Tensor | None = None
    blocks: dict[str, BlockSpectrum] = field(default_factory=dict)

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue; 0 where there is none."""
        return first(self.eigenvalues)

    @property
    def condition_number(self) -> float:
        """λ_max over the smallest eigenvalue that counts towards `rank`; NaN where the rank is 0 or not known."""
        return self.lambda_max / float(self.eigenvalues[self.rank - 1]) if self.rank > 0 else float("nan")

    def effective_dimension(self, damping: float) -> float:
        """tr F(F + λI)⁻¹ for λ = `damping` > 0: the directions that the data determine against a prior of precision λ.

        For "lanczos": of the eigenvalues that were found; `density.expectation` estimates it for all.
        """
        return float((self.eigenvalues / (self.eigenvalues + damping)).sum())

    def log_determinant(self, damping: float) -> float:
        """log det(I + F/λ), natural, for λ = `damping` > 0; for "lanczos" as above."""
        return float(torch.log1p(self.eigenvalues / damping).sum())


def error_units(rows: int) -> float:
    """Bound of |error|/λ_max of an eigenvalue of R rows, in rounding units: 45 (1e-14 in float64), 1.25√R beyond R =
    1300.

    The eigensolver's errors grow as √R; the tests hold the bound over all cases and on matrices of known spectrum.
    """
    return max(45.0, 1.25 * math.sqrt(rows))


def first(values: Tensor) -> float:
    """The first entry; 0 of an empty tensor."""
    return float(values[0]) if values.numel() else 0.0


def numerical_rank(eigenvalues: Tensor, rows: int, dtype: torch.dtype) -> int:
    """How many eigenvalues (largest first) exceed R·ε·λ_max, ε that of `dtype`."""
    if eigenvalues.numel() == 0:
        return 0
    return int((eigenvalues > rank_threshold(float(eigenvalues[0]), rows, dtype)).sum())
