"""A run that trains, from its settings to its measurement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isosweep.data.augmentation import augmented, image_shape
from isosweep.data.splits import Split, load_splits
from isosweep.measurement.environment import fingerprint
from isosweep.measurement.measurement import Measurement
from isosweep.measurement.spectra import MeasuredInputs, input_statistics
from isosweep.networks.realize import initial_network, measured_split
from isosweep.sweep.identity import MEASUREMENT_VERSION
from isosweep.sweep.settings import Run
from isosweep.threads import Workers
from isosweep.training.checkpoints import Checkpoints
from isosweep.training.loop import Augment, LabelledInputs, Training
from isosweep.training.observer import CurvatureObserver

__all__ = ["train_run"]


def train_run(
    run: Run,
    device: torch.device,
    *,
    folder: str | Path | None,
    checkpoints: Path | None,
    stop: Callable[[], bool] | None,
    checkpoint_minutes: float,
    workers: int,
) -> Measurement:
    """Train the run and measure it along the way; arguments and errors as of `isosweep.measurement.execute`.

    The network is drawn in float64, rounded to the training's dtype and, on a manifold, put onto it; what is measured
    at step 0 is that network.
    """
    settings = run.train
    assert settings is not None
    dtype, measured_dtype = getattr(torch, settings.dtype), getattr(torch, run.measure.dtype)
    splits = load_splits(run.data, run.seed)
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    there = {name: split for name, split in named.items() if split is not None}

    def measured_on(name: str, samples: int) -> LabelledInputs:
        return _on_device(Split(there[name].inputs[:samples], there[name].labels[:samples]), measured_dtype, device)

    inputs, labels = measured_on(*measured_split(run))
    jacobian = inputs
    if run.measure.jacobian is not None:
        jacobian, _ = measured_on(run.measure.jacobian.data, run.measure.jacobian.samples)
    network = initial_network(run, dtype, folder).to(device)
    with Workers(workers) as crew:
        each = settings.steps_per_epoch(run.data.samples)
        on = MeasuredInputs(inputs, labels, jacobian)
        training = Training(
            network,
            settings,
            run.seed,
            {name: _on_device(split, dtype, device) for name, split in there.items()},
            CurvatureObserver(network, on, run.measure, settings, run.seed, each, crew),
            crew,
            augment=_augment(run),
        )
        training.trajectory.scalars |= input_statistics(inputs)
        box = None
        if checkpoints is not None:
            here = fingerprint(str(device))
            box = Checkpoints(checkpoints, run.id, MEASUREMENT_VERSION, checkpoint_minutes, here)
        training.run(box, stop)
    found = training.trajectory
    scalars = dict(found.scalars) | {"training_steps": float(training.step)}
    if found.training:
        last = found.training[-1].values
        scalars |= {f"final_{name}": float(last[name]) for name in _FINAL if name in last}
        scalars |= {name: float(last[name]) for name in ("smoothness_l0", "smoothness_l1") if name in last}
    if found.diverged is not None:
        scalars["diverged_step"] = float(found.diverged)
    return Measurement(
        tuple(found.fisher),
        tuple(found.jacobian),
        tuple(found.layers),
        scalars,
        tuple(found.training),
        "done" if found.diverged is None else "diverged",
    )


_FINAL = tuple(f"{split}_{what}" for split in ("train", "validation", "test") for what in ("loss", "accuracy"))


def _on_device(split: Split, dtype: torch.dtype, device: torch.device) -> LabelledInputs:
    inputs = torch.from_numpy(np.ascontiguousarray(split.inputs)).to(dtype)
    return inputs.to(device), torch.from_numpy(split.labels.copy()).to(device)


def _augment(run: Run) -> Augment | None:
    asked = run.data.augmentation
    if asked is None:
        return None
    shape = image_shape(run.data.name)

    def augment(batch: Tensor, examples: np.ndarray, epoch: int) -> Tensor:
        return augmented(
            batch, examples, settings=asked, shape=shape, seed=run.seed, epoch=epoch, samples=run.data.samples
        )

    return augment
