"""`isosweep export`: a run's network and data for other tools."""

from __future__ import annotations

from pathlib import Path
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

NAME = "export"


@exits
def command(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where the files go (default: the run's id).")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's network at initialisation, its inputs and labels, and its settings: weights.safetensors,
    data.safetensors, settings.json.

    The weights and inputs are drawn again from the run's seed: the same bits that it measures.
    """
    import traceback

    from isosweep.cluster.snapshot import modules_folder
    from isosweep.reproducibility.export import export_run
    from isosweep.reproducibility.result import find_result
    from isosweep.store.launches import read_launch
    from isosweep.store.records import BadRecord

    place = open_store(store)
    found, number = find_run(place, run)
    folder = out or Path(found.id)
    if folder.exists() and not folder.is_dir():
        raise UsageProblem(f"--out {folder} is a file: give a folder")
    recorded: dict[str, Any] = {}
    try:
        result = find_result(place, found.id)
        if result is not None:
            known = ("environment_class", "code_id", "device", "git_commit")
            recorded = {"digest": result.digest, **{k: result.provenance.get(k) for k in known}}
    except BadRecord as error:
        message(f"its record cannot be used: {error}")
    try:
        about = export_run(
            found, folder, modules=modules_folder(place, read_launch(place, number).about), recorded=recorded
        )
    except OSError as error:
        fail(f"cannot write {folder}: {error.strerror or error}", ExitCode.USAGE)
    except Exception as error:  # the run's own failure, as its attempts tell it
        if verbose:
            traceback.print_exc()
        fail(f"the run cannot be made: {type(error).__name__}: {error}", ExitCode.FAILED)
    message(f"{found.id}: {about['parameters']} parameters in {folder.absolute()}", quiet=quiet)
    if json_:
        print_json({"folder": str(folder.absolute()), **{k: v for k, v in about.items() if k != "schema_version"}})
