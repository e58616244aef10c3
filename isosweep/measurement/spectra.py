"""The spectra of one network: at initialisation and, the same way, at every measured point of training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isosweep.curvature import forward_statistics, jacobian_spectrum
from isosweep.measurement.fisher import measure_fisher
from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity
from isosweep.measurement.reversal import reversal_errors
from isosweep.sweep.settings import MeasureSettings

__all__ = ["MeasuredInputs", "Spectra", "input_statistics", "measure_spectra"]


@dataclass(frozen=True)
class MeasuredInputs:
    """What is measured on, of the measurement's dtype, on its device.

    Attributes:
        fisher: (n, N_0), those that the Fisher is averaged over, or the Jacobian's where it is measured alone.
        labels: (n,), theirs.
        jacobian: (m, N_0).
    """

    fisher: Tensor
    labels: Tensor
    jacobian: Tensor


@dataclass(frozen=True)
class Spectra:
    """Rows of the tables, and numbers of the whole network by column name."""

    fisher: tuple[FisherBlock, ...]
    jacobian: tuple[JacobianSample, ...]
    layers: tuple[LayerActivity, ...]
    scalars: dict[str, float]


def measure_spectra(network: nn.Module, inputs: MeasuredInputs, measure: MeasureSettings, step: int = 0) -> Spectra:
    """Fisher and Jacobian spectra as the settings want them, and the layers' activity.

    Args:
        network: `torch.nn.Sequential` of supported layers.
        inputs: what it is measured on.
        measure: the settings.
        step: the training step that the rows are marked with.

    Raises:
        Errors of `isosweep.curvature.errors`.
    """
    blocks: tuple[FisherBlock, ...] = ()
    scalars: dict[str, float] = {}
    if measure.fisher is not None:
        measured = measure_fisher(network, inputs.fisher, inputs.labels, measure.fisher, step)
        blocks, scalars = measured.blocks, dict(measured.scalars)
    samples: list[JacobianSample] = []
    if measure.jacobian is not None:
        m = measure.jacobian.samples
        result = jacobian_spectrum(network, inputs.jacobian[:m])
        values = result.singular_values.cpu().double().numpy()
        logs = result.log_singular_values.cpu().double().numpy()
        samples = [JacobianSample(step, i, values[i], logs[i]) for i in range(m)]
        finite = logs[~(logs == -math.inf)]
        scalars["jacobian_s_max"] = float(values.max())
        scalars["jacobian_log_s_max"] = float(logs.max())
        scalars["jacobian_log_s_min"] = float(finite.min()) if finite.size else -math.inf
        scalars["jacobian_rank"] = float(min((row != -math.inf).sum() for row in logs))
    if measure.reversal:
        assert isinstance(network, nn.Sequential)
        reversal = reversal_errors(network, inputs.fisher)
        scalars |= {"reversal_state_error": reversal.state, "reversal_gradient_error": reversal.gradient}
    activity = forward_statistics(network, inputs.fisher)
    layers = [
        LayerActivity(step, i, name, float(q), float(c))
        for i, (name, q, c) in enumerate(zip(activity.names, activity.q, activity.c, strict=True), start=1)
    ]
    return Spectra(blocks, tuple(samples), tuple(layers), scalars)


def input_statistics(inputs: Tensor) -> dict[str, float]:
    """What mean field starts from: the mean of |x|²/N_0, and that of x_i·x_j over distinct pairs as a share of it."""
    x = inputs.to(device="cpu", dtype=torch.float64)
    n, width = x.shape
    square = float((x * x).sum(dim=1).mean())
    # Σ_{i≠j} x_i·x_j = |Σ x_i|² − Σ |x_i|²
    total = x.sum(dim=0)
    pair = (float(total @ total) - n * square) / (n * (n - 1)) if n > 1 else math.nan
    return {"input_mean_square": square / width, "input_correlation": pair / square if square > 0 else math.nan}
