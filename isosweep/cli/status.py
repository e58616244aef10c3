"""`isosweep status`: where every run stands."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    duration,
    exit_code,
    exits,
    message,
    open_store,
    print_json,
    read_sweep,
    several,
    where_filter,
)

if TYPE_CHECKING:
    from rich.console import Group

    from isosweep.launching.observe import Observation
    from isosweep.store.status import RunState
    from isosweep.store.store import Store
    from isosweep.sweep.settings import Run

NAME = "status"
_SAMPLES = 3
_LOOK_EVERY = 5.0


def causes(states: Mapping[str, RunState]) -> list[dict[str, Any]]:
    """Failures grouped by outcome and cause (the exception and its line, or what Slurm says), the most frequent first,
    with some runs of each.
    """
    from isosweep.store.attempts import read_attempt

    groups: dict[tuple[str, str], list[str]] = {}
    for run, state in states.items():
        if state.status in ("done", "diverged", "missing") or state.task is not None:
            continue
        if state.attempts and state.status == state.attempts[-1].outcome and state.why is None:
            cause = str(read_attempt(state.attempts[-1]).get("cause", "")).split("\n")[0]
        else:
            cause = state.why or "its task was given up"
        groups.setdefault((state.status, cause), []).append(run)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"status": status, "cause": cause, "runs": len(runs), "samples": runs[:_SAMPLES]}
        for (status, cause), runs in ordered
    ]


def _estimate(place: Store, runs: Sequence[Run], seen: Observation) -> float | None:
    from isosweep.launching.estimate import seconds_left

    return seconds_left(runs, seen.states, place.now())


def _page(name: str, seen: Observation, left: float | None) -> Group:
    """The page that `status` shows."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from isosweep.store.status import STATUSES

    tally = Counter(state.status for state in seen.states.values())
    table = Table(title=f"{name}: {len(seen.states)} runs", title_justify="left", box=None, pad_edge=False)
    table.add_column("status")
    table.add_column("runs", justify="right")
    table.add_column("share", justify="right")
    for status in STATUSES:
        if tally[status]:
            table.add_row(status, str(tally[status]), f"{100 * tally[status] / len(seen.states):.0f} %")
    lines = []
    if seen.silent:
        lines.append(f"Slurm could not be asked: {seen.silent}. What the store holds is shown; tasks count as alive.")
    if seen.accounts_silent:
        lines.append(f"Slurm's accounts could not be asked: {seen.accounts_silent}. What they know may be missing.")
    for reason, runs in sorted(seen.waiting.items(), key=lambda item: -item[1]):
        lines.append(f"waiting: {several(runs, 'run')}, Slurm says {reason}")
    if seen.starts is not None and seen.starts > time.time():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(seen.starts))
        lines.append(f"waiting: Slurm expects the next task to start at {when}")
    if left is not None:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + left))
        lines.append(f"may end in about {duration(left)} ({when}), if as many tasks stay at work")
    for group in causes(seen.states):
        lines.append(f"{group['status']}: {several(group['runs'], 'run')}, {group['cause']}")
        lines.append(f"    isosweep logs {group['samples'][0][:10]}")
    return Group(table, *(Text(line) for line in lines))


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
    """Where every run stands: done, running, pending and why, failed and of what; when it may end.

    The exit code is 4 while anything is unfinished, else 3 if any run failed, else 0.
    """
    from isosweep.launching.observe import observe

    sweep = read_sweep(spec, set_)
    condition = where_filter(where, sweep)
    place = open_store(store)
    runs = [run for run in sweep.runs() if condition is None or condition(run.columns)]
    ids = [run.id for run in runs]

    def look(show: Callable[[Group], None] | None) -> Observation:
        seen = observe(place, ids)
        left = _estimate(place, runs, seen)
        if json_:
            print_json(_as_data(sweep.name, seen, left))
        elif show is not None:
            show(_page(sweep.name, seen, left))
        return seen

    if watch and not json_ and not quiet and sys.stdout.isatty():
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            while _unfinished(seen := look(lambda page: live.update(page, refresh=True))):
                time.sleep(_LOOK_EVERY)
    else:
        from rich.console import Console

        show = None if quiet else Console(highlight=False, soft_wrap=True).print
        while _unfinished(seen := look(show)) and watch:
            time.sleep(_LOOK_EVERY)
            message(quiet=quiet)
    raise typer.Exit(exit_code(seen.states))


def _unfinished(seen: Observation) -> bool:
    return any(state.task is not None for state in seen.states.values())


def _as_data(name: str, seen: Observation, left: float | None) -> dict[str, Any]:
    return {
        "sweep": name,
        "runs": len(seen.states),
        "counts": dict(Counter(state.status for state in seen.states.values())),
        "waiting": seen.waiting,
        "next_start": seen.starts,
        "seconds_left": left,
        "scheduler_silent": seen.silent,
        "accounts_silent": seen.accounts_silent,
        "failures": causes(seen.states),
        "states": {run: state.status for run, state in seen.states.items()},
    }
