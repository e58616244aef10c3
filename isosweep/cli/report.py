"""`isosweep report`: tables into one page, and figures for a paper."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from .common import (
    DEFAULT_STORE,
    ExitCode,
    JsonOption,
    Quiet,
    SetOption,
    StoreOption,
    Verbose,
    exits,
    fail,
    message,
    open_store,
    print_json,
    read_sweep,
)
from .steps import steps
from .usage import UsageProblem

NAME = "report"
_FORMATS = ("pdf", "svg", "png")


@exits
def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC_OR_TABLES", help="A sweep file (collected first), or a folder of tables.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="The page (default: NAME.html).")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option("--tables", metavar="DIR", help="Keep the collected tables in this folder.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Write the figures as files, too.")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="pdf,svg,png", help="Formats of the figures.")
    ] = "pdf,svg",
    text: Annotated[bool, typer.Option("--text", help="Print summary tables here instead of a page.")] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make one self-contained page of a sweep's results beside what theory predicts."""
    formats = tuple(f.strip() for f in format_.split(",") if f.strip())
    if unknown := set(formats) - set(_FORMATS):
        raise UsageProblem(f"--format {', '.join(sorted(unknown))}: expected some of {', '.join(_FORMATS)}")
    with ExitStack() as stack:
        if source.is_dir():
            folder, name = source, source.name
        else:
            sweep = read_sweep(source, set_)
            folder = tables or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isosweep-tables-")))
            from .collect import gather

            gather(sweep, open_store(store), folder, quiet=quiet)
            name = sweep.name
        if not (folder / "runs.parquet").is_file():
            raise UsageProblem(
                f"{folder} holds no runs.parquet: give a sweep file, or a folder that `isosweep collect` wrote"
            )
        from isosweep.report import load_tables, page, text_summary, write_figures

        read = load_tables(folder)
        if text:
            print_json({"text": text_summary(read)}) if json_ else typer.echo(text_summary(read))
            return
        target = out or Path(f"{name}.html")
        if target.is_dir():
            raise UsageProblem(f"--out {target} is a folder: give a file")
        written: list[str] = []
        if figures is not None:
            with steps("figures", quiet=quiet) as told:
                written = [str(p) for p in write_figures(read, figures, formats, told)]
        with steps("page", quiet=quiet) as told:
            made = page(read, told)
        from isosweep.store.publish import replace

        try:
            replace(target.absolute(), made.encode())
        except OSError as error:
            fail(f"cannot write the page {target}: {error.strerror or error}", ExitCode.USAGE)
    message(f"page: {target.absolute()}", quiet=quiet)
    if json_:
        print_json(
            {
                "page": str(target.absolute()),
                "tables": str(folder) if tables or source.is_dir() else None,
                "figures": written,
            }
        )
