"""`isosweep run`: one run alone, in the foreground."""

from __future__ import annotations

import traceback
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
    fail,
    find_run,
    message,
    open_store,
    print_json,
)
from .show import RunArgument
from .usage import UsageProblem

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
    from isosweep.store.launches import read_launch
    from isosweep.store.records import OUTCOMES, BadRecord, read_record, record_path

    if device not in ("cpu", "cuda"):
        raise UsageProblem(f"--device {device}: expected cpu or cuda")
    place = open_store(store)
    found, number = find_run(place, run)
    recorded = None
    for path in (record_path(place, found.id, outcome) for outcome in OUTCOMES):
        if path.exists():
            try:
                recorded = str(read_record(path).column("digest")[0].as_py())
            except BadRecord as error:
                message(f"its record cannot be used: {error}")
    message(f"computing {found.id} on {device}", quiet=quiet)
    from isosweep.measurement.execute import execute

    try:
        measurement = execute(found, device, folder=read_launch(place, number).about["folder"])
    except Exception as error:  # the run's own failure, as its attempts tell it
        if verbose:
            traceback.print_exc()
        fail(f"the run fails: {type(error).__name__}: {error}", ExitCode.FAILED)
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
