"""The checkpoints of one run in a folder of its own: written whole or not at all, the last two kept.

Guarantees: after `save` returns, the file holds the whole state and survives a crash; at any instant before, the
checkpoints of before are as they were. A file that is torn nevertheless (a disk's fault) is given another name, told of
by a warning, and the one before it is used. A sound checkpoint of another run or version is an error: nothing is
overwritten, and somebody decides.

A run goes on only from checkpoints of its own environment class (docs/reproducibility.md), which is in their names:
half in one class and half in another, its numbers would be neither's, and could not be computed again. Requeued onto
another kind of machine it begins anew, and says by a warning what differs; the checkpoints of the other class stay, two
of each, and back on the first kind the run goes on where it was.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isosweep.measurement.environment import DECISIVE, environment_class
from isosweep.store.publish import replace
from isosweep.training.checkpoint_file import Content, OtherCheckpoint, TornCheckpoint, decode, encode

__all__ = ["CheckpointError", "Checkpoints"]

KEPT = 2
# At the end of an epoch, or before a long measurement, a checkpoint is written unless one took more than this share of
# the time since the last.
_SHARE = 0.01
# Without a class: of format 1.
_NAME = re.compile(r"step-(\d{12})(?:-([0-9a-f]{12}))?\.checkpoint")


class CheckpointError(Exception):
    """A checkpoint in the run's folder that it must not go on from."""


class Checkpoints:
    """Saves and finds the checkpoints of one run."""

    def __init__(self, folder: Path, run: str, version: int, minutes: float, environment: Mapping[str, Any]) -> None:
        """
        Args:
            folder: the run's own; made when the first checkpoint is saved.
            run: its id.
            version: the measurement version.
            minutes: how long a run may go on without one.
            environment: from `isosweep.measurement.environment.fingerprint`.
        """
        self.folder, self.run, self.version, self.minutes = folder, run, version, minutes
        self.environment = {name: environment[name] for name in DECISIVE}
        self.environment_class = environment_class(self.environment)
        self._last = time.monotonic()
        self._cost = 0.0

    def content(self, values: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Content:
        """What a checkpoint of this run holds."""
        return Content(self.run, self.version, values, arrays, self.environment)

    def due(self, good_moment: bool) -> bool:
        """Whether it is time for one; a `good_moment` (the end of an epoch) comes first if it costs little."""
        elapsed = time.monotonic() - self._last
        return elapsed >= 60 * self.minutes or (good_moment and elapsed * _SHARE >= self._cost and elapsed > 1)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"step-{step:012d}-{self.environment_class}.checkpoint"

    def save(self, step: int, content: Content) -> Path:
        """Write the checkpoint of a step, then forget all but the last two of this environment class.

        Raises:
            OSError: the folder cannot be written; the checkpoints there are as they were.
        """
        began = time.monotonic()
        path = self.path(step)
        replace(path, encode(content))
        for old in self._found(self.environment_class)[KEPT:]:
            old.unlink(missing_ok=True)
        self._last = time.monotonic()
        self._cost = self._last - began
        return path

    def load(self) -> Content | None:
        """The latest checkpoint of this environment class, or None where there is none.

        Raises:
            CheckpointError: the latest is sound but another run's or version's; says what to do.
            OSError: the folder or a file in it cannot be read.
        """
        own = self._latest(self.environment_class)
        if own is not None:
            return own
        for other in self._classes():
            content = self._latest(other)
            if content is not None:
                differ = [
                    f"{name} was {content.environment.get(name)!r} and is {self.environment[name]!r}"
                    for name in DECISIVE
                    if content.environment.get(name) != self.environment[name]
                ]
                warnings.warn(
                    f"run {self.run} begins anew: its checkpoint of step {content.values.get('step')} was written in "
                    f"another environment class ({other}; here {self.environment_class}: {'; '.join(differ)}), whose "
                    "bits are others. It stays in its folder, and such an environment goes on from it",
                    stacklevel=2,
                )
        return None

    def _latest(self, of_class: str | None) -> Content | None:
        for path in self._found(of_class):
            try:
                return decode(path.read_bytes(), self.run, self.version)
            except TornCheckpoint as error:
                aside = self._set_aside(path)
                warnings.warn(f"{path} is no whole checkpoint ({error}): now {aside.name}", stacklevel=3)
            except OtherCheckpoint as error:
                raise CheckpointError(
                    f"{path} cannot be gone on from: {error}. Go on with the isosweep that wrote it, or move it "
                    "away to train from the beginning"
                ) from None
        return None

    def _found(self, of_class: str | None) -> list[Path]:
        """The files of an environment class, latest first."""
        named = [(match[1], path) for match, path in self._named() if match[2] == of_class]
        return [path for _, path in sorted(named, reverse=True)]

    def _classes(self) -> list[str | None]:
        """The other environment classes that have files here, in a fixed order."""
        return sorted({match[2] for match, _ in self._named()} - {self.environment_class}, key=lambda name: name or "")

    def _named(self) -> list[tuple[re.Match[str], Path]]:
        if not self.folder.is_dir():
            return []
        named = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return [(match, path) for match, path in named if match]

    def _set_aside(self, path: Path) -> Path:
        number = 0
        while True:
            aside = path.with_name(f"{path.name}.torn{number or ''}")
            if not aside.exists():
                path.rename(aside)
                return aside
            number += 1
