"""`isosweep tune`: search the ranges of a sweep file's `tune` section."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    DEFAULT_STORE,
    ExitCode,
    JsonOption,
    Quiet,
    SetOption,
    Spec,
    StoreOption,
    Verbose,
    counts,
    exits,
    fail,
    message,
    open_store,
    print_json,
    several,
)
from .usage import UsageProblem

if TYPE_CHECKING:
    from isosweep.launching.launch import Launcher
    from isosweep.store.status import RunState
    from isosweep.sweep.sweep import Sweep
    from isosweep.tuning.search import Search
    from isosweep.tuning.study import Trial

NAME = "tune"


def _target(spec: Path, out: Path | None, force: bool) -> Path:
    target = out or Path(f"{spec.stem}-tuned{spec.suffix}")
    if target.exists() and not force:
        raise UsageProblem(f"{target} is there already: name another with --out, or replace it with --force")
    if not target.absolute().parent.is_dir():
        raise UsageProblem(f"{target} cannot be written: there is no folder {target.absolute().parent}")
    return target


def _shown(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _joined(sweeps: list[Sweep]) -> Sweep:
    """The trials of a batch as one sweep, to be launched together; a run of two trials is one run."""
    from dataclasses import replace

    runs = {run.id: run for sweep in sweeps for run in sweep.runs()}
    overrides = tuple(dict.fromkeys(text for sweep in sweeps for text in sweep.overrides))
    return replace(sweeps[0], overrides=overrides, _runs=tuple(runs.values()))


def _settle(launcher: Launcher, quiet: bool) -> dict[str, RunState]:
    """Have every run of the batch done; those that have a record already are left alone."""
    from collections import Counter

    from .launch import carry_out
    from .watch import wait_for

    states = launcher.propose().states
    if any(state.status not in ("done", "diverged") for state in states.values()):
        found = carry_out(launcher, wait=True, json_=False, quiet=quiet)
        assert found is not None, "who waits is told the states"
        states = found
        if any(state.status in ("pending", "running") for state in states.values()):
            # in the hands of another launch: of another search, say, that asks the same
            states = wait_for(launcher.store, launcher.sweep, quiet=quiet)
    left = {run: state for run, state in states.items() if state.status not in ("done", "diverged")}
    if left:
        first, how = next(iter(left)), counts(Counter(state.status for state in left.values()))
        fail(
            f"{several(len(left), 'run')} of this batch of trials did not end ({how}): see isosweep logs {first[:8]}. "
            "Mend the cause and tune again: what is done stays done",
            ExitCode.FAILED,
        )
    return states


def _describe(search: Search, runs: int) -> str:
    lines = [
        f"{search.spec}: {several(search.trials, 'trial')} of {several(runs, 'run')} each, {search.batch} at a time",
        f"  {search.direction:14} {search.objective} at epoch {search.epoch:g}, mean over a trial's runs",
        *(f"  {name:14} {bounds.low:g} to {bounds.high:g}, log-uniform" for name, bounds in search.ranges.items()),
    ]
    if search.start is not None:
        lines.append(f"  first          the file's own values: {_shown(search.start)}")
    return "\n".join(lines)


def _as_data(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.number, "values": trial.values, "value": trial.value}


@exits
def command(
    spec: Spec,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be searched.")] = False,
    grid: Annotated[
        int | None, typer.Option("--grid", min=0, metavar="N", help="Search this one of the file's grids, from 0.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, metavar="N", help="How many, instead of the file's number.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Where the sweep file with the found values goes (SPEC-tuned.yaml)."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file if it is there.")] = False,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME_OR_FILE", help="As for isosweep launch.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Run here, in the foreground.")] = False,
    sbatch: Annotated[
        list[str] | None, typer.Option("--sbatch", metavar="KEY=VALUE", help="Over the profile's.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Workers of the pool here.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="cpu|cuda|auto", help="Over the profile's.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however large it is.")] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search the ranges of a sweep file's `tune` section, and write the file with the values found.

    Trials are ordinary runs in the store, launched in batches. Stopped at any moment and begun again, the search goes
    on where it was.
    """
    from isosweep.launching.launch import Launcher
    from isosweep.store.records import BadRecord
    from isosweep.tuning.found import with_found_values
    from isosweep.tuning.objective import NoValue, trial_value
    from isosweep.tuning.search import read_search
    from isosweep.tuning.study import best_of, run_search

    from .launch import agree, choose_backend

    search = read_search(spec, set_ or (), grid=grid, trials=trials)
    target = _target(spec, out, force)
    example = search.sweep(search.start or {name: bounds.low for name, bounds in search.ranges.items()})
    if dry_run:
        if json_:
            print_json(
                {
                    "trials": search.trials,
                    "batch": search.batch,
                    "runs_per_trial": len(example.runs()),
                    "objective": search.objective,
                    "epoch": search.epoch,
                    "direction": search.direction,
                    "ranges": {name: [bounds.low, bounds.high] for name, bounds in search.ranges.items()},
                    "start": search.start,
                    "out": str(target),
                }
            )
        else:
            typer.echo(_describe(search, len(example.runs())))
        return
    place = open_store(store, write=True)
    backend = choose_backend(local, quiet)
    if device not in (None, "cpu", "cuda", "auto"):
        raise UsageProblem(f"--device {device}: expected cpu, cuda or auto")
    from isosweep.cluster.profile import load_profile

    settings = load_profile(profile, sbatch or (), device)

    def launcher_of(sweep: Sweep) -> Launcher:
        command_ = shlex.join(["isosweep", *sys.argv[1:]])
        return Launcher(place, sweep, backend, settings, workers=workers, command=command_)

    first = launcher_of(example)
    agree(first.propose(), first, yes, times=search.trials)
    place.create()
    message(_describe(search, len(example.runs())), quiet=quiet)

    def evaluate(batch: list[dict[str, float]]) -> list[float]:
        sweeps = [search.sweep(values) for values in batch]
        launcher = launcher_of(_joined(sweeps))
        states = _settle(launcher, quiet or not verbose)
        return [
            trial_value(place, states, [run.id for run in one.runs()], search.objective, search.epoch, search.direction)
            for one in sweeps
        ]

    def told(trial: Trial) -> None:
        message(f"  trial {trial.number:3}  {trial.value:<10.6g} {_shown(trial.values)}", quiet=quiet)

    try:
        done = run_search(search, evaluate, told)
    except (NoValue, BadRecord) as error:
        fail(str(error), ExitCode.FAILED)
    best = best_of(done, search.direction)
    if best.value in (float("inf"), float("-inf")):
        fail("every trial diverged before the epoch that counts: give lower ranges", ExitCode.FAILED)
    target.write_text(with_found_values(search, best), encoding="utf-8")
    message(f"best is trial {best.number}: {search.objective} {best.value:.6g}; {target} has its values", quiet=quiet)
    if json_:
        print_json({"best": _as_data(best), "trials": [_as_data(trial) for trial in done], "out": str(target)})
    elif not quiet:
        typer.echo(_shown(best.values))
