"""CIFAR-10 and SVHN in the forms in which they are published: what is read, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from formats import (
    archive,
    binary_batch,
    cifar_batches,
    python2_pickle,
    python_batch,
    random_set,
    write_cifar,
    write_idx,
    write_svhn,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isosweep.data.batch_pickle import read_batch
from isosweep.data.errors import MissingData, UnreadableFile
from isosweep.data.files import content
from isosweep.data.locate import locate
from isosweep.data.svhn import read_svhn

FORMS = ("python", "binary", "python.tar.gz", "binary.tar.gz")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("below", ["", "cifar-10"])
def test_cifar_in_every_form_is_the_same_images(tmp_path: Path, form: str, below: str) -> None:
    train, test = write_cifar(tmp_path / below, form)
    for part, (images, labels) in (("train", train), ("test", test)):
        found = content("cifar10", part, str(tmp_path))
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, labels)


def test_the_form_of_the_files_is_no_part_of_what_they_are(tmp_path: Path) -> None:
    for form in FORMS:
        write_cifar(tmp_path / form, form)
    for part in ("train", "test"):
        assert len({content("cifar10", part, str(tmp_path / form)).checksum for form in FORMS}) == 1
    assert content("cifar10", "train", str(tmp_path / "python")).checksum != (
        content("cifar10", "test", str(tmp_path / "python")).checksum
    )
    write_cifar(tmp_path / "other", "binary", seed=1)
    assert content("cifar10", "train", str(tmp_path / "other")).checksum != (
        content("cifar10", "train", str(tmp_path / "binary")).checksum
    )


def test_the_pickles_are_as_python_2_wrote_them() -> None:
    """The test's own writer: what the plain, trusting reader of pickles makes of it, and which opcodes it holds."""
    images, labels = random_set(12, (3072,))
    written = python_batch(images, labels, 1)
    plain = pickle.loads(written, encoding="bytes")
    np.testing.assert_array_equal(plain[b"data"], images)
    assert plain[b"labels"] == labels.tolist()
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in written
    assert b"X" not in [bytes([op]) for op in written[:40]] or b"U\x04data" in written  # strings of bytes, no unicode
    found, found_labels = read_batch(written, "batch")
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(found_labels, labels)


def test_a_batch_written_anew_by_python_3_is_read_too() -> None:
    images, labels = random_set(7, (3072,))
    again = pickle.dumps({b"data": images, b"labels": labels.tolist()}, protocol=2)
    with pytest.raises(UnreadableFile, match=r"_codecs\.encode"):  # how Python 3 spells bytes in protocol 2
        read_batch(again, "batch")
    for protocol in (3, 4):
        again = pickle.dumps({b"data": images, b"labels": labels.tolist()}, protocol=protocol)
        np.testing.assert_array_equal(read_batch(again, "batch")[0], images)


class Harmful:
    """Unpickled plainly, it makes a folder."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    images, labels = random_set(3, (3072,))
    trap = tmp_path / "trap"
    for protocol in range(6):
        harmful = pickle.dumps({b"data": images, b"labels": labels.tolist(), b"more": Harmful(trap)}, protocol=protocol)
        with pytest.raises(UnreadableFile, match="asks for"):
            read_batch(harmful, "batch")
    assert not trap.exists()
    pickle.loads(harmful)
    assert trap.is_dir()  # the trap works


@pytest.mark.parametrize(
    "written",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Ptoken\n.",
        b"\x80\x02K\x01Q.",
    ],
)
def test_other_names_and_other_objects_are_refused(written: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read_batch(written, "batch")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "expected a dictionary"),
        ({b"data": b"x"}, "expected an array"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [1, 2]}, "CIFAR-100"),
        ({b"data": np.zeros((2, 3072), np.float32), b"labels": [1, 2]}, "unsigned bytes"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, b"2"]}, "whole numbers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 300]}, "whole numbers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, -1]}, "whole numbers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, True]}, "whole numbers"),
    ],
)
def test_pickles_of_other_things(value: object, said: str) -> None:
    with pytest.raises(UnreadableFile, match=said):
        read_batch(python2_pickle(value), "batch")


BATCH = python_batch(*random_set(3, (3072,)), 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_torn_pickles_and_changed_bytes_are_read_or_refused_but_nothing_else(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 400) | st.integers(0, len(BATCH) - 1))
    cut = data.draw(st.booleans())
    byte = data.draw(st.integers(0, 255))
    broken = BATCH[:place] if cut else BATCH[:place] + bytes([byte]) + BATCH[place + 1 :]
    try:
        images, labels = read_batch(broken, "batch")
    except UnreadableFile as error:
        assert "batch" in str(error)  # noqa: PT017
    else:
        assert not cut
        assert images.dtype == labels.dtype == np.uint8


# ---- archives and folders


def refused(folder: Path, name: str = "cifar10", part: str = "train") -> str:
    with pytest.raises(MissingData) as caught:
        content(name, part, str(folder))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("version", ["python", "binary"])
def test_torn_archives(tmp_path: Path, version: str, share: float) -> None:
    write_cifar(tmp_path, f"{version}.tar.gz")
    path = tmp_path / f"cifar-10-{version}.tar.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    said = refused(tmp_path, part="test")
    assert str(path) in said
    assert "isosweep data fetch cifar10" in said


def test_archives_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(archive({"cifar-100-python/train": b"x"}))
    assert "holds no data_batch_1" in refused(tmp_path)
    path.write_bytes(b"<!DOCTYPE html>")
    assert "torn archive, or none" in refused(tmp_path)
    files, *_ = cifar_batches("python")
    lacking = {name: batch for name, batch in files.items() if not name.endswith("data_batch_4")}
    path.write_bytes(archive(lacking))
    assert "holds no data_batch_4" in refused(tmp_path)
    path.write_bytes(archive({"elsewhere/data_batch_1": files["cifar-10-batches-py/data_batch_2"], **files}))
    assert "twice" in refused(tmp_path)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    import io
    import tarfile

    (tmp_path / "secret").write_bytes(binary_batch(*random_set(3, (3072,)), 1))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        opened.addfile(link)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(stream.getvalue())
    assert "no batch of CIFAR-10" in refused(tmp_path, part="test")


def test_a_folder_that_lacks_a_batch_says_which(tmp_path: Path) -> None:
    write_cifar(tmp_path, "python")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    assert "lacks cifar-10-batches-py/data_batch_3" in refused(tmp_path)
    # another form that is whole is taken
    write_cifar(tmp_path, "binary")
    assert len(content("cifar10", "train", str(tmp_path)).labels) == 50


def test_torn_binary_batches_and_labels_out_of_range(tmp_path: Path) -> None:
    write_cifar(tmp_path, "binary")
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "no whole number of records of 3073" in refused(tmp_path)
    path.write_bytes(b"")
    assert "holds 0 bytes" in refused(tmp_path)
    path.write_bytes(b"\x0a" + whole[1:])
    assert "the label 10 of sample 10 is outside 0..9" in refused(tmp_path)


def test_nothing_there_says_what_was_looked_for(tmp_path: Path) -> None:
    for name, file in (("cifar10", "cifar-10-python.tar.gz"), ("svhn", "train_32x32.mat"), ("mnist", "train-images")):
        said = refused(tmp_path, name)
        assert file in said
        assert str(tmp_path) in said
        assert f"isosweep data fetch {name}" in said


def test_no_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOSWEEP_DATA", raising=False)
    with pytest.raises(MissingData, match="ISOSWEEP_DATA"):
        locate("svhn")


# ---- SVHN


def test_svhn_is_read_with_10_as_the_digit_0(tmp_path: Path) -> None:
    train, test = write_svhn(tmp_path / "svhn")
    for part, (images, labels) in (("train", train), ("test", test)):
        found = content("svhn", part, str(tmp_path))
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, labels)
        assert 0 in found.labels
        assert 10 not in found.labels
    assert locate("svhn", str(tmp_path)).inputs == 3072


def test_one_image_keeps_its_axis(tmp_path: Path) -> None:
    ((images, _), _) = write_svhn(tmp_path, train=1, test=1)
    np.testing.assert_array_equal(read_svhn(tmp_path / "train_32x32.mat")[0], images)


@pytest.mark.parametrize("label", [0, 11])
def test_svhn_labels_out_of_range(tmp_path: Path, label: int) -> None:
    from scipy.io import savemat

    images, labels = random_set(5, (32, 32, 3))
    stored = labels + 1
    stored[3] = label
    savemat(tmp_path / "train_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": stored[:, None]})
    with pytest.raises(UnreadableFile, match=rf"the label {label} of sample 3 is outside 1\.\.10"):
        read_svhn(tmp_path / "train_32x32.mat")


def test_mat_files_of_other_things(tmp_path: Path) -> None:
    from scipy.io import savemat

    path = tmp_path / "train_32x32.mat"
    good = np.zeros((32, 32, 3, 4), np.uint8)
    for content_, said in (
        ({"X": good}, "lacks X or y"),
        ({"X": good.astype(float), "y": np.ones((4, 1))}, "float64"),
        ({"X": good, "y": np.ones((4, 1))}, "labels of float64"),
        ({"X": good, "y": np.ones((3, 1), np.uint8)}, "3 labels"),
        ({"X": good.transpose(3, 0, 1, 2), "y": np.ones((4, 1), np.uint8)}, "expected uint8"),
    ):
        savemat(path, content_)
        with pytest.raises(UnreadableFile, match=said):
            read_svhn(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + b"\0" * 600)
    with pytest.raises(UnreadableFile, match=r"version 7\.3 is HDF5"):
        read_svhn(path)
    path.write_bytes(b"")
    with pytest.raises(UnreadableFile, match="not a MATLAB file"):
        read_svhn(path)


@pytest.fixture(scope="module")
def mat_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("svhn")
    write_svhn(folder, train=2, test=1)
    return (folder / "train_32x32.mat").read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_torn_mat_files_are_refused(mat_file: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(mat_file[: data.draw(st.integers(0, len(mat_file) - 1))])
    with pytest.raises(UnreadableFile, match="train_32x32"):
        read_svhn(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mat_files_with_a_changed_byte_are_read_or_refused(
    mat_file: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "train_32x32.mat"
    place = data.draw(st.integers(0, 200) | st.integers(0, len(mat_file) - 1))
    path.write_bytes(
        mat_file[:place] + bytes([mat_file[place] ^ data.draw(st.integers(1, 255))]) + mat_file[place + 1 :]
    )
    try:
        images, labels = read_svhn(path)
    except UnreadableFile as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert images.shape[1:] == (3, 32, 32)
        assert labels.max() <= 9


def test_the_test_set_of_one_set_is_not_taken_for_its_training_set(tmp_path: Path) -> None:
    """A file copied under the wrong name."""
    import shutil

    from test_data import TRAIN, sweep_file

    from isosweep.sweep import SpecError, load

    folder = write_idx(tmp_path / "files" / "mnist")
    assert load(sweep_file(tmp_path, TRAIN, test=5)).runs()
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(folder / f"train-{kind}-ubyte.gz", folder / f"t10k-{kind}-ubyte.gz")
    with pytest.raises(SpecError, match="alike"):
        load(sweep_file(tmp_path, TRAIN, test=5))
