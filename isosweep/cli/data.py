"""`isosweep data`: which data sets there are; fetch one; check what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import ExitCode, JsonOption, Quiet, Verbose, exits, fail, message, print_json
from .usage import UsageProblem

if TYPE_CHECKING:
    from isosweep.data.check import CheckedPart

NAME = "data"

app = typer.Typer(help="Data sets: list them, fetch one, check what is there.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set: see isosweep data list.", show_default=False)]
Root = Annotated[
    str | None,
    typer.Option("--root", envvar="ISOSWEEP_DATA", metavar="DIR", help="The folder that data sets lie in."),
]


def _known(name: str) -> str:
    from isosweep.data.catalogue import CATALOGUE
    from isosweep.sweep.errors import nearest

    if name not in CATALOGUE:
        near = nearest(name, CATALOGUE)
        raise UsageProblem(
            f"no data set is named {name!r}" + (f"; did you mean {near!r}?" if near else f"; {', '.join(CATALOGUE)}")
        )
    return name


def _with_root(name: str, root: str | None) -> str | None:
    from isosweep.data.catalogue import CATALOGUE

    if root is None and CATALOGUE[name].forms:
        raise UsageProblem("in which folder? Give --root DIR, or set ISOSWEEP_DATA")
    return root


def _as_data(part: CheckedPart) -> dict[str, Any]:
    return {
        "part": part.part,
        "files": [str(path) for path in part.files],
        "samples": part.samples,
        "per_class": list(part.per_class),
        "checksum": part.checksum,
        "published": part.published,
        "problems": list(part.problems),
    }


def _describe(part: CheckedPart) -> str:
    if not part.files:
        return f"{part.part}: {'; '.join(part.problems)}"
    where = str(part.files[0].parent)
    checksum = {
        True: "the published files",
        False: "other than the published files",
        None: "no checksum is published for files of this form",
    }[part.published]
    lines = [
        f"{part.part}: {part.samples} samples in {where} ({', '.join(path.name for path in part.files)}): {checksum}",
        f"  content  {part.checksum}",
        f"  labels   {', '.join(f'{label}: {count}' for label, count in enumerate(part.per_class))}",
        *(f"  problem  {problem}" for problem in part.problems),
    ]
    return "\n".join(lines)


def _report(name: str, parts: list[CheckedPart], as_json: bool) -> None:
    if as_json:
        print_json({"data": name, "parts": [_as_data(part) for part in parts]})
    elif not parts:
        typer.echo(f"{name} needs no files")
    else:
        typer.echo("\n".join(_describe(part) for part in parts))
    wrong = sum(len(part.problems) for part in parts)
    if wrong:
        fail(f"{name} is not as it should be: {wrong} problem{'s' * (wrong > 1)}", ExitCode.FAILED)


@app.command("list")
@exits
def list_(root: Root = None, json_: JsonOption = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Every data set: its sizes, and where its files lie."""
    from pathlib import Path

    from isosweep.data.catalogue import CATALOGUE
    from isosweep.data.errors import MissingData
    from isosweep.data.files import find

    rows: list[dict[str, Any]] = []
    for name, entry in CATALOGUE.items():
        found: dict[str, Any] = {}
        for part in entry.samples if entry.forms and root is not None else ():
            try:
                found[part] = [str(path) for path in find(name, part, Path(root or "")).files]
            except MissingData:
                found[part] = None
        rows.append(
            {
                "name": name,
                "inputs": entry.inputs,
                "shape": entry.shape,
                "classes": entry.classes,
                "samples": dict(entry.samples),
                "needs_files": bool(entry.forms),
                "files": found,
            }
        )
    if json_:
        print_json({"root": root, "data": rows})
        return
    typer.echo(f"{'name':15} {'inputs':>7} {'classes':>8} {'train':>7} {'test':>7}  files")
    for row in rows:
        sizes = [row["inputs"], row["classes"], row["samples"].get("train"), row["samples"].get("test")]
        shown = [f"{size}" if size is not None else "—" for size in sizes]
        typer.echo(f"{row['name']:15} {shown[0]:>7} {shown[1]:>8} {shown[2]:>7} {shown[3]:>7}  {_where(row, root)}")


def _where(row: dict[str, Any], root: str | None) -> str:
    from pathlib import Path

    if not row["needs_files"]:
        return "needs none"
    if root is None:
        return "give --root, or set ISOSWEEP_DATA"
    if not any(row["files"].values()):
        return f"not in {root}: isosweep data fetch {row['name']}"
    missing = [part for part, files in row["files"].items() if not files]
    place = next(str(Path(files[0]).parent) for files in row["files"].values() if files)
    return place + (f", without the {' and '.join(missing)} set" if missing else "")


@app.command("check")
@exits
def check_(
    name: Name, root: Root = None, json_: JsonOption = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Read a data set whole: that it is there, not torn, the published one, with its counts and labels.

    Exit code 3 where anything is not as it should be.
    """
    from isosweep.data.check import check

    _report(name, check(_known(name), _with_root(name, root)), json_)


@app.command("fetch")
@exits
def fetch_(
    name: Name,
    root: Root = None,
    address: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="A mirror's folder, instead of the published one; same checksums."),
    ] = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Fetch a data set into --root: on the login node; compute nodes never download.

    Files that are there are left alone. Every file is checked before it takes its name.
    """
    import sys

    from isosweep.data.fetch import FetchError, fetch

    try:
        parts = fetch(
            _known(name),
            _with_root(name, root),
            address,
            progress=not quiet and sys.stderr.isatty(),
            say=lambda text: message(text, quiet=quiet),
        )
    except FetchError as error:
        fail(str(error), ExitCode.FAILED)
    _report(name, parts, json_)
