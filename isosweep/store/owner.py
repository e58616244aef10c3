"""Processes that hold tasks on a machine without Slurm, told apart from others that come to have the same pid."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["LocalOwner", "this_process"]


@dataclass(frozen=True)
class LocalOwner:
    """A process: host and, on it, the space of its pids (a container has its own), boot of that host, pid, and the
    kernel's tick at which it started.
    """

    host: str
    space: str
    boot: str
    pid: int
    start: int

    def alive(self) -> bool | None:
        """Whether it runs; None where that cannot be seen from here: another host, or another container."""
        if (self.host, self.space) != (socket.gethostname(), _space()):
            return None
        return self.boot == _boot() and self.start == _start(self.pid)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> LocalOwner:
        """From what `to_dict` gave."""
        return LocalOwner(
            str(data["host"]), str(data["space"]), str(data["boot"]), int(data["pid"]), int(data["start"])
        )


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start(pid: int) -> int:
    """The start time of a process in clock ticks since boot (field 22 of its stat line); −1 if there is none, or it
    is a zombie.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in parentheses may hold anything
    return -1 if fields[0] in "ZX" else int(fields[19])


def this_process() -> LocalOwner:
    """The process that asks."""
    return LocalOwner(socket.gethostname(), _space(), _boot(), os.getpid(), _start(os.getpid()))
