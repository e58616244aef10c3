"""Small data sets in the true formats, written as the originals were."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


def random_set(samples: int, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images of bytes and labels 0..9, every label there if there are ten samples or more."""
    dice = np.random.default_rng(seed)
    images = dice.integers(0, 256, (samples, *shape), dtype=np.uint8)
    return images, dice.permutation(np.arange(samples) % 10).astype(np.uint8)


# ---- IDX


def idx(array: np.ndarray) -> bytes:
    """The array as an IDX file of unsigned bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, train: int = 50, test: int = 20, seed: int = 0, *, packed: bool = True) -> Path:
    """Both parts of a set of 28 × 28 images."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, samples, k in (("train", train, seed), ("t10k", test, seed + 1000)):
        images, labels = random_set(samples, (28, 28), k)
        for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            content = idx(array)
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)
    return folder


# ---- CIFAR-10: pickles of Python 2


def _reconstruct() -> None:
    """Stands for numpy.core.multiarray._reconstruct, under whose name it is pickled."""


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what Python 2.7 with its numpy wrote: strings of bytes, and numpy's functions by their old names."""

    dispatch: ClassVar[dict[type, Callable[..., None]]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, obj: bytes) -> None:
        if len(obj) < 256:
            self.write(b"U" + bytes([len(obj)]) + obj)
        else:
            self.write(b"T" + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if obj is _reconstruct:
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch[type(_reconstruct)] = save_global

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.dtype):
            order = b"|" if obj.itemsize == 1 else b"<"
            return np.dtype, (obj.str[1:].encode(), 0, 1), (3, order, None, None, None, -1, -1, 0)
        if isinstance(obj, np.ndarray):
            return _reconstruct, (np.ndarray, (0,), b"b"), (1, obj.shape, obj.dtype, False, obj.tobytes())
        return NotImplemented


def python2_pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(value)
    return stream.getvalue()


def python_batch(images: np.ndarray, labels: np.ndarray, number: int) -> bytes:
    """One pickled batch; images (samples, 3072)."""
    return python2_pickle(
        {
            b"data": images.reshape(len(images), -1),
            b"labels": [int(label) for label in labels],
            b"batch_label": b"training batch %d of 5" % number,
            b"filenames": [b"image_%04d.png" % i for i in range(len(images))],
        }
    )


def binary_batch(images: np.ndarray, labels: np.ndarray, number: int) -> bytes:
    """One batch of the binary version."""
    return np.column_stack([labels[:, None], images.reshape(len(images), -1)]).astype(np.uint8).tobytes()


def cifar_batches(
    version: str, train: int = 50, test: int = 20, seed: int = 0
) -> tuple[dict[str, bytes], tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(name in the archive → content, training images and labels, test images and labels)."""
    make, ending = (python_batch, "") if version == "python" else (binary_batch, ".bin")
    folder = "cifar-10-batches-py" if version == "python" else "cifar-10-batches-bin"
    images, labels = random_set(train, (3, 32, 32), seed)
    own, own_labels = random_set(test, (3, 32, 32), seed + 1000)
    cut = np.array_split(np.arange(train), 5)
    files = {f"{folder}/batches.meta{ending and '.txt'}": b"airplane\nautomobile\n", f"{folder}/readme.html": b"<html>"}
    files |= {
        f"{folder}/data_batch_{i}{ending}": make(images[rows], labels[rows], i) for i, rows in enumerate(cut, start=1)
    }
    files[f"{folder}/test_batch{ending}"] = make(own, own_labels, 1)
    return files, (images, labels), (own, own_labels)


def archive(files: dict[str, bytes]) -> bytes:
    """A .tar.gz of the files, in their order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            opened.addfile(about, io.BytesIO(content))
    return stream.getvalue()


def write_cifar(folder: Path, form: str, **sizes: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The set under `folder` in a form: python, binary, python.tar.gz or binary.tar.gz; what was written."""
    version, packed = form.removesuffix(".tar.gz"), form.endswith(".tar.gz")
    files, *parts = cifar_batches(version, **sizes)
    folder.mkdir(parents=True, exist_ok=True)
    if packed:
        (folder / f"cifar-10-{version}.tar.gz").write_bytes(archive(files))
    else:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return tuple(parts)


# ---- SVHN


def write_svhn(
    folder: Path, train: int = 50, test: int = 20, seed: int = 0
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Both .mat files as MATLAB wrote them: version 5, compressed; what was written, labels 0..9."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for part, samples, k in (("train", train, seed), ("test", test, seed + 1000)):
        images, labels = random_set(samples, (3, 32, 32), k)
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": stored}, do_compression=True)
        parts.append((images, labels))
    return tuple(parts)
