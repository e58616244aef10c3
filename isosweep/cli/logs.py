"""`isosweep logs`: why a run failed, and where its task's output is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import DEFAULT_STORE, Quiet, StoreOption, Verbose, exits, find_run, open_store
from .show import RunArgument

NAME = "logs"


@exits
def command(
    run: RunArgument,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only the failed attempts, without the task's output.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", min=1, metavar="N", help="Lines of the task's output.")] = 40,
    store: StoreOption = DEFAULT_STORE,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tracebacks of a run's failed attempts, and the end of its task's output."""
    from isosweep.store.attempts import attempts_of, read_attempt
    from isosweep.store.launches import list_launches

    place = open_store(store)
    found, number = find_run(place, run)
    for attempt in attempts_of(place, found.id):
        content = read_attempt(attempt)
        typer.echo(f"attempt {attempt.number}: {attempt.outcome}: {content.get('cause')}")
        typer.echo(str(content.get("traceback") or "(no traceback: the process did not live to write one)"))
    if failed:
        return
    launch = next(item for item in list_launches(place) if item.number == number)
    folder = place.jobs / launch.token
    task = next(i for i, runs in enumerate(launch.tasks) if found.id in runs)
    outputs: list[Path] = (
        sorted(folder.glob("pool.log")) or sorted(folder.glob(f"*_{task}_0_log.*")) or sorted(folder.glob("*_log.*"))
    )
    for path in outputs:
        text = path.read_text(errors="replace").splitlines()
        typer.echo(f"-- {path} (last {min(lines, len(text))} of {len(text)} lines)")
        typer.echo("\n".join(text[-lines:]))
