"""The process that computes, as its supervisor sees it: started when needed, given runs, paused, ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from isosweep.cluster.child import DEAF_TO, PAUSE

__all__ = ["Child"]

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONSAFEPATH": "1",
    "PYTHONHASHSEED": "0",  # the order of sets of names, which a user's network may draw in
}


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
_LOOK_EVERY = 0.5


class Child:
    """A process of `isosweep.cluster.child`, started when first needed and again after it has died."""

    def __init__(self, environment: dict[str, str] | None = None, log: IO[bytes] | int | None = None):
        self._environment = {**os.environ, **_ONE_THREAD, **(environment or {})}
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.RLock()  # a signal handler may meet its own thread inside
        self._killed = False
        self._patience_ends: float | None = None

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

    def carry_out(self, order: dict[str, Any], meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Send one run and wait for the reply, `meanwhile` being called now and then; if the process dies instead, the
        reply says how.
        """
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
            while not select.select([process.stdout], [], [], _LOOK_EVERY)[0] and process.poll() is None:
                meanwhile()
                if self._patience_ends is not None and time.monotonic() > self._patience_ends:
                    self.kill()
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

    def pause(self, within: float) -> None:
        """Ask for the run in hand to be paused, and end the process if it has neither paused nor ended `within` so
        many seconds. May be called from another thread, or a signal handler.
        """
        self._patience_ends = time.monotonic() + within
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(PAUSE)

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
