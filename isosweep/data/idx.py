"""IDX files, as MNIST and Fashion-MNIST come in: a header of big-endian sizes, then bytes; gzip-compressed or not."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UnreadableFile

if TYPE_CHECKING:
    import numpy as np

__all__ = ["IdxError", "idx_checksum", "idx_shape", "read_idx"]

_UNSIGNED_BYTE = 0x08


class IdxError(UnreadableFile):
    """A file that is not IDX data of unsigned bytes, or that ends too early."""


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _header(stream: gzip.GzipFile | BufferedReader, path: Path) -> tuple[int, ...]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UNSIGNED_BYTE or not 1 <= head[3] <= 4:
        raise IdxError(f"{path} is not an IDX file of unsigned bytes (it begins with {head.hex(' ') or 'nothing'})")
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise IdxError(f"{path} ends inside its header")
    return struct.unpack(f">{head[3]}I", sizes)


def idx_shape(path: Path) -> tuple[int, ...]:
    """The sizes in the file's header."""
    try:
        with _open(path) as stream:
            return _header(stream, path)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise IdxError(f"{path} is a torn gzip file: {error}") from error


def _content(path: Path) -> tuple[tuple[int, ...], bytes]:
    try:
        with _open(path) as stream:
            shape = _header(stream, path)
            data = stream.read()
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise IdxError(f"{path} is a torn gzip file: {error}") from error
    if len(data) != math.prod(shape):
        raise IdxError(f"{path} holds {len(data)} bytes where its header {shape} promises {math.prod(shape)}")
    return shape, data


def read_idx(path: Path) -> np.ndarray:
    """The array in the file, of unsigned bytes in the header's shape.

    Raises:
        IdxError: not such a file, or a torn one.
    """
    import numpy as np

    shape, data = _content(path)
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def idx_checksum(*paths: Path) -> str:
    """SHA-256 over the content (header and bytes, uncompressed) of the files in order."""
    total = hashlib.sha256()
    for path in paths:
        shape, data = _content(path)
        total.update(repr(shape).encode())
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()
