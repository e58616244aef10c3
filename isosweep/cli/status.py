"""`isosweep status`: where every run stands."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    DEFAULT_STORE,
    JsonOption,
    Quiet,
    SetOption,
    Spec,
    StoreOption,
    Verbose,
    Where,
    exit_code,
    exits,
    message,
    open_store,
    print_json,
    read_sweep,
    where_filter,
)

if TYPE_CHECKING:
    from isosweep.launching.observe import Observation
    from isosweep.store.status import RunState

NAME = "status"
_SAMPLES = 3


def causes(states: dict[str, RunState]) -> list[dict[str, Any]]:
    """Failures grouped by outcome and cause, the most frequent first, with some runs of each."""
    from isosweep.store.attempts import read_attempt

    groups: dict[tuple[str, str], list[str]] = {}
    for run, state in states.items():
        if state.attempts and state.status == state.attempts[-1].outcome:
            cause = str(read_attempt(state.attempts[-1]).get("cause", "")).split("\n")[0]
            groups.setdefault((state.status, cause), []).append(run)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"status": status, "cause": cause, "runs": len(runs), "samples": runs[:_SAMPLES]}
        for (status, cause), runs in ordered
    ]


def _show(name: str, seen: Observation) -> None:
    from rich.console import Console
    from rich.table import Table

    from isosweep.store.status import STATUSES

    console = Console(highlight=False)
    tally = Counter(state.status for state in seen.states.values())
    table = Table(title=f"{name}: {len(seen.states)} runs", title_justify="left", box=None, pad_edge=False)
    table.add_column("status")
    table.add_column("runs", justify="right")
    table.add_column("share", justify="right")
    for status in STATUSES:
        if tally[status]:
            table.add_row(status, str(tally[status]), f"{100 * tally[status] / len(seen.states):.0f} %")
    console.print(table)
    if seen.silent:
        console.print(
            f"Slurm could not be asked: {seen.silent}. What the store holds is shown; tasks count as alive.",
            markup=False,
        )
    for reason, runs in seen.waiting.items():
        console.print(f"waiting: {runs} runs, Slurm says {reason}", markup=False)
    for group in causes(seen.states):
        console.print(f"{group['status']}: {group['runs']} runs, {group['cause']}", markup=False)
        console.print(f"    isosweep logs {group['samples'][0][:10]}", markup=False)


@exits
def command(
    spec: Spec,
    where: Where = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every few seconds until nothing is pending or running.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Where every run stands: done, running, pending and why, failed and of what.

    The exit code is 4 while anything is unfinished, else 3 if any run failed, else 0.
    """
    from isosweep.launching.observe import observe

    sweep = read_sweep(spec, set_)
    condition = where_filter(where, sweep)
    place = open_store(store)
    ids = [run.id for run in sweep.runs() if condition is None or condition(run.columns)]
    while True:
        seen = observe(place, ids)
        tally = Counter(state.status for state in seen.states.values())
        if json_:
            print_json(
                {
                    "sweep": sweep.name,
                    "runs": len(ids),
                    "counts": dict(tally),
                    "waiting": seen.waiting,
                    "scheduler_silent": seen.silent,
                    "failures": causes(seen.states),
                    "states": {run: state.status for run, state in seen.states.items()},
                }
            )
        elif not quiet:
            _show(sweep.name, seen)
        if not watch or not (tally["pending"] or tally["running"]):
            break
        time.sleep(5)
        message(quiet=quiet)
    raise typer.Exit(exit_code(seen.states))
