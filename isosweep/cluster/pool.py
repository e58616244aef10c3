"""The pool on this machine: as many supervisors as there are GPUs, or cores, working through the tasks of a launch."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from types import FrameType

from isosweep.cluster.process import Child
from isosweep.cluster.profile import ProfileError
from isosweep.cluster.snapshot import import_first
from isosweep.cluster.supervisor import Supervisor
from isosweep.cluster.task import TaskRef
from isosweep.store.owner import this_process
from isosweep.store.store import Store

__all__ = ["HEARTBEAT_SECONDS", "check_pool_device", "ended_like_an_interrupt", "run_pool", "slots"]

HEARTBEAT_SECONDS = 30.0
_CHILD_MEMORY = 1.5e9
# How long a run in training has to write its checkpoint when the pool is interrupted, and its workers to end.
_PAUSE_SECONDS = 10.0
_END_SECONDS = 30.0


def _gpus_here() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them (which ends at the first that is none),
    else as nvidia-smi counts them.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = (name.strip() for name in visible.split(","))
        return list(takewhile(lambda name: name and not name.startswith("-"), names))
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = sum(line.startswith("GPU ") for line in listing.stdout.splitlines()) if listing.returncode == 0 else 0
    return [str(number) for number in range(found)]


def check_pool_device(device: str) -> None:
    """Refuse ``device: cuda`` where this process may use no GPU.

    Raises:
        ProfileError: it does.
    """
    if device == "cuda" and not _gpus_here():
        raise ProfileError("device is cuda and this machine shows no GPU (nvidia-smi, CUDA_VISIBLE_DEVICES)")


def slots(device: str, workers: int | None = None) -> list[dict[str, str]]:
    """The environment of each worker of the pool: one a GPU, else one a core this process may use (and that the
    memory carries).
    """
    gpus = [] if device == "cpu" else _gpus_here()
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": name} for name in gpus[:workers]]
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [{"CUDA_VISIBLE_DEVICES": ""}] * (workers or max(1, min(cores, int(memory / _CHILD_MEMORY))))


def _heartbeat(path: Path, done: threading.Event) -> None:
    """Touch the launch's file, so that launchers on other hosts see that this pool lives."""
    while not done.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):  # a store that is away for a while
            os.utime(path)


@contextlib.contextmanager
def ended_like_an_interrupt() -> Iterator[None]:
    """SIGTERM (`kill`, `timeout`) and SIGHUP (a closed terminal; not under `nohup`) act as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    ours = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def run_pool(
    tasks: Sequence[TaskRef],
    environments: Sequence[dict[str, str]],
    log: Path,
    launch_file: Path,
    progress: Callable[[str, str], None],
) -> list[BaseException]:
    """Do all tasks, each by whichever worker is free, and return what went wrong with workers (not with runs, whose
    failures are attempts).

    On an interrupt runs in training write a checkpoint, other runs in hand are given up at once without a trace, every
    claimed task is ended, and the interrupt is raised again: the next launch takes what is left. A second interrupt
    gives up those in training, too.
    """
    waiting: queue.SimpleQueue[TaskRef] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    stop, done = threading.Event(), threading.Event()
    failures: list[BaseException] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    supervisors: list[Supervisor] = []
    owner = {"kind": "local", **this_process().to_dict()}

    def serve(supervisor: Supervisor, ended: threading.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    task = waiting.get_nowait()
                except queue.Empty:
                    break
                if supervisor.work(task) == "stopped":
                    supervisor.end(Store(task.store), task)
        except BaseException as error:
            failures.append(error)
            stop.set()
        finally:
            supervisor.child.close()
            ended.set()

    with log.open("ab") as stream:
        workers: list[tuple[threading.Thread, threading.Event]] = []
        for environment in environments[: len(tasks)]:
            child = Child({**environment, "PYTHONPATH": import_first(tasks[0].code)}, stream)
            supervisors.append(Supervisor(child, owner, stop, progress))
            ended = threading.Event()
            thread = threading.Thread(target=serve, args=(supervisors[-1], ended), name="isosweep-worker")
            workers.append((thread, ended))
        pulse = threading.Thread(target=_heartbeat, args=(launch_file, done), daemon=True)
        pulse.start()
        try:
            for thread, _ in workers:
                thread.start()
            # Not Thread.join, which up to Python 3.12 takes a thread for ended if an interrupt comes while it waits.
            for _, ended in workers:
                while not ended.wait(0.2):
                    pass
        except BaseException:
            stop.set()
            _let_go(supervisors, [ended for thread, ended in workers if thread.ident is not None])
            raise
        finally:
            done.set()
    return failures


def _let_go(supervisors: Sequence[Supervisor], ended: Sequence[threading.Event]) -> None:
    """Have the runs in hand paused or ended, and wait for the workers to say so in the store; told again, wait for no
    pause.
    """
    deadline = time.monotonic() + _END_SECONDS
    for supervisor in supervisors:
        run = supervisor.in_hand
        if run is not None and run.train is not None:
            supervisor.child.pause(_PAUSE_SECONDS)
        else:
            supervisor.child.kill()
    for one in ended:
        while not one.is_set() and time.monotonic() < deadline:
            try:
                one.wait(0.2)
            except KeyboardInterrupt:
                for supervisor in supervisors:
                    supervisor.child.kill()
