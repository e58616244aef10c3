"""Watching a sweep until nothing of it is held any more."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from typing import TYPE_CHECKING

import typer

from .common import ExitCode, counts, message

if TYPE_CHECKING:
    from isosweep.store.status import RunState
    from isosweep.store.store import Store
    from isosweep.sweep.sweep import Sweep

__all__ = ["wait_for"]

_SHORTEST, _LONGEST = 1.0, 30.0


def wait_for(store: Store, sweep: Sweep, *, quiet: bool) -> dict[str, RunState]:
    """Poll until no run is pending or running, and give back the states; one squeue a poll, polls ever further apart.

    Ctrl-C ends the watching only, and says how to end the jobs.
    """
    from isosweep.launching.observe import observe

    ids = [run.id for run in sweep.runs()]
    pause, shown = _SHORTEST, ""
    try:
        while True:
            seen = observe(store, ids)
            tally = Counter(state.status for state in seen.states.values())
            text = counts(tally)
            if text != shown:
                message(f"  {time.strftime('%H:%M:%S')}  {text}", quiet=quiet)
                shown, pause = text, _SHORTEST
            if not tally["pending"] and not tally["running"]:
                return seen.states
            time.sleep(pause)
            pause = min(_LONGEST, pause * 1.3)
    except KeyboardInterrupt:
        message(
            f"no longer watching; the jobs go on. To end them: isosweep cancel {shlex.quote(sweep.file)} --store "
            f"{shlex.quote(str(store.root))}"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
