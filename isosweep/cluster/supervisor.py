"""Carries out tasks: claims one, hands its runs to a child process, and sees that nothing is lost whatever the child
does.

The child lives on from run to run and from task to task, so that imports are paid once. If it dies (out of memory, a
segmentation fault), that is a failed attempt of the run in hand; a new child takes the next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from isosweep.store.attempts import attempts_of, publish_attempt
from isosweep.store.claims import Entry, append, last_entry
from isosweep.store.launches import read_task
from isosweep.store.records import has_record
from isosweep.store.store import Store
from isosweep.sweep.settings import Run, to_json

__all__ = ["Child", "StoreUnwritable", "Supervisor", "TaskRef"]

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONSAFEPATH": "1",
}


class StoreUnwritable(Exception):
    """A record or an attempt could not be written: the task stops, since every other run would fare the same."""


@dataclass(frozen=True)
class TaskRef:
    """A task of a launch, and how its runs are to be computed.

    Attributes:
        device: "cpu", "cuda" or "auto".
        folder: where a user's own module is imported from.
        about: what every record of the task notes.
        code: the snapshot that isosweep is imported from; None for an installed one.
        expects: the code id and the versions at the launch; a process that differs computes nothing.
    """

    store: str
    launch: int
    token: str
    task: int
    device: str = "cpu"
    folder: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    code: str | None = None
    expects: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """token-number, as attempts and records name it."""
        return f"{self.token}-{self.task}"


def _oom_kills() -> int:
    """How many processes the kernel has killed in this cgroup for want of memory; 0 where that cannot be read."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
        events = Path("/sys/fs/cgroup" + group + "/memory.events").read_text()
        return int(dict(line.split() for line in events.splitlines())["oom_kill"])
    except (OSError, ValueError, KeyError):
        return 0


class Child:
    """A process of `isosweep.cluster.child`, started when first needed and again after it has died."""

    def __init__(self, environment: dict[str, str] | None = None, log: IO[bytes] | int | None = None):
        self._environment = {**os.environ, **_ONE_THREAD, **(environment or {})}
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "isosweep.cluster.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                bufsize=1,
                env=self._environment,
            )
        return self._process

    def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send one run and wait for the reply; if the process dies instead, the reply says how."""
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        kills = _oom_kills()
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        code = process.wait()
        self._process = None
        if code == -signal.SIGKILL and _oom_kills() > kills:
            return {
                "status": "oom",
                "died": True,
                "cause": "the process was killed for want of memory (cgroup's limit)",
            }
        if code < 0:
            name = signal.Signals(-code).name
            hint = ": out of memory, most likely" if code == -signal.SIGKILL else ""
            return {"status": "failed", "died": True, "cause": f"the process died of {name}{hint}"}
        return {"status": "failed", "died": True, "cause": f"the process ended with exit code {code}"}

    def kill(self) -> None:
        """End the process now; the run in hand is not recorded."""
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def close(self) -> None:
        """Let the process end after the run in hand, and wait for it."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


class Supervisor:
    """Does tasks with one child.

    Args:
        child: computes.
        owner: who claims: a Slurm job with its restart count, or a local process.
        stop: set from another thread to end after the run in hand.
        progress: called with (run id, status) after each run.
    """

    def __init__(
        self,
        child: Child,
        owner: dict[str, Any],
        stop: threading.Event | None = None,
        progress: Callable[[str, str], None] | None = None,
    ):
        self.child, self.owner = child, owner
        self.stop = stop or threading.Event()
        self.progress = progress or (lambda run, status: None)
        self.in_hand: Run | None = None
        self.started = 0

    def claim(self, store: Store, task: TaskRef) -> Entry | None:
        """Take the task; None if it has ended, was given up, or is another's.

        The same Slurm job with a higher restart count takes over from its former self.
        """
        last = last_entry(store, task.token, task.task)
        if last is not None:
            same = (
                last.kind == "claim"
                and last.owner.get("job") is not None
                and last.owner.get("job") == self.owner.get("job")
            )
            if not same or int(last.owner.get("restart", 0)) >= int(self.owner.get("restart", 0)):
                return None
        return append(store, task.token, task.task, last, "claim", self.owner)

    def work(self, task: TaskRef) -> bool:
        """Claim the task and do its runs in order, leaving out those that are recorded or that this task has tried;
        True if it was ours.

        Raises:
            StoreUnwritable: the store takes no more files; the task is not ended, so that its runs count as held
                until it is given up.
        """
        store = Store(task.store)
        claim = self.claim(store, task)
        if claim is None:
            return False
        for run in read_task(store, task.launch, task.task):
            if self.stop.is_set():
                break
            if has_record(store, run.id) or any(a.task == task.name for a in attempts_of(store, run.id)):
                self.progress(run.id, "skipped")
                continue
            self.in_hand = run
            reply = self.child.carry_out(
                {
                    "store": task.store,
                    "run": json.loads(to_json(run)),
                    "device": task.device,
                    "folder": task.folder,
                    "task": task.name,
                    "about": task.about,
                    "expects": task.expects,
                }
            )
            self.started += 1
            if self.stop.is_set() and reply.get("died"):
                break  # we killed it
            if reply["status"] == "store":
                raise StoreUnwritable(reply["cause"])
            if reply.get("died"):
                publish_attempt(store, run.id, reply["status"], reply["cause"], task.name, **task.about)
            self.in_hand = None
            self.progress(run.id, reply["status"])
            if reply["status"] == "environment_changed":
                break  # every other run of the task would find the same
        self.in_hand = None
        append(store, task.token, task.task, claim, "end", self.owner)
        return True
