"""`isosweep data`: list, fetch and check, as a person uses them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Command

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))
from formats import write_cifar, write_idx, write_svhn
from server import served

FASHION = Path("/usr/share/datasets")


def test_the_list_says_what_is_where(command: Command) -> None:
    write_svhn(command.folder / "data" / "svhn")
    (command.folder / "data" / "svhn" / "test_32x32.mat").unlink()
    shown = command.run("data", "list", "--root", "data").stdout
    for name in ("digits", "gaussian", "mnist", "fashion_mnist", "cifar10", "svhn"):
        assert name in shown
    assert "data/svhn, without the test set" in shown
    assert "isosweep data fetch cifar10" in shown
    rows = {row["name"]: row for row in command.json("data", "list")["data"]}
    assert rows["cifar10"] == {
        "name": "cifar10",
        "inputs": 3072,
        "shape": [3, 32, 32],
        "classes": 10,
        "samples": {"train": 50000, "test": 10000},
        "needs_files": True,
        "files": {},
    }
    by_environment = command.json("data", "list", ISOSWEEP_DATA="data")
    assert by_environment["data"][-1]["files"]["train"] == ["data/svhn/train_32x32.mat"]


def test_check_of_a_small_set_says_what_it_is_not(command: Command) -> None:
    write_cifar(command.folder / "data", "binary")
    done = command.run("data", "check", "cifar10", "--root", "data", check=3)
    assert "train: 50 samples" in done.stdout
    assert "no checksum is published for files of this form" in done.stdout
    assert "50 samples are not the 50000" in done.stdout
    assert done.stderr.strip() == "isosweep: cifar10 is not as it should be: 2 problems"
    parts = command.json("data", "check", "cifar10", "--root", "data", check=3)["parts"]
    assert [part["samples"] for part in parts] == [50, 20]
    assert parts[0]["per_class"] == [5] * 10


def test_check_of_torn_files_names_them(command: Command) -> None:
    folder = write_idx(command.folder / "data" / "mnist")
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    done = command.run("data", "check", "mnist", "--root", "data", check=3)
    assert "t10k-images-idx3-ubyte.gz is a torn gzip file" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not (FASHION / "fashion-mnist").is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_check_of_a_whole_set(command: Command) -> None:
    done = command.run("data", "check", "fashion_mnist", "--root", FASHION)
    assert done.stdout.count("the published files") == 2
    assert "0: 6000, 1: 6000" in done.stdout
    assert done.stderr == ""


def test_check_where_nothing_is_needed(command: Command) -> None:
    assert command.run("data", "check", "digits").stdout == "digits needs no files\n"


def test_fetch_of_other_files_than_the_published_ones_is_refused(command: Command) -> None:
    write_svhn(command.folder / "site")
    with served(command.folder / "site") as (address, _):
        done = command.run("data", "fetch", "svhn", "--root", "data", "--from", address, check=3)
    assert f"{address}train_32x32.mat" in done.stderr
    assert "has not the checksum sha256:435e94d69a" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((command.folder / "data" / "svhn").iterdir()) == []


def test_fetch_inside_a_job_is_refused(command: Command) -> None:
    done = command.run("data", "fetch", "svhn", "--root", "data", check=3, SLURM_JOB_ID="5")
    assert "compute nodes do not download" in done.stderr
    assert not (command.folder / "data").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "mnits"), "did you mean 'mnist'"),
        (("fetch", "imagenet-21k"), "no data set is named"),
        (("check", "mnist"), "Give --root DIR, or set ISOSWEEP_DATA"),
        (("fetch", "mnist"), "Give --root DIR, or set ISOSWEEP_DATA"),
    ],
)
def test_wrong_usage(command: Command, words: tuple[str, ...], said: str) -> None:
    command.environment["ISOSWEEP_DATA"] = ""
    done = command.run("data", *words, check=2)
    assert said in done.stderr


def test_a_sweep_on_a_fetched_set_runs_to_its_table(command: Command) -> None:
    """From files in the true format to numbers, through the command line."""
    write_cifar(command.folder / "data", "python.tar.gz")
    spec = {
        "name": "cifar",
        "network": {"depth": 3, "width": 8, "activation": "tanh", "init": "orthogonal", "gain": 1.0},
        "data": {"name": "cifar10", "samples": 30, "standardise": True, "validation": 10, "test": 10, "root": "data"},
        "measure": {"fisher": {"samples": 6}, "jacobian": {"samples": 2}},
        "train": {"epochs": 1, "batch": 10, "optimizer": "sgd", "learning_rate": 0.01},
    }
    command.write("cifar.yaml", json.dumps(spec))
    command.run("launch", "cifar.yaml", "--local", "--quiet")
    command.run("collect", "cifar.yaml", "--out", "tables", "--quiet")
    (row,) = pq.read_table(command.folder / "tables" / "runs.parquet").to_pylist()
    assert row["status"] == "done"
    assert (row["data"], row["data_inputs"], row["data_samples"]) == ("cifar10", 3072, 30)
    assert (row["data_validation"], row["data_test"], row["data_standardise"]) == (10, 10, True)
    assert row["fisher_trace"] > 0
