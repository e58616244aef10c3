"""The checkpoints of one run in a folder of its own: written whole or not at all, the last two kept.

Guarantees: after `save` returns, the file holds the whole state and survives a crash; at any instant before, the
checkpoints of before are as they were. A file that is torn nevertheless (a disk's fault) is given another name, told of
by a warning, and the one before it is used. A sound checkpoint of another run or version is an error: nothing is
overwritten, and somebody decides.
"""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path

from isosweep.store.publish import replace
from isosweep.training.checkpoint_file import Content, OtherCheckpoint, TornCheckpoint, decode, encode

__all__ = ["CheckpointError", "Checkpoints"]

KEPT = 2
# At the end of an epoch, or before a long measurement, a checkpoint is written unless one took more than this share of
# the time since the last.
_SHARE = 0.01
_NAME = re.compile(r"step-(\d{12})\.checkpoint")


class CheckpointError(Exception):
    """A checkpoint in the run's folder that it must not go on from."""


class Checkpoints:
    """Saves and finds the checkpoints of one run."""

    def __init__(self, folder: Path, run: str, version: int, minutes: float) -> None:
        """
        Args:
            folder: the run's own; made when the first checkpoint is saved.
            run: its id.
            version: the measurement version.
            minutes: how long a run may go on without one.
        """
        self.folder, self.run, self.version, self.minutes = folder, run, version, minutes
        self._last = time.monotonic()
        self._cost = 0.0

    def due(self, good_moment: bool) -> bool:
        """Whether it is time for one; a `good_moment` (the end of an epoch) comes first if it costs little."""
        elapsed = time.monotonic() - self._last
        return elapsed >= 60 * self.minutes or (good_moment and elapsed * _SHARE >= self._cost and elapsed > 1)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"step-{step:012d}.checkpoint"

    def save(self, step: int, content: Content) -> Path:
        """Write the checkpoint of a step, then forget all but the last two.

        Raises:
            OSError: the folder cannot be written; the checkpoints there are as they were.
        """
        began = time.monotonic()
        path = self.path(step)
        replace(path, encode(content))
        for _, old in self._found()[KEPT:]:
            old.unlink(missing_ok=True)
        self._last = time.monotonic()
        self._cost = self._last - began
        return path

    def load(self) -> Content | None:
        """The latest checkpoint, or None where there is none.

        Raises:
            CheckpointError: the latest is sound but another run's or version's; says what to do.
            OSError: the folder or a file in it cannot be read.
        """
        for _, path in self._found():
            try:
                return decode(path.read_bytes(), self.run, self.version)
            except TornCheckpoint as error:
                aside = self._set_aside(path)
                warnings.warn(f"{path} is no whole checkpoint ({error}): now {aside.name}", stacklevel=2)
            except OtherCheckpoint as error:
                raise CheckpointError(
                    f"{path} cannot be gone on from: {error}. Go on with the isosweep that wrote it, or move it "
                    "away to train from the beginning"
                ) from None
        return None

    def _found(self) -> list[tuple[int, Path]]:
        """(step, file), latest first."""
        if not self.folder.is_dir():
            return []
        named = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)

    def _set_aside(self, path: Path) -> Path:
        number = 0
        while True:
            aside = path.with_name(f"{path.name}.torn{number or ''}")
            if not aside.exists():
                path.rename(aside)
                return aside
            number += 1
