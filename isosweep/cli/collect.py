"""`isosweep collect`: records into Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    read_sweep,
)
from .steps import steps

if TYPE_CHECKING:
    from isosweep.store.store import Store
    from isosweep.sweep.sweep import Sweep
    from isosweep.tables.collect import Collected

NAME = "collect"


def gather(sweep: Sweep, store: Store, out: Path, *, quiet: bool, collection: str | None = None) -> Collected:
    """Collect with messages: what was set aside, and whether environments mix. `collection` as for `collect`."""
    from isosweep.store.store import StoreError
    from isosweep.tables.collect import collect
    from isosweep.tables.findings import collect_findings

    if out.exists() and not out.is_dir():
        fail(f"--out {out} is a file: give a folder", ExitCode.USAGE)
    try:
        store.check_writable()
        ours = store.exists
    except StoreError:
        ours = False  # another's: read only
    try:
        with steps("records", quiet=quiet) as told:
            total = len(sweep.runs())
            progress = None if told is None else lambda done: told(done, total)
            result = collect(sweep, store, out, set_aside=ours, progress=progress, collection=collection)
        no_findings = collect_findings(sweep, store, out)
    except OSError as error:
        fail(f"cannot write the tables to {out}: {error.strerror or error}", ExitCode.USAGE)
    for path, reason in result.set_aside.items():
        message(
            f"set aside: {path}: {reason}; launch again to compute its run anew"
            if ours
            else f"not used: {path}: {reason}"
        )
    for path, reason in result.unread.items():
        message(f"not used: {path}: {reason}")
    for path, reason in no_findings.items():
        message(f"not used: {path}: {reason}")
    if len(result.environments) > 1:
        parts = ", ".join(f"{n} runs in {name}" for name, n in result.environments.most_common())
        message(
            f"environments mix: {parts}. Bits are only comparable within one class (column environment_class)",
            quiet=quiet,
        )
    return result


@exits
def command(
    spec: Spec,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the tables go.")] = Path("isosweep-out"),
    require_uniform: Annotated[
        bool,
        typer.Option("--require-uniform", help="Refuse (exit 3) if records come from more than one environment class."),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Gather a sweep's records into Parquet tables: runs, fisher, jacobian, layers, training.

    `runs` has a row for every planned run, also for those without a result. May be called while jobs run, as often as
    one likes.
    """
    sweep = read_sweep(spec, set_)
    result = gather(sweep, open_store(store), out, quiet=quiet)
    message(f"{sum(result.statuses.values())} runs ({counts(result.statuses)}): tables in {out}", quiet=quiet)
    if json_:
        print_json(
            {
                "sweep": sweep.name,
                "out": str(out),
                "counts": dict(result.statuses),
                "set_aside": result.set_aside,
                "unread": result.unread,
                "environments": dict(result.environments),
            }
        )
    if require_uniform and len(result.environments) > 1:
        raise typer.Exit(ExitCode.FAILED)
