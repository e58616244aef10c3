"""The pickled batches of CIFAR-10, read without running anything that stands in them.

A pickle is a program: it may name any function and have it called. The reader here knows three names, those that a
pickled array of numpy needs, and answers each with a small class of its own that keeps what it is given; every other
name is refused. The array is then made from its shape and its bytes, of one type: unsigned bytes.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

from .errors import UnreadableFile

__all__ = ["read_batch"]


class _Type:
    """What stands for numpy.dtype: its letters, "u1" for unsigned bytes."""

    def __init__(self, letters: object = None, *_: object):
        self.letters = letters

    def __setstate__(self, state: object) -> None:
        """Byte order and fields: a type of single bytes has none."""


class _Array:
    """What stands for numpy.ndarray: shape, type and bytes, as the pickle gives them."""

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def to_numpy(self) -> np.ndarray:
        """The array, if its state is one of unsigned bytes in C order.

        Raises:
            ValueError: it is not.
        """
        match self.state:
            case (int(), tuple(shape), _Type(letters=b"u1" | "u1"), bool() | int() as fortran, bytes(data)):
                if not all(isinstance(size, int) and size >= 0 for size in shape) or math.prod(shape) != len(data):
                    raise ValueError(f"{len(data)} bytes do not fill an array of shape {shape}")
                return np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")
        raise ValueError("an array that is not one of unsigned bytes")


def _reconstruct(*_: object) -> _Array:
    """What stands for numpy's function of that name: an empty array, whose state follows."""
    return _Array()


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside itself")


def read_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The array `data`, in its own shape, and the labels (samples,), both of unsigned bytes, of one pickled batch.

    Args:
        content: the file's bytes.
        name: what an error calls it.

    Raises:
        UnreadableFile: torn, not a batch of CIFAR-10, or a pickle that wants more than plain data and arrays.
    """
    try:
        # Python 2 wrote them: its strings are bytes
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
    except RecursionError:
        raise UnreadableFile(f"{name} is nested too deep to be a batch of CIFAR-10") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise UnreadableFile(f"{name} is a torn pickle, or none of CIFAR-10's: {error}") from error
    except (OverflowError, MemoryError, UnicodeError) as error:
        raise UnreadableFile(f"{name} is a torn pickle: {error}") from error
    if not isinstance(batch, dict):
        raise UnreadableFile(f"{name} is not a batch of CIFAR-10: expected a dictionary")
    data, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(data, _Array) or not isinstance(labels, list):
        fine = " (it is CIFAR-100's)" if b"fine_labels" in batch else ""
        raise UnreadableFile(f"{name} is not a batch of CIFAR-10: expected an array `data` and a list `labels`{fine}")
    if not all(type(label) is int and 0 <= label <= 255 for label in labels):
        raise UnreadableFile(f"{name} has labels that are not whole numbers from 0 to 255")
    try:
        return data.to_numpy(), np.array(labels, dtype=np.uint8)
    except ValueError as error:
        raise UnreadableFile(f"{name}: {error}") from error
