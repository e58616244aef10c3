"""What a training run makes of its data: the splits it is told of, and augmentation that is the run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_data import TRAIN, sweep_file

import isosweep
from isosweep.measurement.measurement import Measurement


def measured(folder: Path, train: dict[str, Any] | None = None, **data: Any) -> Measurement:
    asked = {"name": "digits", "samples": 60, "root": None, **data}
    run = isosweep.load(sweep_file(folder, TRAIN | {"epochs": 2, "batch": 20} | (train or {}), **asked)).runs()[0]
    return isosweep.execute(run)


@pytest.mark.parametrize("augmentation", [{"flip": True}, {"shift": 2}, {"crop": 2}])
def test_augmented_training_is_another_and_the_same_every_time(tmp_path: Path, augmentation: dict[str, Any]) -> None:
    plain, one, again = (measured(tmp_path, augmentation=chosen) for chosen in (None, augmentation, augmentation))
    assert one.digest == again.digest
    assert one.digest != plain.digest
    # the network at the start, and what is measured, are not augmented
    first, other = (next(p for p in m.training if p.step == 0).values for m in (plain, one))
    assert first["train_loss"] == other["train_loss"]
    assert (
        next(f for f in plain.fisher if f.step == 0).lambda_max == next(f for f in one.fisher if f.step == 0).lambda_max
    )


def test_losses_are_of_the_splits_that_the_file_names(tmp_path: Path) -> None:
    without = measured(tmp_path)
    assert not {"validation_loss", "test_loss"} & without.training[-1].values.keys()
    with_both = measured(tmp_path, validation=40, test=50)
    last = with_both.training[-1].values
    assert {"train_loss", "validation_loss", "test_loss"} <= last.keys()
    # a share of 40, and of 50
    assert (last["validation_accuracy"] * 40) == pytest.approx(round(last["validation_accuracy"] * 40), abs=1e-9)
    assert (last["test_accuracy"] * 50) == pytest.approx(round(last["test_accuracy"] * 50), abs=1e-9)
    # other splits beside it leave the training as it is
    assert last["train_loss"] == without.training[-1].values["train_loss"]


def test_standardised_inputs_are_trained_on(tmp_path: Path) -> None:
    assert measured(tmp_path, standardise=True).digest != measured(tmp_path).digest
