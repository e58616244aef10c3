"""`isosweep gc`: tidy the store."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from .common import (
    DEFAULT_STORE,
    JsonOption,
    Quiet,
    StoreOption,
    Verbose,
    exits,
    message,
    open_store,
    print_json,
    several,
    size,
)
from .usage import UsageProblem

NAME = "gc"


@exits
def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go, and remove nothing.")] = False,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="KIND,…", help="Of temporaries, checkpoints, claims, logs, superseded."),
    ] = None,
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, metavar="DAYS", help="Logs last written before so many days.")
    ] = 30.0,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove what nobody needs any more: left-over temporaries, checkpoints of recorded runs, logs and claims of closed
    launches, records that a newer measurement version has superseded.

    No record that is the only one of its settings is touched, no attempt, no launch, no code.
    """
    from isosweep.store.tidy import KINDS, garbage, remove

    wanted = [word.strip() for word in only.split(",")] if only is not None else list(KINDS)
    if unknown := [word for word in wanted if word not in KINDS]:
        raise UsageProblem(f"--only {unknown[0]}: expected some of {', '.join(KINDS)}")
    place = open_store(store, write=not dry_run)
    number: Counter[str] = Counter()
    freed: Counter[str] = Counter()
    paths = []
    for one in list(garbage(place, older_than)):
        if one.kind in wanted and (dry_run or remove(place, one)):
            number[one.kind] += 1
            freed[one.kind] += one.bytes
            paths.append(str(one.path))
            if verbose:
                message(f"  {one.path}")
    if json_:
        kinds = {kind: {"entries": number[kind], "bytes": freed[kind]} for kind in wanted}
        print_json({"dry_run": dry_run, "kinds": kinds, "paths": paths})
        return
    for kind in wanted:
        typer.echo(f"{kind:12} {several(number[kind], 'entry').replace('entrys', 'entries'):>14}  {size(freed[kind])}")
    message(f"{size(freed.total())} {'would go' if dry_run else 'gone'}", quiet=quiet)
