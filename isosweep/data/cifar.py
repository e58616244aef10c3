"""CIFAR-10 as it is published: the python version (pickled batches) and the binary one, in an archive or unpacked.

Both hold the same images: 3072 bytes each, the red, green and blue planes of 32 × 32 in turn, and a label 0..9. Nothing
is unpacked to disk, and pickles are read by `batch_pickle`, which builds nothing but plain data.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from .batch_pickle import read_batch
from .errors import UnreadableFile

if TYPE_CHECKING:
    from .catalogue import Part

__all__ = ["read_binary", "read_python"]

_SHAPE = (3, 32, 32)
_IMAGE = 3 * 32 * 32
_PYTHON = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_BINARY = {part: tuple(f"{name}.bin" for name in names) for part, names in _PYTHON.items()}
# The true batches hold 31 MB; no file that is a hundred times as large is one.
_LARGEST = 4 * 10**9


def _members(archive: Path, wanted: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each of the `wanted` files of a tar archive, in their order, whatever folder they lie in."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as opened:
            for member in opened:
                name = PurePosixPath(member.name).name
                if name not in wanted:
                    continue
                if not member.isreg() or member.size > _LARGEST or name in found:
                    raise UnreadableFile(f"{archive} holds {member.name}, which is no batch of CIFAR-10, or twice")
                stream = opened.extractfile(member)
                assert stream is not None
                found[name] = stream.read()
                if len(found[name]) != member.size:
                    raise UnreadableFile(f"{archive} is torn: {member.name} ends early")
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UnreadableFile(f"{archive} is a torn archive, or none: {error}") from error
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise UnreadableFile(f"{archive} holds no {', '.join(lacking)}")
    for name in wanted:
        yield f"{name} in {archive}", found[name]


def _contents(files: Sequence[Path], wanted: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name for messages, and content, of every batch: `files` are the batches, or the one archive of them."""
    if len(files) == 1 and ".tar" in files[0].suffixes:
        yield from _members(files[0], wanted)
        return
    for path in files:
        yield str(path), path.read_bytes()


def read_python(files: Sequence[Path], part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Images (samples, 3, 32, 32) and labels (samples,), unsigned bytes, of the python version.

    Args:
        files: the batches in order, or the one archive they are in.
        part: which batches to take of an archive.

    Raises:
        UnreadableFile: torn, or something else.
    """
    images, labels = [], []
    for name, content in _contents(files, _PYTHON[part]):
        data, own = read_batch(content, name)
        if data.shape[1:] != (_IMAGE,) or len(data) != len(own):
            raise UnreadableFile(
                f"{name} holds data of shape {data.shape} and {len(own)} labels; expected samples × {_IMAGE}, and a "
                "label each"
            )
        images.append(data)
        labels.append(own)
    return np.concatenate(images).reshape(-1, *_SHAPE), np.concatenate(labels)


def read_binary(files: Sequence[Path], part: Part) -> tuple[np.ndarray, np.ndarray]:
    """As `read_python`, of the binary version: records of one byte of label and 3072 of image, nothing else."""
    images, labels = [], []
    for name, content in _contents(files, _BINARY[part]):
        if not content or len(content) % (1 + _IMAGE):
            raise UnreadableFile(
                f"{name} holds {len(content)} bytes: no whole number of records of {1 + _IMAGE} (a torn file, or none "
                "of CIFAR-10's)"
            )
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + _IMAGE)
        images.append(records[:, 1:])
        labels.append(records[:, 0])
    return np.concatenate(images).reshape(-1, *_SHAPE), np.concatenate(labels)
