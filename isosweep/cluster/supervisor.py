"""Carries out tasks: claims one, hands its runs to a child process, and sees that nothing is lost whatever the child
does.

The child lives on from run to run and from task to task, so that imports are paid once. If it dies (out of memory, a
segmentation fault), that is a failed attempt of the run in hand; a new child takes the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from isosweep.cluster.child import DEAF_TO
from isosweep.store.attempts import attempts_of, publish_attempt
from isosweep.store.claims import Entry, append, followed, last_entry
from isosweep.store.launches import read_task
from isosweep.store.records import has_record
from isosweep.store.store import Store, StoreError
from isosweep.sweep.settings import Run, to_json

__all__ = ["Child", "Supervisor", "TaskRef"]

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONSAFEPATH": "1",
    "PYTHONHASHSEED": "0",  # the order of sets of names, which a user's network may draw in
}


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


# An idle child has nothing to do but leave; threads of a user's network may keep it from that.
_FAREWELL_SECONDS = 20.0


class Child:
    """A process of `isosweep.cluster.child`, started when first needed and again after it has died."""

    def __init__(self, environment: dict[str, str] | None = None, log: IO[bytes] | int | None = None):
        self._environment = {**os.environ, **_ONE_THREAD, **(environment or {})}
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._killed = False

    def _start(self) -> subprocess.Popen[str] | None:
        """The process; None after `kill`. A group of its own keeps a terminal's Ctrl-C from it: its supervisor
        decides.
        """
        with self._lock:
            if self._killed:
                return None
            if self._process is None or self._process.poll() is not None:
                # Until it is in its own group and ignores them, the child has these signals blocked, by inheritance.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
                try:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "isosweep.cluster.child", str(os.getpid())],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=self._log,
                        text=True,
                        bufsize=1,
                        env=self._environment,
                        process_group=0,
                    )
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return self._process

    def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send one run and wait for the reply; if the process dies instead, the reply says how."""
        process = self._start()
        if process is None:
            return {"status": "failed", "died": True, "cause": "the process was ended by its supervisor"}
        assert process.stdin is not None
        assert process.stdout is not None
        kills = _oom_kills()
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            # A process forked by a user's network may keep the pipe open after the child has died.
            while not select.select([process.stdout], [], [], 1.0)[0] and process.poll() is None:
                pass
            line = process.stdout.readline() if select.select([process.stdout], [], [], 0)[0] else ""
        except BrokenPipeError:
            line = ""
        if line.endswith("\n"):
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
        return {"status": "failed", "died": True, "cause": f"the process ended with exit code {code}: see its output"}

    def kill(self) -> None:
        """End the process now; the run in hand is not recorded."""
        with self._lock:
            self._killed = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def close(self) -> None:
        """Let the process, idle now, end; one that does not is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


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
        True if it was ours. It stops before the next run where the task has been given up or taken over meanwhile.

        Raises:
            StoreError: the store takes no more files; the task is not ended, so that its runs count as held until it
                is given up.
        """
        store = Store(task.store)
        with store.writing():
            claim = self.claim(store, task)
        if claim is None:
            return False
        for run in read_task(store, task.launch, task.task):
            if self.stop.is_set() or followed(store, task.token, task.task, claim):
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
                raise StoreError(reply["cause"])
            if reply.get("died") and has_record(store, run.id):
                reply["status"] = "done"
            elif reply.get("died"):
                details = {"traceback": reply["traceback"]} if "traceback" in reply else {}
                with store.writing():
                    publish_attempt(store, run.id, reply["status"], reply["cause"], task.name, **details, **task.about)
            self.in_hand = None
            self.progress(run.id, reply["status"])
            if reply["status"] == "environment_changed":
                break  # every other run of the task would find the same
        self.in_hand = None
        self.end(store, task, claim)
        return True

    def end(self, store: Store, task: TaskRef, claim: Entry) -> None:
        """Let go of a task: what it has not done is free."""
        with store.writing():
            append(store, task.token, task.task, claim, "end", self.owner)
