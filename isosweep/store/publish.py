"""Give a file its name once: whole or not at all, and never over another's.

`publish` guarantees that after it returns True the name holds exactly the given bytes and survives a crash of the
machine, and that of any number of processes on any hosts publishing one name exactly one is told True. A crash at any
instant leaves at most a temporary file beside (its name begins with ``.tmp-``), which nothing reads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
from pathlib import Path

__all__ = ["TEMPORARY_PREFIX", "publish", "replace", "temporary"]

TEMPORARY_PREFIX = ".tmp-"
_HOST = socket.gethostname()


def temporary(folder: Path, data: bytes) -> Path:
    """A new file in `folder` that holds `data` on disk, under a name that no other process of any host uses."""
    path = folder / f"{TEMPORARY_PREFIX}{_HOST}-{os.getpid()}-{secrets.token_hex(6)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it, each name on disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def publish(path: Path, data: bytes) -> bool:
    """Give `data` the name `path`, unless something has it: True if it was given, False if it was taken.

    The folder is made if need be. `os.link` is what decides, since `os.rename` overwrites; over NFS a link may have
    been made though an error is reported (the answer was lost and the request repeated), which the temporary's count
    of links tells.

    Raises:
        OSError: the folder cannot be written (read-only, full, gone); nothing has the name then.
    """
    _make_folder(path.parent)
    written = temporary(path.parent, data)
    try:
        try:
            os.link(written, path)
        except OSError as error:
            if os.stat(written).st_nlink == 2:
                pass
            elif isinstance(error, FileExistsError):
                return False
            else:
                raise
    finally:
        with contextlib.suppress(OSError):
            written.unlink()
    _sync_folder(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Let `path` hold `data`, whole or as it was before. For files that are not the truth (hints, caches, tables)."""
    _make_folder(path.parent)
    written = temporary(path.parent, data)
    try:
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
