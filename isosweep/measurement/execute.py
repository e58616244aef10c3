"""Carry out a run: its network, its data, its spectra."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from isosweep.curvature import forward_statistics, jacobian_spectrum
from isosweep.networks.realize import realize
from isosweep.sweep.settings import Run
from isosweep.threads import single_threaded

from .determinism import deterministic
from .fisher import measure_fisher
from .measurement import FisherBlock, JacobianSample, LayerActivity, Measurement

__all__ = ["execute"]


def execute(
    run: Run,
    device: str | torch.device = "cpu",
    *,
    folder: str | Path | None = None,
    checkpoints: Path | None = None,
    stop: Callable[[], bool] | None = None,
) -> Measurement:
    """Measure a run at initialisation.

    Within one environment class the result is the same to the last bit, whatever ran before in the process and however
    many threads it has.

    Args:
        run: from `isosweep.load(path).runs()`.
        device: "cpu", or a CUDA device.
        folder: where a user's own module is imported from (the working directory if None).
        checkpoints: the folder of this run's own checkpoints; without effect on a run that does not train.
        stop: asked between training steps; once it is true the run writes its checkpoint and raises `Paused`.

    Raises:
        Paused: `stop` said so.
        MissingData, UserNetworkError: see `isosweep.realize`.
        Errors of `isosweep.curvature.errors`: a layer that is not supported, weights or activations that are not
        finite.
    """
    with deterministic(run.seed), single_threaded(), torch.no_grad():
        network, inputs, labels = realize(run, device, folder=folder)
        blocks: list[FisherBlock] = []
        scalars = _input_statistics(inputs)
        wanted = run.measure.fisher
        if wanted is not None:
            measured = measure_fisher(network, inputs, labels, wanted)
            blocks.extend(measured.blocks)
            scalars |= measured.scalars
        samples: list[JacobianSample] = []
        if run.measure.jacobian is not None:
            m = run.measure.jacobian.samples
            result = jacobian_spectrum(network, inputs[:m])
            values, logs = (
                result.singular_values.cpu().double().numpy(),
                result.log_singular_values.cpu().double().numpy(),
            )
            samples = [JacobianSample(0, i, values[i], logs[i]) for i in range(m)]
            finite = logs[~(logs == -math.inf)]
            scalars["jacobian_s_max"] = float(values.max())
            scalars["jacobian_log_s_max"] = float(logs.max())
            scalars["jacobian_log_s_min"] = float(finite.min()) if finite.size else -math.inf
            scalars["jacobian_rank"] = float(min((row != -math.inf).sum() for row in logs))
        statistics = forward_statistics(network, inputs)
        layers = [
            LayerActivity(0, i, name, float(q), float(c))
            for i, (name, q, c) in enumerate(zip(statistics.names, statistics.q, statistics.c, strict=True), start=1)
        ]
    return Measurement(tuple(blocks), tuple(samples), tuple(layers), scalars)


def _input_statistics(inputs: Tensor) -> dict[str, float]:
    """What mean field starts from: the mean of |x|²/N_0, and that of x_i·x_j over distinct pairs as a share of it."""
    x = inputs.to(device="cpu", dtype=torch.float64)
    n, width = x.shape
    square = float((x * x).sum(dim=1).mean())
    # Σ_{i≠j} x_i·x_j = |Σ x_i|² − Σ |x_i|²
    total = x.sum(dim=0)
    pair = (float(total @ total) - n * square) / (n * (n - 1)) if n > 1 else math.nan
    return {"input_mean_square": square / width, "input_correlation": pair / square if square > 0 else math.nan}
