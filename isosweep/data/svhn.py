"""SVHN's cropped digits: MATLAB files (version 5) with X, 32 × 32 × 3 × samples, and y, 1..10, 10 for the digit 0."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from .errors import UnreadableFile

__all__ = ["read_svhn"]


def read_svhn(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (samples, 3, 32, 32) and labels (samples,) 0..9, unsigned bytes.

    Raises:
        UnreadableFile: torn, not a MATLAB file of version 5, without X and y, or with a label outside 1..10.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with path.open("rb") as stream:
        head = stream.read(128)
    if not head.startswith(b"MATLAB 5.0"):
        newer = " (version 7.3 is HDF5: save it with -v7)" if b"MATLAB 7.3" in head else ""
        raise UnreadableFile(f"{path} is not a MATLAB file of version 5{newer}; it begins with {head[:10]!r}")
    try:
        found = loadmat(path, variable_names=("X", "y"))
    except (MatReadError, zlib.error, struct.error, ValueError, TypeError, OSError, EOFError) as error:
        raise UnreadableFile(f"{path} is a torn MATLAB file: {error}") from error
    except (KeyError, IndexError, OverflowError, MemoryError, NotImplementedError) as error:
        raise UnreadableFile(f"{path} is a torn MATLAB file: {type(error).__name__} {error}") from error
    if "X" not in found or "y" not in found:
        raise UnreadableFile(f"{path} lacks X or y: it is not one of SVHN's cropped digits")
    images, labels = np.asarray(found["X"]), np.asarray(found["y"]).ravel()
    if images.ndim == 3:  # MATLAB drops the last axis of a single image
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise UnreadableFile(f"{path} holds X of {images.dtype}, shape {images.shape}: expected uint8, 32 × 32 × 3 × …")
    if labels.dtype.kind not in "ui" or len(labels) != images.shape[3]:
        raise UnreadableFile(f"{path} holds {len(labels)} labels of {labels.dtype} for {images.shape[3]} images")
    outside = (labels < 1) | (labels > 10)
    if outside.any():
        where = int(outside.argmax())
        raise UnreadableFile(f"{path}: the label {labels[where]} of sample {where} is outside 1..10")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), (labels % 10).astype(np.uint8)
