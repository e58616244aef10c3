"""Processes of this machine by what /proc says of them, free ports, and waiting: how a private Slurm is watched."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class PortClashError(Exception):
    """Another process took a port between its choice and its use."""


class Process(NamedTuple):
    """A process that stays itself: a pid, and when the pid's process started (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The living process with this pid; None if there is none (a zombie is none)."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat.started)

    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone or the pid is another's by now."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class _Stat(NamedTuple):
    parent: int
    started: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    words = text.rpartition(")")[2].split()
    return None if words[0] in "ZXx" else _Stat(int(words[1]), int(words[19]))


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def descendants(roots: set[int]) -> list[Process]:
    """The living processes below these pids, themselves not among them."""
    stats = {pid: stat for pid in pids() if (stat := _stat(pid)) is not None}
    below, grown = set(roots), True
    while grown:
        more = {pid for pid, stat in stats.items() if stat.parent in below} - below
        below |= more
        grown = bool(more)
    return [Process(pid, stats[pid].started) for pid in below - roots if pid in stats]


def environment_of(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    words = (word.partition("=") for word in raw.decode(errors="replace").split("\0"))
    return {key: value for key, equals, value in words if equals}


def with_open(links: set[str]) -> list[Process]:
    """The living processes that hold a file descriptor with one of these link texts."""
    found = []
    for pid in pids():
        process = Process.of(pid) if holds(pid, links) else None
        if process is not None:
            found.append(process)
    return found


def holds(pid: int, links: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    held = False
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder):
            # Descriptors come and go while they are read.
            with contextlib.suppress(OSError):
                held = held or os.readlink(f"{folder}/{descriptor}") in links
    return held


def listening(process: Process, port: int) -> bool:
    """Whether this very process listens on this TCP port, seen without connecting to it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{words[9]}]")
    return bool(inodes) and holds(process.pid, inodes)


def free_ports(count: int) -> list[int]:
    """Free TCP ports, outside the range from which the kernel hands out ports of outgoing connections."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(15000, 32000), 2000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise PortClashError(f"fewer than {count} free ports between 15000 and 32000")


def host_is_loopback() -> bool:
    with contextlib.suppress(OSError):
        return socket.gethostbyname(socket.gethostname()) == "127.0.0.1"
    return False


def until(condition: Callable[[], object], timeout: float, pause: float = 0.05) -> bool:
    """Ask again and again until it is true; False after `timeout` seconds. It is asked once at least."""
    end = time.monotonic() + timeout
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(pause)


def search_path() -> str:
    """PATH, with the folders of system programs at its end."""
    folders = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    return ":".join(dict.fromkeys([*folders, "/usr/local/sbin", "/usr/sbin", "/sbin"]))


def which(name: str) -> str | None:
    return shutil.which(name, path=search_path())
