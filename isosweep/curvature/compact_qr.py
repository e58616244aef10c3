"""QR of a batch of matrices whose Q is only ever multiplied with: kept as reflectors.

On the CPU in float64 as LAPACK's compact form, which keeps the triangular factors of the blocks of reflectors too:
multiplying takes three quarters of the time of `torch.ormqr`, which finds them again. Elsewhere as torch has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isosweep.curvature.lapack import qr_factor, times_q

__all__ = ["Reflections", "compact_qr"]


@dataclass(frozen=True)
class Reflections:
    """Q of each matrix of a batch.

    Attributes:
        packed: the reflectors as LAPACK leaves them, (b, m, n).
        blocks: T of every matrix, by LAPACK; or torch's tau, (b, min(m, n)).
    """

    packed: Tensor
    blocks: list[np.ndarray] | Tensor

    def applied_to(self, batch: Tensor) -> Tensor:
        """C Q for C (b, r, m), which may be overwritten."""
        if isinstance(self.blocks, Tensor):
            count = self.blocks.shape[1]
            return torch.ormqr(self.packed[:, :, :count], self.blocks, batch, left=False)
        columns = batch.mT.contiguous()
        for matrix, reflectors, t in zip(columns, self.packed, self.blocks, strict=True):
            times_q(matrix.numpy().T, reflectors.numpy(), t)
        return columns.mT


def compact_qr(batch: Tensor) -> tuple[Tensor, Reflections]:
    """R (b, min(m, n), n) of each matrix of a batch (b, m, n), which may be overwritten, and its Q."""
    if batch.device.type != "cpu" or batch.dtype != torch.float64:
        packed, tau = torch.geqrf(batch)
        blocks: list[np.ndarray] | Tensor = tau
    else:
        packed = batch.mT.contiguous().mT
        blocks = [qr_factor(matrix.numpy()) for matrix in packed]
    return packed[:, : min(packed.shape[1:])].triu(), Reflections(packed, blocks)
