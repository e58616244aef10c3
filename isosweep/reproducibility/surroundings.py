"""Two fingerprints side by side: what differs between where a number was recorded and where it was computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from isosweep.measurement.environment import DECISIVE

__all__ = ["Change", "changes_between"]

# What differs between any two runs and says nothing.
_PASSING = frozenset(
    [
        "ended_at",
        "peak_gpu_memory_bytes",
        "peak_memory_bytes",
        "seconds",
        "slurm_job",
        "slurm_restart",
        "started_at",
        "sweep",
        "task",
        "environment_class",
    ]
)


@dataclass(frozen=True)
class Change:
    """A field of the fingerprint in both; `decisive` if it is part of the environment class, or the code."""

    name: str
    recorded: Any
    now: Any
    decisive: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def changes_between(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """The fields that differ, those that can change bits first.

    A field that only one of the two knows (a commit, where one was no checkout) is no difference unless it decides.
    """
    decisive = {*DECISIVE, "code_id"}
    names = [*DECISIVE, "code_id", *sorted((recorded.keys() | now.keys()) - decisive - _PASSING)]
    found = []
    for name in names:
        both = name in recorded and name in now
        if (both or name in decisive) and recorded.get(name) != now.get(name):
            found.append(Change(name, recorded.get(name), now.get(name), name in decisive))
    return found
