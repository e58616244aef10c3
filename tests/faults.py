"""Faults to put a sweep through: a disk that fills or turns read-only, a process killed at a chosen time, torn files.

Faults of Slurm itself are methods of `private_slurm.PrivateSlurm`: kill_node, start_node, down, drain, requeue,
stop_controller, start_controller, hanging_controller. Here is what needs none, or acts on jobs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from private_slurm import PrivateSlurm, Process


class FaultUnavailable(RuntimeError):
    """This machine does not let us bring the fault about (no right to mount, say); a test skips with its message."""


class SmallDisk:
    """A tmpfs of its own, mounted by `small_disk`: root meets its limits too, unlike those of mere permissions."""

    FILLER = ".filler"

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Write until nothing more fits; a later write fails with ENOSPC."""
        block = b"\0" * 65536
        with (self.path / self.FILLER).open("ab", buffering=0) as filler:
            while block:
                try:
                    if filler.write(block) < len(block):
                        block = block[: len(block) // 2]
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    block = block[: len(block) // 2]

    def free(self) -> None:
        """Undo `fill`."""
        (self.path / self.FILLER).unlink(missing_ok=True)

    def read_only(self) -> None:
        """Writes fail with EROFS, root's too. While a file is open for writing, the kernel refuses this."""
        _mount("-o", "remount,ro", str(self.path))

    def writable(self) -> None:
        """Undo `read_only`."""
        _mount("-o", "remount,rw", str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, size: str = "1m", files: int | None = None) -> Iterator[SmallDisk]:
    """Mount a tmpfs of this size (and at most so many files) on a folder, made if need be; unmounted at the end."""
    path.mkdir(parents=True, exist_ok=True)
    limits = f"size={size},mode=0755" + (f",nr_inodes={files}" if files else "")
    _mount("-t", "tmpfs", "-o", limits, "isosweep-test", str(path))
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a process of the test may still stand in it.
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)


def _mount(*words: str) -> None:
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FaultUnavailable("no program mount") from None
    if done.returncode != 0:
        raise FaultUnavailable(f"mount {' '.join(words)}: {done.stderr.strip()}")


def wait_until(condition: Callable[[], object], timeout: float = 120.0, pause: float = 0.01) -> None:
    """Return as soon as it is true; TimeoutError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {timeout:g} s")
        time.sleep(pause)


def run_and_kill(
    argv: Sequence[str | Path],
    when: Callable[[], object],
    *,
    number: int = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 240.0,
) -> tuple[bool, str]:
    """Run a command in a session of its own and signal all of that session's group as soon as `when()` is true.

    Whether it was signalled before it ended by itself, and what it printed (stdout and stderr). Nothing of it runs on.
    """
    process = subprocess.Popen(
        [str(word) for word in argv],
        env=None if env is None else dict(env),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    signalled = False
    try:
        wait_until(lambda: process.poll() is not None or when(), timeout, pause=0.002)
        if process.poll() is None:
            signalled = True
            os.killpg(process.pid, number)
        text, _ = process.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return signalled, text or ""


def kill_job(slurm: PrivateSlurm, job: str, *, containing: str = "", number: int = signal.SIGKILL) -> list[Process]:
    """Signal the processes of a job (`12`, or `12_3` of an array) whose command line contains this text; those it met.

    Its slurmstepd lives on and reports the end, as when the kernel kills a process for want of memory.
    """
    met = [process for process in slurm.job_processes(job=job) if containing in _command_line(process.pid)]
    for process in met:
        process.signal(number)
    return met


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def tear(path: Path, keep: float = 0.5) -> None:
    """Cut a file short, as a write that a crash cut off; its modification time stays."""
    before = path.stat()
    os.truncate(path, int(before.st_size * keep))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip_bit(path: Path, at: float = 0.5) -> None:
    """Change one bit of a file, its length and its modification time unchanged."""
    before = path.stat()
    if before.st_size == 0:
        raise ValueError(f"{path} is empty")
    with path.open("r+b") as file:
        place = min(int(before.st_size * at), before.st_size - 1)
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it had been written so many seconds earlier than it was."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def shadow_command(folder: Path, name: str, script: str, env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a command is this shell script instead: a `sacct` that hangs, an `sbatch` that refuses.

    Within it the real command is "$REAL" (empty if there is none).
    """
    folder.mkdir(parents=True, exist_ok=True)
    real = next((str(p) for d in env["PATH"].split(":") if os.access(p := Path(d) / name, os.X_OK)), "")
    file = folder / name
    file.write_text(f"#!/bin/sh\nREAL='{real}'\n{script}\n")
    file.chmod(0o755)
    return {**env, "PATH": f"{folder}:{env['PATH']}"}
