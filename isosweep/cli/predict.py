"""`isosweep predict`: theory alone, no network built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import JsonOption, Quiet, SetOption, Verbose, exits, print_json, read_sweep
from .usage import UsageProblem

NAME = "predict"


def _number(text: str, option: str) -> float:
    from isosweep.sweep.numbers import exact, number

    try:
        return float(number(exact(text if "/" in text else float(text))))
    except ValueError:
        raise UsageProblem(f"{option} {text}: expected a number or a fraction such as 1/64") from None


def _show(prediction: dict[str, Any]) -> None:
    for name, value in prediction.items():
        if name != "notes":
            typer.echo(f"{name:29} {'—' if value is None else f'{value:.10g}' if isinstance(value, float) else value}")
    for note in prediction["notes"]:
        typer.echo(f"note: {note}")


def _sweep_table(spec: Path, set_: list[str] | None, json_: bool) -> None:
    from isosweep.tables.theory import theory_row

    sweep = read_sweep(spec, set_)
    rows = [
        {"run_id": run.id, **{k: v for k, v in run.columns.items() if v is not None}, **theory_row(run, {})}
        for run in sweep.runs()
    ]
    if json_:
        print_json({"sweep": sweep.name, "predictions": rows})
        return
    from rich.console import Console
    from rich.table import Table

    # one line for the seeds of a point: the prediction is the same
    axes = [axis for axis in sweep.axes if axis != "seed"]
    shown = (
        "theory_phase",
        "theory_chi",
        "theory_q_star",
        "theory_jacobian_s_max",
        "theory_fisher_lambda_max",
        "theory_fisher_trace",
    )
    table = Table(
        title=f"{sweep.name}: predictions for its inputs' scale, uncorrelated inputs",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in (*axes, *(name.removeprefix("theory_") for name in shown)):
        table.add_column(name, justify="right")
    points: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        points.setdefault(tuple(str(row.get(axis)) for axis in axes), row)
    for row in points.values():
        cells = [row.get(name) for name in (*axes, *shown)]
        table.add_row(*("—" if c is None else f"{c:.5g}" if isinstance(c, float) else str(c) for c in cells))
    # piped into a file or a pager, no column is cut
    Console(highlight=False, width=None if sys.stdout.isatty() else 250).print(table)


@exits
def command(
    spec: Annotated[
        Path | None,
        typer.Argument(metavar="[SPEC]", help="A sweep file: a table for all its runs.", show_default=False),
    ] = None,
    activation: Annotated[str | None, typer.Option("--activation", metavar="NAME", help="Activation φ.")] = None,
    negative_slope: Annotated[str | None, typer.Option("--negative-slope", metavar="X", help="Of leaky_relu.")] = None,
    gain: Annotated[str | None, typer.Option("--gain", metavar="X", help="σ_w.")] = None,
    bias_std: Annotated[str | None, typer.Option("--bias-std", metavar="X", help="σ_b, with --gain.")] = None,
    q_star: Annotated[
        str | None,
        typer.Option("--q-star", metavar="X", help="Instead of a gain: on the critical line, with this fixed point."),
    ] = None,
    depth: Annotated[int | None, typer.Option("--depth", metavar="L", help="Hidden layers.")] = None,
    width: Annotated[int | None, typer.Option("--width", metavar="N", help="Units of a hidden layer.")] = None,
    init: Annotated[str, typer.Option("--init", metavar="orthogonal|gaussian", help="Initialisation.")] = "orthogonal",
    samples: Annotated[int, typer.Option("--samples", metavar="n", help="Inputs of the Fisher matrix.")] = 100,
    outputs: Annotated[int, typer.Option("--outputs", metavar="C", help="Outputs.")] = 10,
    inputs: Annotated[
        int | None, typer.Option("--inputs", metavar="N0", help="Input dimension (default: the width).")
    ] = None,
    input_correlation: Annotated[
        str, typer.Option("--input-correlation", metavar="c", help="Correlation of two inputs.")
    ] = "0",
    input_square: Annotated[
        str,
        typer.Option(
            "--input-square",
            metavar="X|fixed_point",
            help="|x|²/N0 of the inputs; fixed_point: layer 1 starts at q*, as with scale: fixed_point.",
        ),
    ] = "1",
    likelihood: Annotated[
        str, typer.Option("--likelihood", metavar="gaussian|categorical", help="Of the Fisher matrix.")
    ] = "gaussian",
    set_: SetOption = None,
    json_: JsonOption = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """What theory predicts: phase, depth scales, spectra of the Jacobian and of the Fisher matrix. No network is
    built, torch is not loaded.
    """
    if spec is not None:
        if any(option is not None for option in (activation, gain, q_star, bias_std, depth, width)):
            raise UsageProblem("give a sweep file, or a network by --activation and --gain or --q-star, not both")
        _sweep_table(spec, set_, json_)
        return
    if activation is None or depth is None or width is None or (gain is None) == (q_star is None):
        raise UsageProblem(
            "give a sweep file, or --activation, --depth, --width and one of --gain (with --bias-std) and --q-star"
        )
    if bias_std is not None and q_star is not None:
        raise UsageProblem("--q-star solves for σ_b: leave --bias-std out")
    from isosweep.sweep.errors import nearest
    from isosweep.theory.activations import ACTIVATIONS
    from isosweep.theory.predict import predict

    if activation not in ACTIVATIONS:
        near = nearest(activation, ACTIVATIONS)
        raise UsageProblem(
            f"--activation {activation}: expected one of {', '.join(ACTIVATIONS)}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    try:
        start = "fixed_point" if input_square == "fixed_point" else _number(input_square, "--input-square")
        prediction = predict(
            activation,
            depth=depth,
            width=width,
            sigma_w=None if gain is None else _number(gain, "--gain"),
            sigma_b=None if bias_std is None else _number(bias_std, "--bias-std"),
            q_star=None if q_star is None else _number(q_star, "--q-star"),
            negative_slope=None if negative_slope is None else _number(negative_slope, "--negative-slope"),
            init=init,  # type: ignore[arg-type]  # checked there
            samples=samples,
            outputs=outputs,
            inputs=inputs,
            input_mean_square=start,  # type: ignore[arg-type]
            input_correlation=_number(input_correlation, "--input-correlation"),
            likelihood=likelihood,  # type: ignore[arg-type]
        ).as_dict()
    except ValueError as error:
        raise UsageProblem(str(error)) from None
    if json_:
        print_json({"prediction": prediction})
    else:
        _show(prediction)
