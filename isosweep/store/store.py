"""The store's folders, and the right to use them.

    store.json                               the format's version, and whose store it is
    records/<ab>/<run>.<outcome>.arrow       one immutable result a run: done, or diverged
    attempts/<ab>/<run>.<n>.<outcome>.<task>.json   any number of failures a run
    launches/<n>.jsonl                       what a launch submitted: tasks and their runs
    launches/<n>.closed                      that all its tasks have ended or are void, and what was given up
    tasks/<token>/<t>.<e>.json               who holds a task, or that it has ended, or is void
    jobs/<token>/                            scripts, pickles and logs of a launch
    checkpoints/<ab>/<run>/                  where a run in training goes on from, until it is recorded
    code/<code id>/                          the isosweep that a launch's jobs import
    modules/<modules id>/                    users' own modules, as they import them
    provenance/<hash>.patch, .lock           what a checkout had beyond its commit; the packages installed
    verifications/<time>-<token>.json        what `isosweep verify` found
    quarantine/                              files that were torn or foreign, with the reason

The file system is the only database. Everything is published once under an exclusive name (`isosweep.store.publish`);
nothing takes a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .publish import TEMPORARY_PREFIX, publish, temporary

__all__ = ["FORMAT", "Store", "StoreError"]

FORMAT = 1
_FANOUT = 2


class StoreError(Exception):
    """A store that cannot be used: not readable, not writable, another's, or of a newer isosweep."""


def _reason(error: OSError) -> str:
    if isinstance(error, shutil.Error):
        # One of a copied folder: (from, to, why) for every file that failed, which a full disk makes hundreds.
        failed = error.args[0]
        return f"{len(failed)} files of the code could not be copied, the first: {failed[0][2]}"
    return error.strerror or str(error)


class Store:
    """A folder of results. Opening it reads nothing but its ``store.json``; `create` makes it."""

    def __init__(self, root: str | Path):
        self.root = Path(root).absolute()
        self.records = self.root / "records"
        self.attempts = self.root / "attempts"
        self.launches = self.root / "launches"
        self.tasks = self.root / "tasks"
        self.jobs = self.root / "jobs"
        self.checkpoints = self.root / "checkpoints"
        self.quarantine = self.root / "quarantine"

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @property
    def exists(self) -> bool:
        """Whether there is a store at this path."""
        return (self.root / "store.json").is_file()

    def _header(self) -> dict[str, int]:
        try:
            header = json.loads((self.root / "store.json").read_bytes())
            if not isinstance(header["format"], int) or not isinstance(header["uid"], int):
                raise TypeError
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"cannot read the store {self.root}: {_reason(error)}") from None
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"{self.root / 'store.json'} is not a store's header: give another folder with --store"
            ) from None
        return {"format": header["format"], "uid": header["uid"]}

    def check_readable(self) -> None:
        """Raise `StoreError` if there is a store here that this isosweep cannot read. No store at all is an empty
        one.
        """
        try:
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"the store {self.root} is a file: give a folder with --store")
        except OSError as error:  # a name too long, a folder above that may not be entered
            raise StoreError(f"cannot read the store {self.root}: {_reason(error)}") from None
        header = self._header()
        if header and header["format"] > FORMAT:
            raise StoreError(
                f"the store {self.root} was written by a newer isosweep (format {header['format']}, this one "
                f"knows {FORMAT}): upgrade isosweep, or give another --store"
            )
        try:
            if self.root.is_dir():
                os.listdir(self.root)
        except OSError as error:
            raise StoreError(f"cannot read the store {self.root}: {_reason(error)}") from None

    def check_writable(self) -> None:
        """Raise `StoreError` unless this user may write here; makes nothing where there is no store yet, but tries a
        file where there is one.
        """
        self.check_readable()
        if os.pathsep in str(self.root):
            raise StoreError(
                f"the store's path {self.root} has a {os.pathsep!r} in it, which PYTHONPATH cannot hold, by which jobs "
                "import their code from the store: give another --store"
            )
        header = self._header()
        if header and header["uid"] != os.getuid():
            raise StoreError(
                f"the store {self.root} belongs to user id {header['uid']}, you are {os.getuid()}: one user "
                "writes a store, anyone may read it; give another --store"
            )
        place = self.root
        while not place.exists():
            place = place.parent
        # Looked at again where it holds something: another launcher may be making it at this moment.
        if not header and self.root.is_dir() and self._content() and not self._header():
            raise StoreError(f"{self.root} is not empty and is no store: give an empty or a new folder with --store")
        with self.writing():
            temporary(place, b"isosweep").unlink()

    def _content(self) -> list[str]:
        return [name for name in os.listdir(self.root) if not name.startswith(TEMPORARY_PREFIX)]

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the OSError of a write in here into a `StoreError` that names the store."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot write the store {self.root}: {_reason(error)}") from None

    def create(self) -> Store:
        """Make the store if there is none, and check that it may be written.

        Raises:
            StoreError: it may not.
        """
        self.check_writable()
        with self.writing():
            if not self.exists:
                publish(self.root / "store.json", json.dumps({"format": FORMAT, "uid": os.getuid()}).encode() + b"\n")
        return self

    def now(self) -> float:
        """The file server's clock, in seconds since the epoch: the time stamp of a file touched now. Ages are
        compared with this one, not with the host's.
        """
        probe = self.root / f"{TEMPORARY_PREFIX}clock-{os.getpid()}-{time.monotonic_ns()}"
        try:
            probe.touch()
        except OSError:  # a reader of another's store has no better clock than the host's
            return time.time()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def checkpoints_of(self, run: str) -> Path:
        """The folder of a run's own checkpoints."""
        return self.checkpoints / self.fan(run) / run

    @staticmethod
    def fan(run: str) -> str:
        """The subfolder of a run's files."""
        return run[:_FANOUT]
