"""Splits: who is in which, what stays when another is asked for, and what they are scaled by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats import write_cifar, write_idx, write_svhn
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data import TRAIN, sweep_file

from isosweep.data.splits import Splits, load_splits
from isosweep.data.training_split import training_split
from isosweep.sweep import SpecError, load
from isosweep.sweep.settings import DataSettings, Run, from_json, to_json

RAW = DataSettings("digits", 200, "raw", None, 64, 10, validation=100, test=150)


def rows(*splits: Any) -> set[tuple[float, ...]]:
    return {tuple(row) for split in splits for row in split.inputs}


@settings(max_examples=25, deadline=None)
@given(
    train=st.integers(1, 600),
    validation=st.none() | st.integers(1, 500),
    test=st.none() | st.integers(1, 600),
    seed=st.integers(0, 10**6),
)
def test_no_example_is_in_two_splits(train: int, validation: int | None, test: int | None, seed: int) -> None:
    data = dataclasses.replace(RAW, samples=train, validation=validation, test=test)
    splits = load_splits(data, seed)
    every = [split for split in (splits.train, splits.validation, splits.test) if split is not None]
    assert [len(split.labels) for split in every] == [size for size in (train, validation, test) if size is not None]
    # the 1,797 digits are all different images
    assert len(rows(*every)) == sum(len(split.labels) for split in every)


def test_the_other_splits_leave_the_training_split_as_it_is() -> None:
    alone = training_split(dataclasses.replace(RAW, validation=None, test=None), 3)
    for changes in ({"validation": 1}, {"validation": 900}, {"test": 1000}, {"validation": 700, "test": 800}):
        train = load_splits(dataclasses.replace(RAW, **changes), 3).train
        np.testing.assert_array_equal(train.inputs, alone.inputs)
        np.testing.assert_array_equal(train.labels, alone.labels)
    np.testing.assert_array_equal(training_split(RAW, 3).inputs, alone.inputs)


def test_a_smaller_split_is_the_beginning_of_a_larger_one() -> None:
    small, large = load_splits(RAW, 1), load_splits(dataclasses.replace(RAW, validation=600), 1)
    assert small.validation is not None
    assert large.validation is not None
    np.testing.assert_array_equal(large.validation.inputs[:100], small.validation.inputs)
    larger_test = load_splits(dataclasses.replace(RAW, test=700), 1)
    assert small.test is not None
    assert larger_test.test is not None
    np.testing.assert_array_equal(larger_test.test.inputs[:150], small.test.inputs)


def test_every_split_is_the_seeds() -> None:
    one, again, other = (load_splits(RAW, seed) for seed in (1, 1, 2))
    for a, b, c in zip(one[:3], again[:3], other[:3], strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert not np.array_equal(a.inputs, c.inputs)


def test_labels_stay_with_their_images() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    known = {tuple(row): int(label) for row, label in zip(images / 16, labels, strict=True)}
    splits = load_splits(RAW, 5)
    for split in splits[:3]:
        assert all(known[tuple(row)] == label for row, label in zip(split.inputs, split.labels, strict=True))
        assert split.labels.dtype == np.int64
        assert split.inputs.dtype == np.float64


def test_gaussian_splits_are_drawn_apart() -> None:
    data = DataSettings("gaussian", 300, "unit", 1.0, 20, 4, validation=200, test=100)
    splits = load_splits(data, 0)
    assert splits.validation is not None
    assert splits.test is not None
    assert len(rows(splits.train, splits.validation, splits.test)) == 600
    np.testing.assert_array_equal(
        splits.train.inputs, training_split(dataclasses.replace(data, validation=None, test=None), 0).inputs
    )
    for split in splits[:3]:
        assert abs(split.inputs.mean()) < 0.1
        assert set(split.labels) == {0, 1, 2, 3}


def test_the_draws_are_kept() -> None:
    """The first examples of each split, as they were when this was written."""
    splits = load_splits(RAW, 0)
    assert [split.labels[:8].tolist() for split in splits[:3]] == KEPT


KEPT = [[4, 5, 6, 0, 1, 2, 7, 9], [7, 5, 5, 3, 8, 0, 8, 1], [4, 3, 3, 3, 8, 3, 4, 1]]


# ---- scaling


def scaled(mean_square: float | None, **changes: Any) -> tuple[Splits, Splits]:
    """(as asked, raw)."""
    data = dataclasses.replace(
        RAW, scale="raw" if mean_square is None else "fixed_point", mean_square=mean_square, **changes
    )
    return load_splits(data, 2), load_splits(RAW, 2)


@pytest.mark.parametrize("mean_square", [1.0, 0.37, 1e-9])
def test_one_scalar_of_the_training_split_goes_over_all(mean_square: float) -> None:
    splits, raw = scaled(mean_square)
    assert np.mean(splits.train.inputs**2) == pytest.approx(mean_square, rel=1e-14)
    factor = splits.scaling.factor
    assert factor is not None
    for split, plain in zip(splits[:3], raw[:3], strict=True):
        np.testing.assert_array_equal(split.inputs, plain.inputs * factor)


def test_standardised_inputs_have_mean_0_and_variance_1_over_the_training_split_alone() -> None:
    splits, raw = scaled(None, standardise=True)
    assert np.mean(splits.train.inputs) == pytest.approx(0, abs=1e-14)
    assert np.var(splits.train.inputs) == pytest.approx(1, rel=1e-13)
    mean, std = raw.train.inputs.mean(), raw.train.inputs.std()
    for split, plain in zip(splits[:3], raw[:3], strict=True):
        np.testing.assert_allclose(split.inputs, (plain.inputs - mean) / std, rtol=1e-13, atol=1e-14)
    # the others have their own mean, which is not 0: nothing of theirs entered
    assert abs(splits.test.inputs.mean()) > 1e-6


def cifar(folder: Path, **changes: Any) -> DataSettings:
    from isosweep.data.locate import locate

    train, test = locate("cifar10", str(folder)), locate("cifar10", str(folder), "test")
    return DataSettings(
        "cifar10", 40, "raw", None, 3072, 10, train.checksum, str(folder), 10, 20, test.checksum, **changes
    )


def test_each_channel_is_standardised_by_itself_and_then_one_scalar(tmp_path: Path) -> None:
    write_cifar(tmp_path, "binary")
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
    records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073).copy()
    records[:, 1025:2049] //= 4  # a darker green
    path.write_bytes(records.tobytes())
    data = cifar(tmp_path, standardise=True)
    raw = load_splits(dataclasses.replace(data, standardise=False), 0).train.inputs.reshape(40, 3, 1024)
    splits = load_splits(data, 0)
    found = splits.train.inputs.reshape(40, 3, 1024)
    for channel in range(3):
        assert found[:, channel].mean() == pytest.approx(0, abs=1e-13)
        assert found[:, channel].var() == pytest.approx(1, rel=1e-12)
        assert splits.scaling.mean[channel, 0] == pytest.approx(raw[:, channel].mean(), rel=1e-13)
    assert len(set(splits.scaling.mean.ravel())) == 3
    both = load_splits(dataclasses.replace(data, scale="fixed_point", mean_square=0.2), 0)
    np.testing.assert_allclose(both.train.inputs, splits.train.inputs * np.sqrt(0.2), rtol=1e-12)
    np.testing.assert_allclose(both.test.inputs, splits.test.inputs * np.sqrt(0.2), rtol=1e-12)


def test_a_channel_that_is_the_same_everywhere_cannot_be_standardised(tmp_path: Path) -> None:
    write_cifar(tmp_path, "binary")
    for path in (tmp_path / "cifar-10-batches-bin").glob("data_batch_*"):
        records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073).copy()
        records[:, 1025:2049] = 7
        path.write_bytes(records.tobytes())
    with pytest.raises(ValueError, match="channel 1"):
        load_splits(cifar(tmp_path, standardise=True), 0)


# ---- a set with a test set of its own


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("mnist", lambda folder: write_idx(folder / "mnist")),
        ("cifar10", lambda folder: write_cifar(folder, "python.tar.gz")),
        ("svhn", write_svhn),
    ],
)
def test_the_standard_test_set_stays_the_test_set(tmp_path: Path, name: str, write: Any) -> None:
    from isosweep.data.files import content

    write(tmp_path / "files")
    (run, *_) = load(sweep_file(tmp_path, TRAIN, name=name, samples=30, validation=20, test=20, scale="raw")).runs()
    assert run.data.test_checksum
    splits = load_splits(run.data, 0)
    for split, part in ((splits.test, "test"), (splits.train, "train"), (splits.validation, "train")):
        own = content(name, part, str(tmp_path / "files"))  # type: ignore[arg-type]
        assert rows(split) <= {tuple(image.ravel() / 255) for image in own.images}
    assert len(rows(splits.train, splits.validation)) == 50
    assert len(rows(splits.test)) == 20
    assert not rows(splits.test) & rows(splits.train, splits.validation)


def test_other_test_files_are_other_runs_and_only_where_there_is_a_test_split(tmp_path: Path) -> None:
    write_idx(tmp_path / "files" / "mnist")

    def of(**data: Any) -> Run:
        return load(sweep_file(tmp_path, TRAIN, **data)).runs()[0]

    without, with_test = of(), of(test=5)
    folder = tmp_path / "files" / "mnist"
    other = write_idx(tmp_path / "other", seed=7)
    for kind in ("images-idx3", "labels-idx1"):
        (other / f"t10k-{kind}-ubyte.gz").rename(folder / f"t10k-{kind}-ubyte.gz")
    assert of().id == without.id
    assert of(test=5).id != with_test.id
    from isosweep.data.errors import MissingData

    with pytest.raises(MissingData, match="launch again"):
        load_splits(with_test.data, 0)
    for kind in ("images-idx3", "labels-idx1"):
        (folder / f"t10k-{kind}-ubyte.gz").unlink()
    assert of().id == without.id
    with pytest.raises(SpecError, match="its test set, looked for"):
        of(test=5)


# ---- the sweep file


def of_digits(folder: Path, **data: Any) -> Run:
    return load(sweep_file(folder, TRAIN, name="digits", root=None, **data)).runs()[0]


def test_what_is_new_does_not_touch_ids_where_it_is_at_its_default(tmp_path: Path) -> None:
    plain = of_digits(tmp_path)
    assert "validation" not in to_json(plain)
    augmentation = {"flip": False, "shift": 0, "crop": 0}
    assert of_digits(tmp_path, standardise=False, augmentation=augmentation).id == plain.id
    for change in (
        {"standardise": True},
        {"validation": 5},
        {"test": 5},
        {"augmentation": {"flip": True}},
        {"augmentation": {"shift": 1}},
        {"augmentation": {"crop": 1}},
    ):
        other = of_digits(tmp_path, **change)
        assert other.id != plain.id
        assert from_json(to_json(other)) == other


def test_all_that_is_left_is_for_training(tmp_path: Path) -> None:
    def samples(**data: Any) -> int:
        return of_digits(tmp_path, samples=None, **data).data.samples

    assert samples() == 1797
    assert samples(validation=97) == 1700
    assert samples(validation=97, test=700) == 1000
    write_idx(tmp_path / "files" / "mnist", packed=False)
    (run, *_) = load(sweep_file(tmp_path, samples=None, validation=10, test=20)).runs()
    assert run.data.samples == 40  # the test set is apart


def test_without_training_only_what_is_measured_counts(tmp_path: Path) -> None:
    def untrained(samples: int | None = 20, **data: Any) -> Any:
        return load(sweep_file(tmp_path, name="digits", root=None, samples=samples, **data)).runs()[0]

    plain = untrained()
    for idle, where in (
        ({"validation": 5}, "train"),
        ({"test": 5}, "measure.fisher.data"),
        ({"augmentation": {"flip": True}}, "train"),
    ):
        with pytest.raises(SpecError, match="has no effect on any run of this sweep") as caught:
            untrained(**idle)
        assert where in str(caught.value)
    # with all that is left for training, a validation split leaves less
    assert untrained(None, validation=97).data == dataclasses.replace(plain.data, samples=1700)
    assert untrained(1700).id == untrained(None, validation=97).id


@pytest.mark.parametrize(
    ("data", "key", "said"),
    [
        ({"samples": 1700, "validation": 98}, "data.samples", "1700 samples beside validation 98"),
        ({"samples": 1700, "validation": 50, "test": 48}, "data.samples", "beside validation 50 and test 48"),
        ({"samples": None, "validation": 1797}, "data.validation", "nothing is left to train on"),
        ({"samples": None, "test": 2000}, "data.test", "nothing is left to train on"),
        ({"validation": 0}, "data.validation", "at least 1"),
        ({"validation": 1.5}, "data.validation", "whole number"),
        ({"standardise": "yes"}, "data.standardise", "true or false"),
        ({"standardise": 1}, "data.standardise", "true or false"),
        ({"standardize": True}, "data.standardize", "did you mean 'standardise'"),
        ({"augmentation": {"flip": 1}}, "data.augmentation.flip", "true or false"),
        ({"augmentation": {"shift": 8}}, "data.augmentation.shift", "expected at most 7"),
        ({"augmentation": {"crop": 8}}, "data.augmentation.crop", "expected at most 7"),
        ({"augmentation": {"crop": -1}}, "data.augmentation.crop", "at least 0"),
        ({"augmentation": {"rotate": 1}}, "data.augmentation.rotate", "unknown key"),
        ({"augmentation": True}, "data.augmentation", "a section of keys and values"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, data: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        of_digits(tmp_path, **data)
    assert f"{key}: " in str(caught.value)
    assert said in str(caught.value)


def test_gaussian_inputs_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no images"):
        load(sweep_file(tmp_path, name="gaussian", inputs=64, classes=3, augmentation={"flip": True}))


def test_a_test_split_larger_than_the_test_set(tmp_path: Path) -> None:
    write_idx(tmp_path / "files" / "mnist")
    with pytest.raises(SpecError, match="21 samples are more than the 20 of mnist's test set"):
        load(sweep_file(tmp_path, test=21))


def test_splits_may_be_axes(tmp_path: Path) -> None:
    sweep = load(
        sweep_file(
            tmp_path,
            TRAIN,
            name="digits",
            root=None,
            validation=[10, 20],
            standardise=[False, True],
            augmentation={"shift": [0, 1]},
        )
    )
    assert set(sweep.axes) >= {"data_validation", "data_standardise", "augmentation_shift"}
    assert len(sweep.runs()) == 16
    row = sweep.runs()[0].columns
    assert (row["data_validation"], row["data_standardise"], row["augmentation_shift"]) == (10, False, 0)
