"""The data sets there are: their sizes, the forms in which their files may lie, and how to come by them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["CATALOGUE", "DataSet", "Form", "Part", "Reader"]

Part = Literal["train", "test"]
Reader = Literal["idx", "cifar_python", "cifar_binary", "svhn"]


@dataclass(frozen=True)
class Form:
    """One way in which the files of a data set may lie.

    Attributes:
        reader: what reads them.
        train: the files of the training set, relative to the set's folder, in the order in which they are read.
        test: those of the test set.
        endings: what may be appended to each name, the first that is there wins.
    """

    reader: Reader
    train: tuple[str, ...]
    test: tuple[str, ...]
    endings: tuple[str, ...] = ("",)

    def files(self, part: Part) -> tuple[str, ...]:
        """The files of one part."""
        return self.train if part == "train" else self.test


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        shape: of an image: (channels, height, width); None where the sweep file gives the dimension.
        classes: number of labels; None where the sweep file gives it.
        samples: published size of each part; a set without "test" has no test set of its own. Files of other sizes
            may be used, but are other data (`isosweep data check` says so).
        unit: what the stored numbers are divided by, so that `raw` inputs lie in [0, 1].
        folder: where its files lie below the data root (the root itself is looked at too).
        forms: the forms of its files, the preferred first; none: it needs no files.
    """

    shape: tuple[int, int, int] | None
    classes: int | None
    samples: dict[Part, int] = field(default_factory=dict)
    unit: float = 1.0
    folder: str = ""
    forms: tuple[Form, ...] = ()

    @property
    def inputs(self) -> int | None:
        """The dimension N_0 of an input."""
        return self.shape and math.prod(self.shape)

    @property
    def has_test_set(self) -> bool:
        """Whether the set comes with a test set of its own."""
        return "test" in self.samples


_IDX = Form(
    "idx",
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    ("", ".gz"),
)
_BATCHES = range(1, 6)

CATALOGUE: dict[str, DataSet] = {
    "digits": DataSet((1, 8, 8), 10, {"train": 1797}, 16.0),
    "gaussian": DataSet(None, None),
    "mnist": DataSet((1, 28, 28), 10, {"train": 60_000, "test": 10_000}, 255.0, "mnist", (_IDX,)),
    "fashion_mnist": DataSet((1, 28, 28), 10, {"train": 60_000, "test": 10_000}, 255.0, "fashion-mnist", (_IDX,)),
    "cifar10": DataSet(
        (3, 32, 32),
        10,
        {"train": 50_000, "test": 10_000},
        255.0,
        "cifar-10",
        (
            Form(
                "cifar_python",
                tuple(f"cifar-10-batches-py/data_batch_{i}" for i in _BATCHES),
                ("cifar-10-batches-py/test_batch",),
            ),
            Form(
                "cifar_binary",
                tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in _BATCHES),
                ("cifar-10-batches-bin/test_batch.bin",),
            ),
            Form("cifar_python", ("cifar-10-python.tar.gz",), ("cifar-10-python.tar.gz",)),
            Form("cifar_binary", ("cifar-10-binary.tar.gz",), ("cifar-10-binary.tar.gz",)),
        ),
    ),
    "svhn": DataSet(
        (3, 32, 32),
        10,
        {"train": 73_257, "test": 26_032},
        255.0,
        "svhn",
        (Form("svhn", ("train_32x32.mat",), ("test_32x32.mat",)),),
    ),
}
