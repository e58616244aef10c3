"""The leading eigenvalues of the Hessian of the loss, by Lanczos on Hessian-vector products.

∇²L = F + Σ_i Σ_c r_ic ∇² f_ic / n: the Fisher information matrix (of the likelihood that the loss belongs to) and a
part that vanishes with the residuals r. The products are exact, by differentiating the gradient once more (Pearlmutter
1994, "Fast exact multiplication by the Hessian"), sample shard by sample shard.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isosweep.curvature.lanczos import Krylov, krylov
from isosweep.draws import generator
from isosweep.fisher_memory import DEFAULT_MEMORY
from isosweep.threads import Workers
from isosweep.training.gradient import SHARD
from isosweep.training.leaves import with_leaves
from isosweep.training.losses import targets_of
from isosweep.training.measured.restarted_lanczos import restarted_lanczos

__all__ = ["HessianTooLarge", "HessianTop", "basis_dimension", "hessian_top"]

# Shards whose products are held together: each is a vector of all parameters.
_WAVE = 4
# The Krylov space's largest dimension, for k eigenvalues; and how many times as many products there may be where its
# basis must begin again for want of memory.
_STEPS_PER_VALUE, _STEPS = 20, 80
_AGAIN = 4
# The least dimension beside the k that is worth while.
_LEAST = 16
_TOLERANCE = 1e-10


class HessianTooLarge(Exception):
    """Not even the smallest basis for the Hessian's eigenvalues fits the memory budget."""


def basis_dimension(parameters: int, itemsize: int, count: int, budget: int = DEFAULT_MEMORY) -> int:
    """The dimension of the Krylov basis: 80 + 20·count, or as many vectors of all parameters as fit the budget (bytes).

    By shapes alone, never by a node's memory, so that results do not depend on it.

    Raises:
        HessianTooLarge: fewer than 16 + count fit; says what to do.
    """
    fits = budget // max(1, parameters * itemsize)
    if fits < min(_LEAST + count, parameters):
        raise HessianTooLarge(
            f"{count} eigenvalues of the Hessian need at least {_LEAST + count} vectors of all {parameters:,} "
            f"parameters, {(_LEAST + count) * parameters * itemsize / 2**30:.1f} GiB; the budget is "
            f"{budget / 2**30:g} GiB: leave out train.measure.hessian, or measure in float32 (measure.dtype)"
        )
    return min(_STEPS + _STEPS_PER_VALUE * count, fits)


class HessianTop(NamedTuple):
    """`eigenvalues`: the algebraically largest, largest first, float64; `errors`: the residual of each, a bound of its
    distance to an eigenvalue."""

    eigenvalues: np.ndarray
    errors: np.ndarray


def _loss(loss: str, outputs: Tensor, targets: Tensor, samples: int) -> Tensor:
    if loss == "cross_entropy":
        return -(targets * torch.log_softmax(outputs, dim=1)).sum() / samples
    return 0.5 * (outputs - targets).square().sum() / samples


def hessian_top(
    network: nn.Sequential,
    inputs: Tensor,
    labels: Tensor,
    loss: str,
    count: int,
    seed: int,
    workers: Workers,
    budget: int = DEFAULT_MEMORY,
) -> HessianTop:
    """The `count` algebraically largest eigenvalues of the Hessian of the mean loss over `inputs`, in all parameters.

    Lanczos with full re-orthogonalisation from a random vector of the run's own, until the residuals are below 1e-10
    of the largest value in size, or the space has 80 + 20·count dimensions. As many vectors of all parameters are held
    where they fit 8 GiB; else the basis is as large as fits and is begun again from its leading Ritz vectors, for at
    most four times as many products. Some 20 vectors of all parameters more are held for the products.
    An eigenvalue of several dimensions is found once.

    Args:
        network: plain, of the inputs' dtype and device.
        inputs: (n, N_0).
        labels: (n,) class numbers, or (n, C) targets.
        loss: "cross_entropy" or "squared_error".
        count: how many.
        seed: the run's.
        workers: who shares the samples; the bits do not depend on it.
        budget: bytes that the basis may take.

    Raises:
        HessianTooLarge: see `basis_dimension`.
    """
    parameters = list(network.parameters())
    size = sum(parameter.numel() for parameter in parameters)
    dimension = basis_dimension(size, inputs.element_size(), count, budget)
    samples = len(inputs)
    targets = labels if labels.ndim == 2 else targets_of(labels, _outputs(network), inputs.dtype)
    shards = list(zip(torch.split(inputs, SHARD), torch.split(targets, SHARD), strict=True))

    def product(vector: Tensor) -> Tensor:
        directions = [
            part.view_as(p)
            for part, p in zip(torch.split(vector, [p.numel() for p in parameters]), parameters, strict=True)
        ]

        def of_shard(shard: tuple[Tensor, Tensor]) -> Tensor:
            x, y = shard
            with torch.enable_grad():
                copied, own = with_leaves(network)
                value = _loss(loss, copied(x), y, samples)
                gradients = torch.autograd.grad(value, own, create_graph=True)
                pairing = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
                if not isinstance(pairing, Tensor) or not pairing.requires_grad:
                    return torch.zeros_like(vector)
                second = torch.autograd.grad(pairing, own, allow_unused=True)
            parts = [torch.zeros_like(d) if s is None else s for s, d in zip(second, directions, strict=True)]
            return torch.cat([part.reshape(-1) for part in parts])

        total = torch.zeros_like(vector)
        for first in range(0, len(shards), _WAVE):
            for part in workers.run(of_shard, shards[first : first + _WAVE]):
                total += part
        return total

    def converged(space: Krylov) -> bool:
        largest = max(abs(space.values[0]), abs(space.values[-1]))
        return len(space.values) > count and bool(space.residuals[-count:].max() <= _TOLERANCE * largest)

    start = torch.from_numpy(generator(seed, "hessian").standard_normal(size)).to(inputs)
    most = _STEPS + _STEPS_PER_VALUE * count
    if dimension < min(most, size):
        return HessianTop(*restarted_lanczos(product, start, count, dimension, _AGAIN * most, _TOLERANCE))
    space = krylov(product, start, most, converged)
    return HessianTop(space.values[::-1][:count].copy(), space.residuals[::-1][:count].copy())


def _outputs(network: nn.Sequential) -> int:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1].out_features
