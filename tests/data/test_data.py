"""Training splits: real files, embedded digits and Gaussian inputs; their draw, their scale, and faults of files."""

from __future__ import annotations

import dataclasses
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from isosweep.data import files
from isosweep.data.errors import MissingData
from isosweep.data.idx import IdxError, idx_checksum, idx_shape, read_idx
from isosweep.data.locate import locate
from isosweep.data.training_split import training_split
from isosweep.sweep import SpecError, load
from isosweep.sweep.settings import DataSettings, Run

FASHION = Path("/usr/share/datasets")


def idx(array: np.ndarray) -> bytes:
    """The array as an IDX file of unsigned bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def a_set(folder: Path, n: int = 50, seed: int = 0, *, compressed: bool = False, labels_up_to: int = 10) -> Path:
    """A true-format data set of `n` random images in `folder`."""
    dice = np.random.default_rng(seed)
    images = dice.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = dice.integers(0, labels_up_to, n).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        content = idx(array)
        if compressed:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / stem).write_bytes(content)
    return folder


TRAIN = {"epochs": 1, "batch": 5, "optimizer": "sgd", "learning_rate": 0.1}


def sweep_file(folder: Path, train: dict[str, Any] | None = None, **data: Any) -> Path:
    path = folder / "sweep.yaml"
    network = {"depth": 2, "width": 4, "activation": "tanh", "init": "orthogonal", "gain": 1.0}
    settings = {k: v for k, v in {"name": "mnist", "samples": 20, "root": "files", **data}.items() if v is not None}
    spec = {"name": "t", "network": network, "data": settings, "measure": {"fisher": {"samples": 8}}, "seeds": 2}
    path.write_text(json.dumps(spec | ({} if train is None else {"train": train})))
    return path


def run_of(folder: Path, **data: Any) -> Run:
    return load(sweep_file(folder, **data)).runs()[0]


DIGITS = DataSettings("digits", 200, "unit", 1.0, 64, 10)


# ---- the draw


def test_the_seed_draws_the_split() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    raw = dataclasses.replace(DIGITS, scale="raw", mean_square=None)
    one, again, other = (training_split(raw, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.inputs, again.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
    whole = training_split(dataclasses.replace(raw, samples=1797), 1)
    # without replacement, and each image with its own label
    order = np.lexsort(np.column_stack([whole.inputs, whole.labels]).T)
    expected = np.column_stack([images / 16, labels])
    np.testing.assert_array_equal(
        np.column_stack([whole.inputs, whole.labels])[order], expected[np.lexsort(expected.T)]
    )
    # a smaller split is the beginning of a larger one
    np.testing.assert_array_equal(whole.inputs[:200], one.inputs)
    assert one.inputs.dtype == np.float64
    assert one.labels.dtype == np.int64
    assert 0 <= one.inputs.min() <= one.inputs.max() <= 1


def test_the_caller_may_write_into_a_split_without_harm() -> None:
    one = training_split(DIGITS, 5)
    kept = one.inputs.copy()
    one.inputs[:] = 0
    np.testing.assert_array_equal(training_split(DIGITS, 5).inputs, kept)


def test_gaussian_inputs_are_standard_normal_and_labels_uniform() -> None:
    data = DataSettings("gaussian", 400, "raw", None, 50, 4)
    split = training_split(data, 3)
    assert split.inputs.shape == (400, 50)
    assert stats.kstest(split.inputs.ravel(), "norm").pvalue > 1e-3
    assert stats.chisquare(np.bincount(split.labels, minlength=4)).pvalue > 1e-3
    np.testing.assert_array_equal(split.inputs, training_split(data, 3).inputs)
    # inputs and labels are of streams of their own, and so is every seed
    assert abs(np.corrcoef(split.inputs.mean(axis=1), split.labels)[0, 1]) < 0.2
    assert abs(np.corrcoef(split.inputs.ravel(), training_split(data, 4).inputs.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("mean_square", [1.0, 0.37, 1e-12, 1e12])
@pytest.mark.parametrize("name", ["digits", "gaussian"])
def test_one_scalar_brings_the_mean_square_to_what_was_asked(name: str, mean_square: float) -> None:
    data = DataSettings(name, 300, "fixed_point", mean_square, 64, 10)
    split = training_split(data, 0)
    assert np.mean(np.sum(split.inputs**2, axis=1) / 64) == pytest.approx(mean_square, rel=1e-14)
    raw = training_split(dataclasses.replace(data, scale="raw", mean_square=None), 0)
    ratio = split.inputs[raw.inputs != 0] / raw.inputs[raw.inputs != 0]
    assert ratio.max() == pytest.approx(ratio.min(), rel=1e-15)
    assert not split.inputs[raw.inputs == 0].any()


def test_the_scale_is_the_whole_splits_whatever_is_measured_on(tmp_path: Path) -> None:
    from isosweep import realize

    a_set(tmp_path / "files" / "mnist")
    run = run_of(tmp_path)
    inputs = realize(run).inputs.numpy()
    assert inputs.shape == (8, 784)
    np.testing.assert_array_equal(inputs, training_split(run.data, run.seed).inputs[:8])
    assert np.mean(training_split(run.data, run.seed).inputs ** 2) == pytest.approx(1, rel=1e-15)


# ---- IDX files


def test_compressed_or_not_the_files_are_one_data_set(tmp_path: Path) -> None:
    a_set(tmp_path / "files" / "mnist")
    plain = load(sweep_file(tmp_path)).runs()
    a_set(tmp_path / "packed" / "mnist", compressed=True)
    packed = load(sweep_file(tmp_path, root="packed")).runs()
    assert [run.id for run in plain] == [run.id for run in packed]
    for one, other in zip(plain, packed, strict=True):
        np.testing.assert_array_equal(
            training_split(one.data, one.seed).inputs, training_split(other.data, other.seed).inputs
        )
        np.testing.assert_array_equal(
            training_split(one.data, one.seed).labels, training_split(other.data, other.seed).labels
        )
    # other content, another run
    a_set(tmp_path / "others" / "mnist", seed=1)
    assert not {run.id for run in plain} & {run.id for run in load(sweep_file(tmp_path, root="others")).runs()}


def test_files_are_found_beside_the_sweep_in_the_root_and_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_set(tmp_path / "files" / "mnist")
    a_set(tmp_path / "flat")
    here = run_of(tmp_path).id
    monkeypatch.chdir("/")
    assert run_of(tmp_path).id == here
    assert run_of(tmp_path, root=str(tmp_path / "flat")).id == here
    monkeypatch.setenv("ISOSWEEP_DATA", str(tmp_path / "flat"))
    by_environment = run_of(tmp_path, root=None)
    assert by_environment.id == here
    assert by_environment.data.root == str(tmp_path / "flat")
    # what was planned needs no environment any more
    monkeypatch.delenv("ISOSWEEP_DATA")
    assert len(training_split(by_environment.data, 0).inputs) == 20


def test_one_set_of_files_is_not_taken_for_two_data_sets(tmp_path: Path) -> None:
    a_set(tmp_path / "files")
    with pytest.raises(SpecError, match="alike"):
        load(sweep_file(tmp_path, name=["mnist", "fashion_mnist"]))


def test_pixels_and_labels_are_those_of_the_file(tmp_path: Path) -> None:
    folder = a_set(tmp_path / "files" / "mnist", n=9)
    images, labels = read_idx(folder / "train-images-idx3-ubyte"), read_idx(folder / "train-labels-idx1-ubyte")
    assert images.shape == (9, 28, 28)
    split = training_split(run_of(tmp_path, scale="raw", samples=9).data, 0)
    by_image = {tuple(row): int(label) for row, label in zip(images.reshape(9, -1) / 255, labels, strict=True)}
    assert {tuple(row): int(label) for row, label in zip(split.inputs, split.labels, strict=True)} == by_image


def test_changed_files_are_not_measured_as_the_planned_ones(tmp_path: Path) -> None:
    a_set(tmp_path / "files" / "mnist")
    run = run_of(tmp_path)
    training_split(run.data, 0)
    a_set(tmp_path / "files" / "mnist", seed=7)
    with pytest.raises(MissingData, match="launch again"):
        training_split(run.data, 0)
    for path in (tmp_path / "files" / "mnist").iterdir():
        path.unlink()
    with pytest.raises(MissingData, match="looked for at"):
        training_split(run.data, 0)


def test_files_are_read_once_for_many_runs(tmp_path: Path) -> None:
    a_set(tmp_path / "files" / "mnist")
    run = run_of(tmp_path)
    files._content.cache_clear()
    for seed in range(5):
        training_split(run.data, seed)
    assert files._content.cache_info().misses == 1


def broken(content: bytes, how: str) -> bytes:
    packed = gzip.compress(content)
    return {
        "empty": b"",
        "short header": content[:6],
        "torn": content[:-5],
        "too long": content + b"\0",
        "a web page": b"<!DOCTYPE html><html>",
        "floats": b"\0\0\x0d" + content[3:],
        "other shape": idx(np.zeros((50, 8, 8), np.uint8)),
        "one image short": idx(np.zeros((49, 28, 28), np.uint8)),
        "no images": idx(np.zeros((0, 28, 28), np.uint8)),
        "torn gzip": packed[: len(packed) // 2],
        "gzip with a wrong byte": packed[:2000] + bytes([packed[2000] ^ 1]) + packed[2001:],
        "gzip of nothing": gzip.compress(b""),
        "gzip header alone": packed[:5],
    }[how]


HOWS = (
    "empty",
    "short header",
    "torn",
    "too long",
    "a web page",
    "floats",
    "other shape",
    "one image short",
    "no images",
    "torn gzip",
    "gzip with a wrong byte",
    "gzip of nothing",
    "gzip header alone",
)


@pytest.mark.parametrize("how", HOWS)
def test_torn_and_foreign_files_are_refused_with_their_name(tmp_path: Path, how: str) -> None:
    folder = a_set(tmp_path / "files" / "mnist")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(broken(path.read_bytes(), how))
    with pytest.raises(SpecError) as caught:
        run_of(tmp_path)
    told = str(caught.value)
    assert str(path) in told or how == "no images"
    assert "data." in told
    assert "Traceback" not in told


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    folder = a_set(tmp_path / "files" / "mnist")
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte").mkdir()
    with pytest.raises(MissingData, match="lacks train-images-idx3-ubyte"):
        locate("mnist", str(tmp_path / "files"))


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    a_set(tmp_path / "files" / "mnist", labels_up_to=200)
    with pytest.raises(SpecError, match=r"the label \d+ of sample \d+ is outside 0\.\.9"):
        run_of(tmp_path)


def test_inputs_that_are_all_zero_cannot_be_scaled(tmp_path: Path) -> None:
    folder = a_set(tmp_path / "files" / "mnist")
    (folder / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((50, 28, 28), np.uint8)))
    with pytest.raises(ValueError, match="every input"):
        training_split(run_of(tmp_path).data, 0)
    assert not training_split(run_of(tmp_path, scale="raw").data, 0).inputs.any()


def test_the_readers_of_idx_files(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    plain, packed, cut = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    plain.write_bytes(idx(array))
    packed.write_bytes(gzip.compress(idx(array)))
    cut.write_bytes(idx(array)[:-1])
    assert idx_shape(plain) == idx_shape(packed) == (2, 3, 4)
    np.testing.assert_array_equal(read_idx(packed), array)
    assert idx_checksum(plain) == idx_checksum(packed)
    assert idx_checksum(plain, packed) != idx_checksum(plain)
    assert idx_shape(cut) == (2, 3, 4)
    with pytest.raises(IdxError, match="holds 23 bytes"):
        read_idx(cut)
    # the same bytes in another shape are other data
    plain.write_bytes(idx(array.reshape(3, 2, 4)))
    assert idx_checksum(plain) != idx_checksum(packed)


@pytest.mark.skipif(
    not (FASHION / "fashion-mnist").is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)
def test_debians_fashion_mnist(tmp_path: Path) -> None:
    run = run_of(tmp_path, name="fashion_mnist", root=str(FASHION), samples=2000)
    assert (run.data.inputs, run.data.classes) == (784, 10)
    located = locate("fashion_mnist", str(FASHION))
    assert located.available == 60000
    split = training_split(run.data, 0)
    assert np.mean(split.inputs**2) == pytest.approx(1, rel=1e-14)
    # ten classes of 6,000 each
    assert stats.chisquare(np.bincount(split.labels, minlength=10)).pvalue > 1e-4
    raw = training_split(run_of(tmp_path, name="fashion_mnist", root=str(FASHION), samples=2000, scale="raw").data, 0)
    # the mean pixel of Fashion-MNIST is 0.2860 and its standard deviation 0.3530
    assert raw.inputs.mean() == pytest.approx(0.2860, abs=0.01)
    assert raw.inputs.std() == pytest.approx(0.3530, abs=0.01)
