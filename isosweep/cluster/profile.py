"""Profiles: how this cluster is asked for jobs. A TOML file; Slurm's options by sbatch's own names."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isosweep.sweep.errors import nearest

__all__ = ["Profile", "ProfileError", "check_device", "load_profile", "slurm_seconds"]

# What isosweep says itself in every submission.
_RESERVED = ("array", "job-name", "output", "error", "open-mode", "wrap", "signal", "requeue", "no-requeue")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_LONG_NAME = re.compile(r"[a-z][a-z0-9]+(-[a-z0-9]+)*")
_DEFAULT_TIME = "01:00:00"
# By how many seconds Slurm may be early with the signal asked for (sbatch's manual).
_WARNED_EARLY = 60
# What sbatch itself takes from the environment, where the profile has no such option.
_FROM_ENVIRONMENT = frozenset(
    f"SBATCH_{name}"
    for name in ("ACCOUNT", "CONSTRAINT", "PARTITION", "QOS", "RESERVATION", "WCKEY", "GRES", "EXCLUSIVE")
)
# Options by which a job asks for GPUs, or for all that a node has.
_GPU_OPTIONS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "exclusive")


class ProfileError(Exception):
    """A profile that does not exist or cannot be used: which, where it was looked for, what is wrong."""


@dataclass(frozen=True)
class Profile:
    """How jobs are asked for.

    Attributes:
        name: the profile's name.
        origin: the file it came from, or "built in".
        origins: key, or option of sbatch, → where its value came from ("flag --sbatch", "environment SBATCH_ACCOUNT",
            "project slurm/gpu.toml", "user …/gpu.toml"); what is not named is built in.
        device: "cpu", "cuda" or "auto" (a GPU where the job was given one).
        python: command that starts Python on a node (a container's, say); this interpreter if None.
        setup: shell lines before it; the job stops at the first that fails.
        array_parallelism: tasks of one array that may run at a time.
        target_minutes: wall time that runs are packed towards.
        runs_per_task: at most so many runs a task, instead of `target_minutes`.
        signal_delay: seconds before the time limit at which a job is warned.
        checkpoint_minutes: how long a run may train on without a checkpoint.
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
    checkpoint_minutes: float = 10.0
    sbatch: dict[str, str | int | bool] = field(default_factory=lambda: {"time": _DEFAULT_TIME, "cpus-per-task": 1})
    origins: dict[str, str] = field(default_factory=dict, compare=False)

    def origin_of(self, key: str) -> str:
        """Where a value came from."""
        return self.origins.get(key, "built in")

    def values(self) -> dict[str, tuple[Any, str]]:
        """Every value with its origin; sbatch's options as ``sbatch.NAME``, those of the environment too."""
        own = {k: v for k, v in vars(self).items() if k in _TYPES and k != "sbatch"}
        shown = {key: (list(v) if isinstance(v, tuple) else v, self.origin_of(key)) for key, v in own.items()}
        shown |= {f"sbatch.{key}": (value, self.origin_of(key)) for key, value in self.sbatch.items()}
        for name, value in sorted(os.environ.items()):
            option = name.removeprefix("SBATCH_").lower().replace("_", "-")
            if name in _FROM_ENVIRONMENT and option not in self.sbatch:
                shown[f"sbatch.{option}"] = (value, f"environment {name}")
        return shown

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


def _places() -> list[tuple[str, Path]]:
    """Where a name is looked for, the weaker first."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "isosweep" / "profiles"
    return [("user", user), ("project", Path("slurm"))]


def _find(name: str) -> list[tuple[str, Path]]:
    """The files of a profile, the weaker first, and what each is."""
    direct = Path(name)
    if name.endswith(".toml") or os.sep in name:
        if direct.is_file():
            return [("file", direct)]
        raise ProfileError(f"no profile file {name}")
    places = _places()
    found = [(kind, place / f"{name}.toml") for kind, place in places if (place / f"{name}.toml").is_file()]
    if found:
        return found
    known = sorted({p.stem for _, place in places if place.is_dir() for p in place.glob("*.toml")})
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join(known)}" if known else ""
    looked = " and ".join(str(place / (name + ".toml")) for _, place in reversed(places))
    raise ProfileError(f"no profile {name!r}: looked for {looked}{hint}")


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "device": (str, "cpu, cuda or auto"),
    "python": (str, "a shell command"),
    "setup": (list, "a list of shell lines"),
    "array_parallelism": (int, "a whole number"),
    "target_minutes": ((int, float), "a number of minutes"),
    "runs_per_task": (int, "a whole number"),
    "signal_delay": (int, "a whole number of seconds"),
    "checkpoint_minutes": ((int, float), "a number of minutes"),
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


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"cannot read the profile {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} is not TOML: {error}") from None
    _check(raw, str(path))
    _check_sbatch(raw.get("sbatch", {}), str(path))
    return raw


def load_profile(name: str | None, overrides: Sequence[str] = (), device: str | None = None) -> Profile:
    """The profile of this name or file, `overrides` (``KEY=VALUE``, sbatch's options) and `device` laid over it;
    without a name, that of ISOSWEEP_PROFILE, else one hour on one core.

    A name's values are those of the file in ``slurm/`` here, over those of the file in the user's configuration
    folder, over what is built in.

    Raises:
        ProfileError: it does not exist, is not TOML, or has a key or a value that is not understood.
    """
    name = name or os.environ.get("ISOSWEEP_PROFILE") or None
    files = _find(name) if name is not None else []
    values: dict[str, Any] = {}
    sbatch: dict[str, str | int | bool] = {"time": _DEFAULT_TIME} if files else dict(Profile("", "").sbatch)
    origins: dict[str, str] = {}
    for kind, path in files:
        raw = _read(path)
        options = raw.pop("sbatch", {})
        values |= raw
        sbatch |= options
        origins |= dict.fromkeys((*raw, *options), f"{kind} {path}")
    if device is not None:
        values["device"], origins["device"] = device, "flag --device"
    for assignment in overrides:
        key, equals, value = assignment.partition("=")
        sbatch[key.strip()], origins[key.strip()] = (value.strip() if equals else True), "flag --sbatch"
    _check_sbatch(sbatch, "--sbatch")
    values["setup"] = tuple(values.get("setup", ()))
    origin = " over ".join(str(path) for _, path in reversed(files)) or "built in"
    profile = Profile(
        name=files[-1][1].stem if files else "default", origin=origin, sbatch=sbatch, origins=origins, **values
    )
    if profile.signal_delay + _WARNED_EARLY >= profile.time_limit:
        raise ProfileError(
            f"{profile.origin}: signal_delay of {profile.signal_delay} s, and the {_WARNED_EARLY} s by which Slurm may "
            f"warn earlier, are not below the time limit of {profile.time_limit:g} s: every job would be warned at its "
            "very start; give it more time, or a smaller signal_delay"
        )
    return profile


def check_device(profile: Profile) -> None:
    """Refuse a profile that says ``device: cuda`` and asks Slurm for no GPU.

    Raises:
        ProfileError: it does.
    """
    if profile.device == "cuda" and not any(option in profile.sbatch for option in _GPU_OPTIONS):
        raise ProfileError(
            f"device is cuda ({profile.origin_of('device')}) and nothing in [sbatch] asks for a GPU: say "
            'gres = "gpu:1", or device = "auto" where the partition itself gives one'
        )
