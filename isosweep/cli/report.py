"""`isosweep report`: tables into one page and figures for a paper; two sweeps side by side."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

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
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE [SOURCE]",
            help="A sweep file (collected first), a folder of tables or an archive; two are set side by side.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="The page (default: NAME.html, or A-B.html).")
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
    """Make one self-contained page of a sweep beside what theory predicts, or of what differs between two sweeps."""
    formats = tuple(f.strip() for f in format_.split(",") if f.strip())
    if unknown := set(formats) - set(_FORMATS):
        raise UsageProblem(f"--format {', '.join(sorted(unknown))}: expected some of {', '.join(_FORMATS)}")
    if len(sources) > 2:
        raise UsageProblem(f"{len(sources)} sweeps: give one, or two to be compared")
    if len(sources) == 2 and tables is not None:
        raise UsageProblem("--tables keeps the tables of one sweep: collect each with `isosweep collect` instead")
    if figures is not None and figures.exists() and not figures.is_dir():
        raise UsageProblem(f"--figures {figures} is a file: give a folder")
    if out is not None and out.is_dir():
        raise UsageProblem(f"--out {out} is a folder: give a file")
    with ExitStack() as stack:
        stack.enter_context(_unreadable_tables())
        opened = [(*_tables_of(source, store, set_, tables, stack, quiet=quiet), source) for source in sources]
        made = _of_one(*opened[0][:2]) if len(opened) == 1 else _of_two(opened)
        if text:
            print_json({"text": made.text()}) if json_ else typer.echo(made.text())
            return
        target = out or Path(f"{made.name}.html")
        if target.is_dir():
            raise UsageProblem(f"--out {target} is a folder: give a file")
        written: list[str] = []
        if figures is not None:
            with steps("figures", quiet=quiet) as told:
                written = [str(p) for p in made.figures(figures, formats, told)]
        with steps("page", quiet=quiet) as told:
            content = made.page(told).encode()
        from isosweep.store.publish import replace

        try:
            replace(target.absolute(), content)
        except OSError as error:
            fail(f"cannot write the page {target}: {error.strerror or error}", ExitCode.USAGE)
    message(f"page: {target.absolute()}", quiet=quiet)
    if json_:
        kept = tables if tables is not None else next((s for s in sources if s.is_dir() and len(sources) == 1), None)
        print_json(
            {
                "page": str(target.absolute()),
                "tables": None if kept is None else str(kept),
                "figures": written,
            }
        )


@contextmanager
def _unreadable_tables() -> Iterator[None]:
    """Tables that cannot be read are the user's to mend."""
    from isosweep.report import TablesError

    try:
        yield
    except TablesError as error:
        raise UsageProblem(str(error)) from None


@dataclass(frozen=True)
class _Made:
    """What a report can be turned into; each only when it is asked for."""

    name: str
    text: Callable[[], str]
    page: Callable[[Any], str]
    figures: Callable[[Path, tuple[str, ...], Any], list[Path]]


def _tables_of(
    source: Path, store: Path, set_: list[str] | None, keep: Path | None, stack: ExitStack, *, quiet: bool
) -> tuple[Path, str]:
    """The folder of a source's tables, and the source's name; a sweep file is collected first, an archive opened."""
    if source.is_dir():
        folder, name = source, source.name
    elif zipfile.is_zipfile(source):
        from isosweep.reproducibility.archive import ArchiveError, open_archive

        try:
            archive = stack.enter_context(open_archive(source, only="tables/"))
        except ArchiveError as error:
            raise UsageProblem(str(error)) from None
        folder, name = archive.tables, str(archive.manifest["sweep"])
    else:
        sweep = read_sweep(source, set_)
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isosweep-tables-")))
        from .collect import gather

        gather(sweep, open_store(store), folder, quiet=quiet)
        name = sweep.name
    if not (folder / "runs.parquet").is_file():
        raise UsageProblem(
            f"{folder} holds no runs.parquet: give a sweep file, an archive, or a folder that `isosweep collect` wrote"
        )
    return folder, name


def _of_one(folder: Path, name: str) -> _Made:
    from isosweep.report import load_tables, page, text_summary, write_figures

    read = load_tables(folder)
    return _Made(
        name,
        lambda: text_summary(read),
        lambda told: page(read, told),
        lambda out, formats, told: write_figures(read, out, formats, told),
    )


def _of_two(opened: list[tuple[Path, str, Path]]) -> _Made:
    from isosweep.report import (
        compare,
        comparison_figures,
        comparison_page,
        comparison_text,
        load_tables,
        write_described,
    )

    (folder_a, a, source_a), (folder_b, b, source_b) = opened
    read_a, read_b = load_tables(folder_a), load_tables(folder_b)
    names = (read_a.name, read_b.name)
    if read_a.name == read_b.name:
        names = (f"{read_a.name} ({source_a})", f"{read_b.name} ({source_b})")
    compared = compare(read_a, read_b, names)
    return _Made(
        f"{a}-{b}",
        lambda: comparison_text(compared),
        lambda told: comparison_page(compared, told),
        lambda out, formats, told: write_described(comparison_figures(compared), out, formats, told),
    )
