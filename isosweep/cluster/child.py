"""The process that computes: takes runs from its supervisor one by one, publishes a record or an attempt for each,
and lives on.

It is alone in importing torch. One line of JSON comes in for each run, one goes out; what user code prints goes to
the log. It dies with its supervisor. SIGUSR1 asks it to pause: a run in training writes its checkpoint and is given
back, any other goes on to its end.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import signal
import sys
import time
import traceback
from types import FrameType
from typing import IO, Any

from isosweep.store.store import Store, StoreError

__all__ = ["DEAF_TO", "PAUSE", "main"]

# What a supervisor sends to have the run in hand paused.
PAUSE = signal.SIGUSR1

# Signals meant for the supervisor, which may reach its whole process group.
DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_PDEATHSIG = 1
_LONGEST_CAUSE = 300
_pausing = False


def _pause(number: int, frame: FrameType | None) -> None:
    global _pausing
    _pausing = True


class _NoDeviceError(Exception):
    """The profile's device is not here: every other run of the task would find the same."""


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)  # it died before we asked to be told


def _own_stdout() -> IO[str]:
    """The pipe to the supervisor; from here on everything that is printed goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def _is_out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _printable(text: str) -> str:
    """The text without what no terminal or file can hold (halves of characters, out of undecodable names)."""
    return text.encode(errors="replace").decode()


def _cause(error: BaseException) -> str:
    """The exception in one line with the line of code that raised it: what failures are grouped by."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = _printable(" ".join(str(error).split()))
    text = text if len(text) <= _LONGEST_CAUSE else text[:_LONGEST_CAUSE] + "…"
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"


def _pick_device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise _NoDeviceError(
            "the profile says device: cuda, and this job sees no GPU: ask for one (gres, gpus-per-node), or say "
            "device: auto"
        )
    return asked


@functools.cache
def _here() -> dict[str, str]:
    """The code and the packages of this process, which stay what they are once they are imported."""
    from isosweep.cluster.snapshot import versions
    from isosweep.measurement.code import code_id

    return {"code": code_id(), **versions()}


def _changes(expected: dict[str, str]) -> list[str]:
    """What differs between this process and the launch: isosweep's code, Python, packages that can change a result."""
    found = _here()
    return [
        f"{name} {found.get(name)} here, {value} there" for name, value in expected.items() if found.get(name) != value
    ]


def _carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Compute one run; the reply says how it ended."""
    from isosweep.measurement.environment import environment_class, fingerprint
    from isosweep.measurement.execute import execute
    from isosweep.measurement.paused import Paused
    from isosweep.measurement.peak_memory import begin_peak_memory, peak_memory
    from isosweep.store.attempts import publish_attempt
    from isosweep.store.records import encode_record, publish_record
    from isosweep.sweep.identity import MEASUREMENT_VERSION
    from isosweep.sweep.settings import from_json

    store, run = Store(order["store"]), from_json(json.dumps(order["run"]))
    began, clock = time.time(), time.perf_counter()

    def attempt(outcome: str, cause: str, **details: Any) -> dict[str, Any]:
        with store.writing():
            publish_attempt(store, run.id, outcome, cause, order["task"], **details, **order["about"])
        return {"status": outcome, "cause": cause}

    if changes := _changes(order["expects"]):
        return attempt("environment_changed", "the environment is not that of the launch: " + ", ".join(changes))
    try:
        device = _pick_device(order["device"])
    except _NoDeviceError as error:
        return attempt("environment_changed", str(error))
    known: dict[str, Any] = {}
    checkpoints = store.checkpoints_of(run.id)
    try:
        known = fingerprint(device)
        begin_peak_memory(device)
        measurement = execute(
            run,
            device,
            folder=order["folder"],
            checkpoints=checkpoints,
            stop=lambda: _pausing,
            checkpoint_minutes=order["checkpoint_minutes"],
        )
        seconds = time.perf_counter() - clock
        provenance = {
            **known,
            "environment_class": environment_class(known),
            "started_at": began,
            "ended_at": time.time(),
            "seconds": seconds,
            **peak_memory(device),
            "task": order["task"],
            **order["about"],
        }
        encoded = encode_record(run, measurement, measurement.outcome, MEASUREMENT_VERSION, provenance)
    except Paused as paused:
        return {"status": "paused", "step": paused.step}
    except (Exception, SystemExit) as error:  # a user's network may call sys.exit
        return attempt(
            "oom" if _is_out_of_memory(error) else "failed",
            _cause(error),
            traceback=_printable(traceback.format_exc()),
            environment=known,
            started_at=began,
            seconds=time.perf_counter() - clock,
        )
    with store.writing():
        publish_record(store, run.id, measurement.outcome, encoded)
    shutil.rmtree(checkpoints, ignore_errors=True)  # nobody goes on from there any more
    return {"status": measurement.outcome, "seconds": seconds}


def main() -> None:
    """Serve the supervisor until it closes the pipe."""
    _die_with_parent(int(sys.argv[1]))
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides; only SIGKILL ends a run from outside
    signal.signal(PAUSE, _pause)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF_TO)
    channel = _own_stdout()
    for line in sys.stdin:
        try:
            reply = _carry_out(json.loads(line))
        except StoreError as error:  # nothing is published, and nothing else would be
            reply = {"status": "store", "cause": str(error)}
        except Exception as error:  # nothing could be computed, not even imported: the supervisor tells of it
            cause, text = _cause(error), _printable(traceback.format_exc())
            reply = {"status": "failed", "died": True, "cause": cause, "traceback": text}
        channel.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
