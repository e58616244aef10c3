"""`isosweep logs`: why a run failed, and what its task prints."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import DEFAULT_STORE, JsonOption, Quiet, StoreOption, Verbose, exits, find_run, open_store, print_json
from .show import RunArgument

if TYPE_CHECKING:
    from isosweep.store.status import OpenTask
    from isosweep.store.store import Store

NAME = "logs"
_LOOK_EVERY = 1.0


def _task_of(store: Store, run: str, number: int) -> OpenTask:
    """The run's task in a launch."""
    from isosweep.store.claims import last_entry
    from isosweep.store.launches import read_launch
    from isosweep.store.status import OpenTask

    launch = read_launch(store, number)
    task = next(i for i, runs in enumerate(launch.tasks) if run in runs)
    return OpenTask(launch, task, last_entry(store, launch.token, task))


def _follow(store: Store, run: str, number: int, shown: dict[str, int]) -> None:
    """Print what is added to the outputs, until the run is held by no task any more. `shown`: bytes already printed."""
    from isosweep.launching.observe import observe
    from isosweep.launching.output import outputs

    patience = 0.0
    held = True
    while True:
        for path in outputs(store, _task_of(store, run, number)):
            with path.open("rb") as stream:
                stream.seek(shown.get(str(path), 0))
                data = stream.read()
            shown[str(path)] = shown.get(str(path), 0) + len(data)
            if data:
                typer.echo(data.decode(errors="replace"), nl=False)
        if not held:
            return
        if time.monotonic() >= patience:
            # the store is looked at, and Slurm asked, at most a share of the time
            began = time.monotonic()
            held = observe(store, [run]).states[run].task is not None
            patience = time.monotonic() + 5 * _LOOK_EVERY + 10 * (time.monotonic() - began)
        if held:
            time.sleep(_LOOK_EVERY)


@exits
def command(
    run: RunArgument,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only the failed attempts, without the task's output.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on printing what the task prints, until the run has ended.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", min=1, metavar="N", help="Lines of the task's output.")] = 40,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tracebacks of a run's failed attempts, and the end of its task's output."""
    from isosweep.launching.output import outputs
    from isosweep.store.attempts import attempts_of, read_attempt

    place = open_store(store)
    found, number = find_run(place, run)
    attempts = [read_attempt(attempt) for attempt in attempts_of(place, found.id)]
    paths: list[Path] = [] if failed else outputs(place, _task_of(place, found.id, number))
    texts = {str(path): path.read_bytes() for path in paths}
    tails = {path: text.decode(errors="replace").splitlines()[-lines:] for path, text in texts.items()}
    if json_:
        print_json({"run_id": found.id, "attempts": attempts, "outputs": tails})
        return
    for place_in_row, content in enumerate(attempts, start=1):
        typer.echo(f"attempt {place_in_row}: {content.get('outcome')}: {content.get('cause')}")
        typer.echo(str(content.get("traceback") or "(no traceback: the process did not live to write one)"))
    for name, text in tails.items():
        typer.echo(f"-- {name} (the last {len(text)} lines, {os.path.getsize(name)} bytes in all)")
        typer.echo("\n".join(text))
    if follow and not failed:
        _follow(place, found.id, number, {path: len(text) for path, text in texts.items()})
