"""Fetching a data set over HTTP, and checking what is there."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path

import pytest
from formats import write_cifar, write_idx, write_svhn
from server import served

from isosweep.data import catalogue, published
from isosweep.data.catalogue import CATALOGUE
from isosweep.data.check import check
from isosweep.data.errors import MissingData
from isosweep.data.fetch import FetchError, fetch
from isosweep.data.published import DOWNLOADS, Download, checksum_matches, published_checksum

FASHION = Path("/usr/share/datasets")
FILES = {
    "mnist": lambda folder: write_idx(folder),
    "cifar10": lambda folder: write_cifar(folder, "python.tar.gz"),
    "svhn": lambda folder: write_svhn(folder),
}


def small(folder: Path, name: str) -> Download:
    """What would be published if the set were the small one that is made in `folder`."""
    FILES[name](folder)
    return Download(
        (),
        {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sorted(folder.iterdir())},
    )


@pytest.mark.parametrize("name", FILES)
def test_a_set_is_fetched_and_can_be_used(tmp_path: Path, name: str) -> None:
    download = small(tmp_path / "site", name)
    assert set(download.files) == set(DOWNLOADS[name].files)
    with served(tmp_path / "site") as (address, asked):
        parts = fetch(name, str(tmp_path / "root" / "new"), address, download=download)
        assert [part.samples for part in parts] == [50, 20]
        assert sorted(asked) == sorted(f"/{file}" for file in download.files)
        again = fetch(name, str(tmp_path / "root" / "new"), address, download=download)
        assert [part.checksum for part in again] == [part.checksum for part in parts]
        assert len(asked) == len(download.files)  # nothing is fetched twice
    folder = tmp_path / "root" / "new" / CATALOGUE[name].folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(download.files)


def test_a_fetched_set_is_what_the_small_check_says(tmp_path: Path) -> None:
    """The counts of a small set are not those that were published, and the check says so."""
    download = small(tmp_path / "site", "svhn")
    with served(tmp_path / "site") as (address, _):
        train, _test = fetch("svhn", str(tmp_path), address, download=download)
    assert train.per_class == (5,) * 10
    assert train.published is False
    assert any("50 samples are not the 73257" in problem for problem in train.problems)
    assert any("not the published file" in problem for problem in train.problems)


def test_what_has_another_checksum_is_not_kept(tmp_path: Path) -> None:
    FILES["svhn"](tmp_path / "site")
    with (
        served(tmp_path / "site") as (address, asked),
        pytest.raises(FetchError, match=r"sent has not the checksum sha256:435e94.*not kept"),
    ):
        fetch("svhn", str(tmp_path / "root"), address)
    assert asked == ["/train_32x32.mat"] * 2  # tried once more, then given up
    assert list((tmp_path / "root" / "svhn").iterdir()) == []


def test_an_answer_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    download = small(tmp_path / "site", "svhn")
    with served(tmp_path / "site", cut=5000) as (address, _), pytest.raises(FetchError):
        fetch("svhn", str(tmp_path / "root"), address, download=download)
    assert list((tmp_path / "root" / "svhn").iterdir()) == []
    with served(tmp_path / "site") as (address, _):
        assert fetch("svhn", str(tmp_path / "root"), address, download=download)[0].samples == 50


def test_no_such_file_and_nobody_there(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    with served(tmp_path / "site") as (address, _), pytest.raises(FetchError, match="404"):
        fetch("svhn", str(tmp_path / "root"), address)
    with pytest.raises(FetchError, match="cannot be had"):
        fetch("svhn", str(tmp_path / "root"), address)  # the server has gone


def test_the_next_address_is_tried(tmp_path: Path) -> None:
    download = small(tmp_path / "site", "svhn")
    (tmp_path / "empty").mkdir()
    told: list[str] = []
    with served(tmp_path / "site") as (good, _), served(tmp_path / "empty") as (bad, asked):
        both = dataclasses.replace(download, addresses=(bad, good))
        assert fetch("svhn", str(tmp_path / "root"), download=both, say=told.append)[0].samples == 50
    assert asked
    assert len(told) == 4


def test_a_file_of_ones_own_is_never_replaced(tmp_path: Path) -> None:
    download = small(tmp_path / "site", "svhn")
    own = tmp_path / "root" / "svhn" / "train_32x32.mat"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with served(tmp_path / "site") as (address, _), pytest.raises(FetchError, match="move it away"):
        fetch("svhn", str(tmp_path / "root"), address, download=download)
    assert own.read_bytes() == b"mine"


def test_compute_nodes_never_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download = small(tmp_path / "site", "svhn")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with served(tmp_path / "site") as (address, asked), pytest.raises(FetchError, match="Slurm job 17"):
        fetch("svhn", str(tmp_path / "root"), address, download=download)
    assert not asked
    assert not (tmp_path / "root").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match="cannot be made"):
        fetch("svhn", str(tmp_path / "file"))


def test_sets_without_files_need_nothing() -> None:
    assert fetch("digits") == check("digits") == fetch("gaussian") == []


# ---- published checksums


def test_every_file_that_may_lie_there_is_known_or_said_to_be_unknown() -> None:
    unknown = set()
    for name, entry in CATALOGUE.items():
        for form in entry.forms:
            for file in {*form.train, *form.test}:
                for ending in form.endings:
                    checksum = published_checksum(name, Path(file + ending))
                    if checksum is None:
                        unknown.add(Path(file).name)
                    else:
                        method, digits = checksum.split(":")
                        assert len(digits) == {"md5": 32, "sha256": 64}[method]
                        assert int(digits, 16)
    assert unknown == {*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"}
    assert set(DOWNLOADS) == {name for name, entry in CATALOGUE.items() if entry.forms}


def test_a_packed_idx_file_is_known_by_what_is_inside(tmp_path: Path) -> None:
    content = b"content" * 1000
    known = f"sha256:{hashlib.sha256(content).hexdigest()}"
    for level in (1, 9):
        (tmp_path / "x-ubyte.gz").write_bytes(gzip.compress(content, level))
        assert checksum_matches(tmp_path / "x-ubyte.gz", known)
    (tmp_path / "x-ubyte").write_bytes(content)
    assert checksum_matches(tmp_path / "x-ubyte", known)
    (tmp_path / "x-ubyte").write_bytes(content + b"!")
    assert not checksum_matches(tmp_path / "x-ubyte", known)


@pytest.mark.skipif(not (FASHION / "fashion-mnist").is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist_is_the_published_one(tmp_path: Path) -> None:
    parts = check("fashion_mnist", str(FASHION))
    assert [(part.samples, part.published, part.problems) for part in parts] == [(60000, True, ()), (10000, True, ())]
    assert parts[0].per_class == (6000,) * 10
    # under another name it is another set
    (tmp_path / "mnist").symlink_to(FASHION / "fashion-mnist")
    problems = check("mnist", str(tmp_path))[0].problems
    assert len(problems) == 2
    assert all("not the published file" in problem for problem in problems)


def test_a_set_with_the_right_checksums_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the small set were the published one; then one byte of it is changed, in each form."""
    write_cifar(tmp_path, "python")
    folder = tmp_path / "cifar-10-batches-py"
    own = {p.name: f"md5:{hashlib.md5(p.read_bytes()).hexdigest()}" for p in folder.iterdir()}
    monkeypatch.setitem(published._OTHERS, "cifar10", own)
    sizes = dataclasses.replace(CATALOGUE["cifar10"], samples={"train": 50, "test": 20})
    monkeypatch.setitem(catalogue.CATALOGUE, "cifar10", sizes)
    assert [part.problems for part in check("cifar10", str(tmp_path))] == [(), ()]
    path = folder / "data_batch_2"
    content = path.read_bytes()
    place = content.index(b"image_0001")
    path.write_bytes(content[:place] + b"I" + content[place + 1 :])
    train, test = check("cifar10", str(tmp_path))
    assert train.published is False
    assert "data_batch_2 is not the published file" in train.problems[0]
    assert test.published is True


def test_a_label_that_nobody_has_is_a_problem(tmp_path: Path) -> None:
    from formats import idx

    folder = write_idx(tmp_path / "mnist", packed=False)
    import numpy as np

    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(50, np.uint8)))
    assert any("no sample has the label 1" in problem for problem in check("mnist", str(tmp_path))[0].problems)


def test_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOSWEEP_DATA", raising=False)
    for act in (check, fetch):
        with pytest.raises(MissingData, match="ISOSWEEP_DATA"):
            act("mnist")
