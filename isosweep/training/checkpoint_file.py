"""The bytes of a checkpoint: arrays and plain values, with a checksum over all.

Layout: 8 bytes of magic; the length of the header (8 bytes, little-endian); the header, JSON that names the format,
whose checkpoint it is, every array with its type, shape and place, and the plain values; the arrays, each at a multiple
of 64 bytes; SHA-256 over everything before it. Floats in the header are Python's shortest decimals, which read back to
the same bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["FORMAT", "Content", "OtherCheckpoint", "TornCheckpoint", "decode", "encode"]

# 2: tangent vectors at square orthogonal matrices in the group's own coordinates; the environment.
FORMAT = 2
_MAGIC = b"isoswpcp"
_ALIGNED = 64


class TornCheckpoint(Exception):
    """Not the bytes that were written: cut off, altered, or never a checkpoint."""


class OtherCheckpoint(Exception):
    """A sound checkpoint that this run cannot go on from: another run's, or another version's."""


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds.

    Attributes:
        run: id of the run.
        version: the measurement version.
        environment: what can change bits where it was written: see `isosweep.measurement.environment.DECISIVE`.
        values: what JSON can hold.
        arrays: by name.
    """

    run: str
    version: int
    values: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)


def encode(content: Content) -> bytes:
    """The bytes."""
    places: list[dict[str, Any]] = []
    at = 0
    for name, array in content.arrays.items():
        at += -at % _ALIGNED
        places.append({"name": name, "dtype": array.dtype.str, "shape": array.shape, "at": at})
        at += array.nbytes
    header = json.dumps(
        {
            "format": FORMAT,
            "run": content.run,
            "version": content.version,
            "environment": content.environment,
            "values": content.values,
            "arrays": places,
            "size": at,
        },
        sort_keys=True,
    ).encode()
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGNED)
    data = bytearray(_MAGIC + len(header).to_bytes(8, "little") + header)
    begin = len(data)
    for place, array in zip(places, content.arrays.values(), strict=True):
        data += b"\0" * (begin + place["at"] - len(data))
        data += np.ascontiguousarray(array).tobytes()
    data += hashlib.sha256(data).digest()
    return bytes(data)


def decode(data: bytes, run: str, version: int) -> Content:
    """The content of a run's own checkpoint; its arrays read `data` in place and cannot be written to.

    Raises:
        TornCheckpoint, OtherCheckpoint.
    """
    if len(data) < len(_MAGIC) + 8 + 32 or data[: len(_MAGIC)] != _MAGIC:
        raise TornCheckpoint("it does not begin as a checkpoint does, or ends at once")
    if hashlib.sha256(memoryview(data)[:-32]).digest() != data[-32:]:
        raise TornCheckpoint("its checksum does not fit its content: it was cut off or altered")
    begin = len(_MAGIC) + 8
    begin += int.from_bytes(data[len(_MAGIC) : begin], "little")
    header = json.loads(data[len(_MAGIC) + 8 : begin])
    if header["format"] != FORMAT or header["version"] != version:
        raise OtherCheckpoint(
            f"it is of format {header['format']} and measurement version {header['version']}; this isosweep writes "
            f"format {FORMAT} and version {version}"
        )
    if header["run"] != run:
        raise OtherCheckpoint(f"it is a checkpoint of run {header['run']}, not of {run}")
    arrays = {}
    for place in header["arrays"]:
        shape = tuple(place["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        dtype = np.dtype(place["dtype"])
        arrays[place["name"]] = np.frombuffer(data, dtype, count, begin + place["at"]).reshape(shape)
    return Content(header["run"], header["version"], header["values"], arrays, header["environment"])
