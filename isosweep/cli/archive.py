"""`isosweep archive`: a sweep in one file, for a data repository."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

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
    exits,
    fail,
    message,
    open_store,
    print_json,
    read_sweep,
    size,
)
from .usage import UsageProblem

NAME = "archive"


@exits
def command(
    spec: Spec,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The archive, a zip file.", show_default=False)],
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Pack a sweep into one file that tells it whole: the sweep file, tables, records, code, packages, fingerprints,
    checksums, and how to verify it.

    `isosweep verify FILE` computes a sample of it again, `isosweep report FILE` draws it, without the store. The same
    store gives the same bytes.
    """
    from isosweep.reproducibility.archive import ArchiveError, write_archive

    from .collect import gather

    if out.is_dir():
        raise UsageProblem(f"--out {out} is a folder: give a file")
    sweep = read_sweep(spec, set_)
    place = open_store(store)
    with tempfile.TemporaryDirectory(prefix="isosweep-tables-") as tables:
        # the same tables bear the same id, so that the same store gives the same bytes
        gather(sweep, place, Path(tables), quiet=quiet, collection=sweep.hash)
        try:
            manifest = write_archive(sweep, place, Path(tables), out.absolute())
        except ArchiveError as error:
            fail(str(error), ExitCode.FAILED)
        except OSError as error:
            fail(f"cannot write the archive {out}: {error.strerror or error}", ExitCode.USAGE)
    recorded, planned = manifest["recorded_runs"], manifest["planned_runs"]
    message(f"archive: {out.absolute()} ({size(out.stat().st_size)}, {recorded} of {planned} runs)", quiet=quiet)
    for name in [*manifest["not_kept"], *manifest["checkpoints_missing"]]:
        message(f"not in it, because it was not kept: {name}")
    if recorded < planned:
        message("the sweep is incomplete: runs without a record are rows of runs.parquet alone", quiet=quiet)
    if json_:
        print_json({"archive": str(out.absolute()), **{k: v for k, v in manifest.items() if k != "schema_version"}})
