"""`isosweep run`: one run alone, in the foreground."""

from __future__ import annotations

import os
import sys
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
    from isosweep.cluster.pool import check_pool_device
    from isosweep.cluster.snapshot import modules_folder
    from isosweep.reproducibility.difference import differences
    from isosweep.reproducibility.result import find_result
    from isosweep.store.launches import read_launch
    from isosweep.store.records import BadRecord
    from isosweep.sweep.settings import ModuleSettings

    if device not in ("cpu", "cuda"):
        raise UsageProblem(f"--device {device}: expected cpu or cuda")
    place = open_store(store)
    found, number = find_run(place, run)
    check_pool_device(device)
    if isinstance(found.network, ModuleSettings) and os.environ.get("PYTHONHASHSEED") != "0":
        # a user's network may draw in the order of a set; a launch's processes have one order, set as Python starts
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    recorded = None
    try:
        recorded = find_result(place, found.id)
    except BadRecord as error:
        message(f"its record cannot be used: {error}")
    message(f"computing {found.id} on {device}", quiet=quiet)
    from isosweep.measurement.execute import execute

    try:
        measurement = execute(found, device, folder=modules_folder(place, read_launch(place, number).about))
    except Exception as error:  # the run's own failure, as its attempts tell it
        if verbose:
            traceback.print_exc()
        fail(f"the run fails: {type(error).__name__}: {error}", ExitCode.FAILED)
    whole = next((b for b in measurement.fisher if b.block == "all"), None)
    result: dict[str, Any] = {
        "run_id": found.id,
        "digest": measurement.digest,
        "recorded_digest": recorded and recorded.digest,
        "agrees": None if recorded is None else recorded.digest == measurement.digest,
    }
    if recorded is not None and not result["agrees"]:
        result["first_difference"] = differences(recorded.measurement, measurement)[0].where
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
