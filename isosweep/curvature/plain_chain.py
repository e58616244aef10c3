"""The Jacobian as a plain product of its factors, and its singular values: right while its condition number is small.

A product of float64 matrices has errors of a few ε·s_max in every singular value, so a relative error of about ε·κ in
the smallest (κ = s_max/s_min). `PLAIN_CONDITION` is where that reaches 1e-11; beyond, `graded_qr` is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from isosweep.curvature.jacobian_factors import Factor

__all__ = ["PLAIN_CONDITION", "condition_is_small", "partial_products", "plain_singular_values"]

# Largest condition number of the product, and of the partial products that are looked at, for the plain chain to be
# used.
PLAIN_CONDITION = 1e4
# A partial product's condition is bounded from below after this many factors.
CHECK_AFTER = (2, 8, 32)
# The product is brought back to size 1, by a power of two, when the factors since may have changed it by so many bits.
RESCALE_BITS = 60.0


def plain_singular_values(factors: list[Factor], samples: int, stop_early: bool) -> tuple[Tensor, Tensor] | None:
    """The product of the factors, sample by sample, and the singular values of it.

    Args:
        factors: first factor acting first.
        samples: m.
        stop_early: return None as soon as a partial product's condition exceeds `PLAIN_CONDITION` for any sample.

    Returns:
        (m, values) singular values of the product divided by 2^e, largest first, and (m,) the exponents e.
    """
    last = None
    for index, last in enumerate(partial_products(factors, samples)):
        if stop_early and index + 1 in CHECK_AFTER and not _may_be_small(last[0]):
            return None
    assert last is not None
    product, exponents = last
    return torch.linalg.svdvals(product), exponents


def partial_products(factors: list[Factor], samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """After every factor, the product so far divided by 2^e, (m, out, in), and e, (m,); the last one is of size 1."""
    first = factors[0].matrix
    product = first.expand(samples, -1, -1) if first.ndim == 2 else first
    exponents = first.new_zeros(samples)
    growth = 0.0
    for index, factor in enumerate(factors):
        if index:
            product = factor.matrix @ product
        growth += abs(math.log2(max(float(factor.matrix.norm()), 1e-300)))
        if factor.diagonal is not None:
            product = product * factor.diagonal[:, :, None]
        if growth > RESCALE_BITS or index + 1 == len(factors):
            product, exponents = _rescale(product, exponents)
            growth = 0.0
        yield product, exponents


def condition_is_small(values: Tensor) -> bool:
    """Whether every row of singular values (m, values), largest first, is within `PLAIN_CONDITION`."""
    return bool((values[:, -1] * PLAIN_CONDITION >= values[:, 0]).all()) and bool((values[:, -1] > 0).all())


def _rescale(product: Tensor, exponents: Tensor) -> tuple[Tensor, Tensor]:
    largest = product.abs().amax(dim=(1, 2))
    _, shift = torch.frexp(largest)
    shift = torch.where(largest > 0, shift, 0)
    return torch.ldexp(product, -shift[:, None, None]), exponents + shift


def _may_be_small(product: Tensor) -> bool:
    """Whether the condition may be within bounds: max|r_ii|/min|r_ii| of a triangular factor is at most κ."""
    tall = product if product.shape[1] >= product.shape[2] else product.mT
    diagonal = torch.linalg.qr(tall, mode="r").R.diagonal(dim1=1, dim2=2).abs()
    return bool((diagonal.amax(1) <= PLAIN_CONDITION * diagonal.amin(1)).all())
