"""`isosweep run`: one run alone, in the foreground."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .common import (
    DEFAULT_STORE,
    ExitCode,
    JsonOption,
    Quiet,
    StoreOption,
    Verbose,
    exits,
    find_run,
    message,
    open_store,
    print_json,
)
from .show import RunArgument

NAME = "run"


@exits
def command(
    run: RunArgument,
    device: Annotated[str, typer.Option("--device", metavar="cpu|cuda", help="Where to compute.")] = "cpu",
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compute one run here and print what it measures. Nothing is written; a recorded run's digest is compared (exit
    3 if it differs).
    """
    from isosweep.measurement.execute import execute
    from isosweep.store.records import list_records, read_record, record_path

    place = open_store(store)
    found, _ = find_run(place, run)
    message(f"computing {found.id} on {device}", quiet=quiet)
    measurement = execute(found, device)
    recorded = None
    outcome = list_records(place).get(found.id)
    if outcome is not None:
        recorded = str(read_record(record_path(place, found.id, outcome)).column("digest")[0].as_py())
    whole = next((b for b in measurement.fisher if b.block == "all"), None)
    result: dict[str, Any] = {
        "run_id": found.id,
        "digest": measurement.digest,
        "recorded_digest": recorded,
        "agrees": None if recorded is None else recorded == measurement.digest,
    }
    if whole is not None:
        result |= {"fisher_lambda_max": whole.lambda_max, "fisher_trace": whole.trace, "fisher_rank": whole.rank}
    result |= measurement.scalars
    if json_:
        print_json(result)
    else:
        for name, value in result.items():
            typer.echo(f"{name:26} {value}")
    if result["agrees"] is False:
        raise typer.Exit(ExitCode.FAILED)
