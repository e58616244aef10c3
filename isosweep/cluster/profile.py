"""Profiles: how this cluster is asked for jobs. A TOML file; Slurm's options by sbatch's own names."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from isosweep.sweep.errors import nearest

__all__ = ["Profile", "ProfileError", "load_profile", "slurm_seconds"]

# What isosweep says itself in every submission.
_RESERVED = ("array", "job-name", "output", "error", "open-mode", "wrap", "signal", "requeue", "no-requeue")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_LONG_NAME = re.compile(r"[a-z][a-z0-9]+(-[a-z0-9]+)*")
_DEFAULT_TIME = "01:00:00"


class ProfileError(Exception):
    """A profile that does not exist or cannot be used: which, where it was looked for, what is wrong."""


@dataclass(frozen=True)
class Profile:
    """How jobs are asked for.

    Attributes:
        name: the profile's name.
        origin: the file it came from, or "built in".
        device: "cpu", "cuda" or "auto" (a GPU where the job was given one).
        python: command that starts Python on a node (a container's, say); this interpreter if None.
        setup: shell lines before it; the job stops at the first that fails.
        array_parallelism: tasks of one array that may run at a time.
        target_minutes: wall time that runs are packed towards.
        runs_per_task: at most so many runs a task, instead of `target_minutes`.
        signal_delay: seconds before the time limit at which a job is warned.
        sbatch: sbatch's options by their long names; true for a bare flag.
    """

    name: str
    origin: str
    device: str = "auto"
    python: str | None = None
    setup: tuple[str, ...] = ()
    array_parallelism: int = 256
    target_minutes: float = 30.0
    runs_per_task: int | None = None
    signal_delay: int = 90
    sbatch: dict[str, str | int | bool] = field(default_factory=lambda: {"time": _DEFAULT_TIME, "cpus-per-task": 1})

    @property
    def time_limit(self) -> float:
        """The wall time asked for, in seconds."""
        return slurm_seconds(str(self.sbatch.get("time", _DEFAULT_TIME)))

    @property
    def target_seconds(self) -> float:
        """Seconds that a task's runs should take: the target, and never more than half of the time limit."""
        return min(60 * self.target_minutes, self.time_limit / 2)


def slurm_seconds(text: str) -> float:
    """Seconds of a Slurm time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]], or
    UNLIMITED.

    Raises:
        ProfileError: none of these.
    """
    if text.strip().upper() in ("UNLIMITED", "INFINITE"):
        return float("inf")
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ProfileError(
            f"{text!r} is no time of Slurm's: expected minutes, hours:minutes:seconds or days-hours:minutes:seconds"
        )
    days, first, second, third = (None if g is None else int(g) for g in match.groups())
    if days is not None:
        return float(86400 * days + 3600 * (first or 0) + 60 * (second or 0) + (third or 0))
    if third is not None:
        return float(3600 * (first or 0) + 60 * (second or 0) + third)
    return float(60 * (first or 0) + (second or 0))


def _places(name: str) -> list[Path]:
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "isosweep" / "profiles"
    return [Path("slurm"), user]


def _find(name: str) -> Path:
    direct = Path(name)
    if name.endswith(".toml") or os.sep in name:
        if direct.is_file():
            return direct
        raise ProfileError(f"no profile file {name}")
    places = _places(name)
    for place in places:
        if (place / f"{name}.toml").is_file():
            return place / f"{name}.toml"
    known = sorted({p.stem for place in places if place.is_dir() for p in place.glob("*.toml")})
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join(known)}" if known else ""
    raise ProfileError(
        f"no profile {name!r}: looked for {' and '.join(str(p / (name + '.toml')) for p in places)}{hint}"
    )


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "device": (str, "cpu, cuda or auto"),
    "python": (str, "a shell command"),
    "setup": (list, "a list of shell lines"),
    "array_parallelism": (int, "a whole number"),
    "target_minutes": ((int, float), "a number of minutes"),
    "runs_per_task": (int, "a whole number"),
    "signal_delay": (int, "a whole number of seconds"),
    "sbatch": (dict, "a table of sbatch's options"),
}


def _check(raw: dict[str, Any], origin: str) -> None:
    for key, value in raw.items():
        if key not in _TYPES:
            near = nearest(key, _TYPES)
            belongs = "; sbatch's options stand in the table [sbatch]" if not near else f"; did you mean {near!r}?"
            raise ProfileError(f"{origin}: unknown key {key!r}{belongs}")
        kind, expected = _TYPES[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ProfileError(f"{origin}: {key} is {value!r}; expected {expected}")
        if isinstance(value, (int, float)) and not value > 0:
            raise ProfileError(f"{origin}: {key} is {value!r}; expected {expected} above 0")
    if raw.get("device", "auto") not in ("cpu", "cuda", "auto"):
        raise ProfileError(f"{origin}: device is {raw['device']!r}; expected cpu, cuda or auto")
    if not all(isinstance(line, str) for line in raw.get("setup", [])):
        raise ProfileError(f"{origin}: setup is a list of shell lines")


def _check_sbatch(options: dict[str, Any], origin: str) -> None:
    for key, value in options.items():
        if not _LONG_NAME.fullmatch(key):
            raise ProfileError(
                f"{origin}: [sbatch] {key!r}: give the long name as sbatch does, "
                f"{key.lower().strip('-').replace('_', '-') or 'time'!r}"
            )
        if key in _RESERVED:
            raise ProfileError(f"{origin}: [sbatch] {key} is set by isosweep itself; leave it out")
        if not isinstance(value, (str, int, bool)) or value is False or "\n" in str(value):
            raise ProfileError(
                f"{origin}: [sbatch] {key} is {value!r}; expected a text, a whole number, or true for a bare flag"
            )
        if key == "time":
            slurm_seconds(str(value))


def load_profile(name: str | None, overrides: Sequence[str] = ()) -> Profile:
    """The profile of this name or file, `overrides` (``KEY=VALUE``, sbatch's options) laid over it; without a name,
    one hour on one core.

    A name is looked for in ``slurm/`` here, then in the user's configuration folder.

    Raises:
        ProfileError: it does not exist, is not TOML, or has a key or a value that is not understood.
    """
    if name is None:
        profile = Profile("default", "built in")
    else:
        path = _find(name)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ProfileError(f"cannot read the profile {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path} is not TOML: {error}") from None
        _check(raw, str(path))
        values = dict(raw)
        values["setup"] = tuple(values.get("setup", ()))
        sbatch = {"time": _DEFAULT_TIME, **values.pop("sbatch", {})}
        _check_sbatch(sbatch, str(path))
        profile = Profile(name=path.stem, origin=str(path), sbatch=sbatch, **values)
    if overrides:
        options: dict[str, str | int | bool] = dict(profile.sbatch)
        for assignment in overrides:
            key, equals, value = assignment.partition("=")
            options[key.strip()] = value.strip() if equals else True
        _check_sbatch(options, "--sbatch")
        profile = replace(profile, sbatch=options)
    if profile.signal_delay >= profile.time_limit:
        raise ProfileError(
            f"{profile.origin}: signal_delay of {profile.signal_delay} s is not below the time limit of "
            f"{profile.time_limit:g} s: "
            "every job would be warned at its very start"
        )
    return profile
