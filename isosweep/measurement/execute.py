"""Carry out a run: its network, its data, its spectra, and its training where it has one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from isosweep.networks.realize import measured_split, realize
from isosweep.sweep.settings import Run
from isosweep.threads import single_threaded

from .determinism import deterministic
from .measurement import Measurement
from .spectra import MeasuredInputs, input_statistics, measure_spectra

__all__ = ["execute"]


def execute(
    run: Run,
    device: str | torch.device = "cpu",
    *,
    folder: str | Path | None = None,
    checkpoints: Path | None = None,
    stop: Callable[[], bool] | None = None,
    checkpoint_minutes: float = 10.0,
    workers: int | None = None,
) -> Measurement:
    """Measure a run: at initialisation and, where it trains, at its points along the training.

    Within one environment class the result is the same to the last bit, whatever ran before in the process and however
    many threads it has; training that was stopped or killed and goes on from its checkpoint included.

    Args:
        run: from `isosweep.load(path).runs()`.
        device: "cpu", or a CUDA device.
        folder: where a user's own module is imported from (the working directory if None).
        checkpoints: the folder of this run's own checkpoints; without effect on a run that does not train.
        stop: asked between training steps; once it is true the run writes its checkpoint and raises `Paused`.
        checkpoint_minutes: how long training may go on without one.
        workers: single-threaded workers that share the work of a training step; the bits do not depend on it. None: as
            many as Slurm gave this task cores (`cpus-per-task`), or one.

    Raises:
        Paused: `stop` said so.
        CheckpointError: the latest checkpoint is another run's or another version's.
        ManifoldError: the weights are not on the manifold that they are to be trained on.
        MissingData, UserNetworkError: see `isosweep.realize`.
        Errors of `isosweep.curvature.errors`: a layer that is not supported, weights or activations that are not
        finite at initialisation.
    """
    with deterministic(run.seed), single_threaded(), torch.no_grad():
        if run.train is not None:
            from isosweep.training.run import train_run

            return train_run(
                run,
                torch.device(device),
                folder=folder,
                checkpoints=checkpoints,
                stop=stop,
                checkpoint_minutes=checkpoint_minutes,
                workers=_cores_of_task() if workers is None else workers,
            )
        network, inputs, labels = realize(run, device, folder=folder)
        jacobian = inputs
        if run.measure.jacobian is not None and run.measure.jacobian.data != measured_split(run)[0]:
            jacobian = realize(replace(run, measure=replace(run.measure, fisher=None)), device, folder=folder).inputs
        spectra = measure_spectra(network, MeasuredInputs(inputs, labels, jacobian), run.measure)
        scalars = input_statistics(inputs) | spectra.scalars
    return Measurement(spectra.fisher, spectra.jacobian, spectra.layers, scalars)


def _cores_of_task() -> int:
    """The cores that Slurm gave this task alone; 1 where it says nothing, since others may use the machine's."""
    return max(1, int(os.environ.get("SLURM_CPUS_PER_TASK") or 1))
