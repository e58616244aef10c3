"""`isosweep logs`: why a run failed, and where its task's output is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import DEFAULT_STORE, JsonOption, Quiet, StoreOption, Verbose, exits, find_run, open_store, print_json
from .show import RunArgument

if TYPE_CHECKING:
    from isosweep.store.launches import Launch
    from isosweep.store.store import Store

NAME = "logs"


def _outputs(store: Store, launch: Launch, task: int) -> list[Path]:
    """The files that hold what a task printed."""
    from isosweep.launching.reap import position
    from isosweep.store.status import OpenTask

    folder = store.jobs / launch.token
    if launch.about["backend"] == "local":
        return sorted(folder.glob("pool.log"))
    name, index = position(OpenTask(launch, task, None))
    array = int(name.rpartition("-")[2])
    try:
        job = json.loads((folder / f"array-{array}.json").read_bytes())["job"]
    except (OSError, ValueError, KeyError):
        job = "*"
    element = f"{job}_{index}" if launch.about["arrays"][array] > 1 else job
    return sorted(folder.glob(f"{element}_0_log.*"))


@exits
def command(
    run: RunArgument,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only the failed attempts, without the task's output.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", min=1, metavar="N", help="Lines of the task's output.")] = 40,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tracebacks of a run's failed attempts, and the end of its task's output."""
    from isosweep.store.attempts import attempts_of, read_attempt
    from isosweep.store.launches import read_launch

    place = open_store(store)
    found, number = find_run(place, run)
    attempts = [read_attempt(attempt) for attempt in attempts_of(place, found.id)]
    outputs: dict[str, list[str]] = {}
    if not failed:
        launch = read_launch(place, number)
        task = next(i for i, runs in enumerate(launch.tasks) if found.id in runs)
        for path in _outputs(place, launch, task):
            outputs[str(path)] = path.read_text(errors="replace").splitlines()
    if json_:
        tails = {path: text[-lines:] for path, text in outputs.items()}
        print_json({"run_id": found.id, "attempts": attempts, "outputs": tails})
        return
    for place_in_row, content in enumerate(attempts, start=1):
        typer.echo(f"attempt {place_in_row}: {content.get('outcome')}: {content.get('cause')}")
        typer.echo(str(content.get("traceback") or "(no traceback: the process did not live to write one)"))
    for name, text in outputs.items():
        typer.echo(f"-- {name} (last {min(lines, len(text))} of {len(text)} lines)")
        typer.echo("\n".join(text[-lines:]))
