"""The singular values of the input-output Jacobian, to full relative accuracy at any depth."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isosweep.curvature.chain import Chain, chain_of
from isosweep.curvature.errors import CurvatureError
from isosweep.curvature.graded_qr import graded_triangle
from isosweep.curvature.graded_svd import LN2, graded_log_singular_values
from isosweep.curvature.jacobian_factors import Factor, jacobian_factors
from isosweep.curvature.plain_chain import condition_is_small, plain_singular_values
from isosweep.threads import Workers, single_threaded

__all__ = ["JacobianSpectrum", "jacobian_spectrum"]

JacobianMethod = Literal["auto", "plain", "graded"]

# Samples that go through the chain together, whatever the number of workers.
SAMPLE_SHARD = 4


class JacobianSpectrum(NamedTuple):
    """Singular values of a Jacobian at several inputs, each row largest first.

    Attributes:
        singular_values: (inputs, values) float64; those beyond float64's range are 0 or infinite here.
        log_singular_values: their natural logarithms, −inf for exact zeros; right also beyond float64's range.
    """

    singular_values: Tensor
    log_singular_values: Tensor

    @property
    def log_s_max(self) -> Tensor:
        """ln of the largest singular value, (inputs,); −inf for a Jacobian that is exactly zero."""
        return self.log_singular_values[:, 0]

    @property
    def log_s_min(self) -> Tensor:
        """ln of the smallest singular value that is not exactly zero, (inputs,); NaN where there is none."""
        smallest = self.log_singular_values.gather(1, (self.rank - 1).clamp(min=0)[:, None])[:, 0]
        return torch.where(self.rank > 0, smallest, torch.nan)

    def log_moment(self, order: float) -> Tensor:
        """ln of the mean over all singular values, zeros too, of s^(2·order): the moments of JᵀJ's spectrum,
        (inputs,).
        """
        count = self.log_singular_values.shape[1]
        return torch.logsumexp(2 * order * self.log_singular_values, dim=1) - math.log(count)

    @property
    def log_variance(self) -> Tensor:
        """ln of the variance over the singular values of s², (inputs,); −inf where all are equal."""
        squares = 2 * self.log_singular_values
        mean = self.log_moment(1)[:, None]
        # |s² − mean| as mean · |expm1(ln(s²/mean))|: no overflow, no cancellation of second moments.
        ratio = torch.where(mean > -torch.inf, squares - mean, 0.0)
        deviations = torch.expm1(ratio).abs().log() + mean
        return torch.logsumexp(2 * deviations, dim=1) - math.log(squares.shape[1])

    @property
    def rank(self) -> Tensor:
        """The number of singular values that are not exactly zero, (inputs,)."""
        return (self.log_singular_values > -torch.inf).sum(dim=1)

    @property
    def log_condition_number(self) -> Tensor:
        """ln(s_max/s_min) over the values that are not exactly zero, (inputs,); NaN where there is none."""
        return self.log_s_max - self.log_s_min


def jacobian_spectrum(
    network: nn.Module,
    inputs: Tensor,
    start: int = 0,
    end: int | Literal["logits"] | None = None,
    *,
    method: JacobianMethod = "auto",
    workers: int = 1,
) -> JacobianSpectrum:
    """All singular values of ∂x^end/∂x^start at every input, by default from the input to the readout's input.

    Args:
        network: `torch.nn.Sequential` of supported layers; x^l is the activation that dense layer l + 1 reads, x^0
            the input.
        inputs: (m, N_0), of the weights' dtype and device.
        start: a layer, 0 ≤ start < end.
        end: a layer up to L (the default), or "logits" (or L + 1) for the outputs.
        method: "plain" multiplies the factors out; "graded" keeps every singular value to full relative accuracy;
            "auto" takes the plain product where its condition number shows that it suffices, for all inputs of a shard.
        workers: single-threaded workers that share the inputs; the result's bits do not depend on it.

    Returns:
        Both tensors (m, min(N_start, N_end)), float64, on the inputs' device. With "auto" and "graded" the absolute
        error of a logarithm is at most 1e-10 (rounding in the derivatives φ'(h) themselves aside).

    Raises:
        UnsupportedLayer, ShapeMismatch, MixedTensors, NonFiniteNetwork: see `isosweep.curvature.errors`.
        CurvatureError: start and end are not layers in order, or the method is unknown.
    """
    if method not in ("auto", "plain", "graded"):
        raise CurvatureError(f"unknown method {method!r}; there are auto, plain, graded")
    with single_threaded(), torch.no_grad(), Workers(workers) as crew:
        chain = chain_of(network, inputs)
        factors = [f for group in jacobian_factors(chain, inputs, start, _last(chain, end)) for f in group]
        pieces = [slice(i, min(i + SAMPLE_SHARD, len(inputs))) for i in range(0, len(inputs), SAMPLE_SHARD)]

        def task(piece: slice) -> Tensor:
            return _log_singular_values([factor.select(piece) for factor in factors], piece.stop - piece.start, method)

        logs = torch.cat(crew.run(task, pieces)).to(inputs.device)
        return JacobianSpectrum(torch.exp(logs), logs)


def _last(chain: Chain, end: int | str | None) -> int:
    if end is None:
        if chain.depth == 0:
            raise CurvatureError("a network of one dense layer has no Jacobian of the readout's input: end='logits'")
        return chain.depth
    if isinstance(end, str):
        if end != "logits":
            raise CurvatureError(f"end must be a layer's number, 'logits' or None, got {end!r}")
        return chain.depth + 1
    return end


def _log_singular_values(factors: list[Factor], samples: int, method: JacobianMethod) -> Tensor:
    """ln of the singular values, (samples, values), float64 on the CPU."""
    if method != "graded":
        plain = plain_singular_values(factors, samples, stop_early=method == "auto")
        if plain is not None and (method == "plain" or condition_is_small(plain[0])):
            values, shift = plain
            return torch.log(values.double().cpu()) + LN2 * shift.double().cpu()[:, None]
    graded = graded_triangle(factors, samples)
    count = min(factors[0].matrix.shape[-1], factors[-1].matrix.shape[-2])
    rows, exponents = graded.rows.double().cpu().numpy(), graded.exponents.cpu().numpy()
    logs = [graded_log_singular_values(rows[i], exponents[i], count) for i in range(samples)]
    return torch.from_numpy(np.stack(logs))
