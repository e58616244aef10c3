"""The application and its commands, in the order in which they are met."""

from __future__ import annotations

from typing import Annotated

import typer

from . import (
    archive,
    cancel,
    collect,
    data,
    doctor,
    export,
    gc,
    init,
    launch,
    logs,
    predict,
    report,
    run,
    show,
    status,
    tune,
    verify,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="isosweep",
    help="Reproducible curvature sweeps of deep networks, on Slurm and here.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    launch, status, collect, report, verify, predict, show,
    run, logs, cancel, doctor, init, gc, archive, export, tune,
)  # fmt: skip
for module in _COMMANDS:
    app.command(module.NAME)(module.command)
app.add_typer(data.app, name=data.NAME)


def _version(value: bool) -> None:
    if value:
        from isosweep import __version__

        typer.echo(f"isosweep {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the command `isosweep`."""
    app()
