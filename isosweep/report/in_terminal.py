"""The report for a terminal: what is done, what failed and why, and the medians over seeds."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from isosweep.report.axes import axis_title, roles, short
from isosweep.report.cells import MEASURES, Cells, Measure, cells_of, summaries
from isosweep.report.critical import critical_gains
from isosweep.report.described import plural
from isosweep.report.provenance import account, duration, size
from isosweep.report.reading import Tables

__all__ = ["renderable", "text_summary"]

_MOST_COLUMNS = 8
_MOST_PANELS = 12
_LOOK: Any = {"title_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}


def text_summary(tables: Tables, width: int | None = None) -> str:
    """The summary as text, as wide as the terminal (120 columns off a terminal) unless `width` says otherwise."""
    written = io.StringIO()
    columns = width or shutil.get_terminal_size(fallback=(120, 24)).columns
    Console(width=columns, file=written, color_system=None, highlight=False).print(renderable(tables))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def renderable(tables: Tables) -> RenderableType:
    """The same for a rich console."""
    told = account(tables)
    parts: list[RenderableType] = [
        Text(tables.name, style="bold"),
        Text(told.sentence),
        Text(f"Measured in {duration(told.seconds)} in all." + _memory(told.peak_bytes)) if told.done else Text(""),
        *(Text(f"Mixed provenance: {warning}", style="yellow") for warning in told.warnings),
    ]
    if told.causes:
        table = Table("runs", "status", "cause", "where", "for example", title="Failures by cause", **_LOOK)
        for cause in told.causes:
            # As Text, since a cause may hold brackets that rich would read as markup.
            table.add_row(
                str(cause.runs), *(Text(word) for word in (cause.status, cause.cause, cause.where, cause.example))
            )
        parts.append(table)
        if told.causes_left_out:
            parts.append(Text(f"{told.causes_left_out} rarer causes are in runs.parquet."))
    cells = cells_of(tables, roles(tables))
    if told.done and cells.roles.across is not None:
        for measure in MEASURES:
            parts.extend(_medians(cells, measure))
    return Group(*parts)


def _memory(peak: float) -> str:
    return f" The largest run took {size(peak)}." if peak > 0 else ""


def _some(values: Iterable[float]) -> list[float]:
    ordered = sorted(values)
    return ordered if len(ordered) <= _MOST_COLUMNS else [*ordered[: _MOST_COLUMNS - 1], ordered[-1]]


def _medians(cells: Cells, measure: Measure) -> list[RenderableType]:
    across, up = cells.roles.across, cells.roles.up
    runs = cells.shown[cells.shown[across].notna()] if across is not None else cells.shown
    if measure.column not in runs or not runs[measure.column].notna().any():
        return []
    frame = summaries(runs, measure, cells.roles)
    columns = _some(frame["across"].unique())
    table = Table(title=f"{measure.title} {measure.symbol}: median over seeds [n/seeds where fewer]", **_LOOK)
    table.add_column("network")
    table.add_column(axis_title(up, brief=True) if up else "", justify="right")
    for value in columns:
        table.add_column(f"{axis_title(str(across), brief=True).split()[-1]} {short(value)}", justify="right")
    lines = critical_gains(runs, ["panel"]) if across == "gain" else {}
    if lines:
        table.add_column("critical σ_w", justify="right")
    for panel in cells.panels[:_MOST_PANELS]:
        part = frame[frame["panel"] == panel]
        line = lines.get((panel,))
        for row in dict.fromkeys(part["up"]):
            values = [Text(_value(part[(part["up"] == row) & (part["across"] == value)])) for value in columns]
            last = [Text("none" if line is None or line.gain is None else f"{line.gain:.6g}")] if lines else []
            table.add_row(Text(str(panel)), Text(str(row)), *values, *last)
    notes: list[RenderableType] = [table]
    if len(columns) < frame["across"].nunique():
        notes.append(Text(f"{len(columns)} of {frame['across'].nunique()} values of {across} are shown."))
    if len(cells.panels) > _MOST_PANELS:
        notes.append(
            Text(
                f"{plural(len(cells.panels) - _MOST_PANELS, 'more network family', 'more network families')} in the "
                "tables."
            )
        )
    return notes


def _value(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    row = rows.iloc[0]
    few = f" [{row['n']}/{row['of']}]" if row["n"] < row["of"] else ""
    return (f"{row['median']:.4g}" if row["n"] else str(row["shown"])) + few
