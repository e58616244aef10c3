"""A measure over depth and gain, a panel for each activation and initialisation, with the critical line."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import GREY, INK, SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title, numeric, short
from isosweep.report.cells import Cells, Measure, logarithmic, summaries
from isosweep.report.critical import critical_gains, critical_sentence, line_names
from isosweep.report.described import Described, inline, join_words, plural
from isosweep.report.statistics import fences

__all__ = ["heat_map"]

_MOST_LABELLED_COLUMNS = 6
_ROW = 34  # height of a row, px
_HIGHEST = 300
# What a screen reader says of a cell.
_TOLD = "datum.panel + ', ' + datum.up + ', ' + datum.across + ': SYMBOL ' + datum.shown + ', ' + datum.counted"


def heat_map(cells: Cells, measure: Measure) -> Described | None:
    """The heat map of one measure; None where no run has it."""
    roles = cells.roles
    if roles.across is None or measure.column not in cells.runs or not numeric(cells.runs[roles.across]):
        return None
    runs = cells.shown[cells.shown[roles.across].notna()]
    if not len(runs) or not runs[measure.column].notna().any():
        return None
    frame = summaries(runs, measure, roles)
    frame["label"] = [_label(value, text) for value, text in zip(frame["median"], frame["shown"], strict=True)]
    line_sentence, frame = _with_critical_line(frame, runs, roles.across, roles.up)
    return Described(
        name=measure.name,
        title=measure.title,
        chart=_chart(frame, measure, cells),
        caption=_caption(frame, measure, cells, line_sentence),
        alternative=_alternative(frame, measure, cells),
        data=frame.rename(columns={"across": roles.across, "up": roles.up or "row"}).drop(
            columns=["log10", "label", "mark", "cell", "counted"]
        ),
        section=measure.section,
        panel_width=230,
        gutter=66,
        legend=125,
    )


def _with_critical_line(
    frame: pd.DataFrame, runs: pd.DataFrame, across: str, up: str | None
) -> tuple[str, pd.DataFrame]:
    frame = frame.assign(critical=np.nan)
    if across != "gain":
        return "", frame
    row = runs[up].map(short) if up is not None else pd.Series("", index=runs.index)
    runs = runs.assign(_row=row)
    lines, names = critical_gains(runs, ["panel", "_row"]), line_names(runs, ["panel", "_row"])
    low, high = frame.groupby("panel")["across_from"].min(), frame.groupby("panel")["across_to"].max()
    outside = []
    for (panel, up_value), line in lines.items():
        if line.gain is None:
            continue
        if float(low[panel]) <= line.gain <= float(high[panel]):
            frame.loc[(frame["panel"] == panel) & (frame["up"] == up_value), "critical"] = line.gain
        else:
            outside.append(names[panel, up_value])
    named = {names[key]: line for key, line in lines.items()}
    return critical_sentence(named, list(dict.fromkeys(outside))), frame


def _row_order(frame: pd.DataFrame) -> list[str]:
    values = list(dict.fromkeys(frame["up"]))
    try:
        return sorted(values, key=float, reverse=True)
    except ValueError:
        return sorted(values)


def _chart(frame: pd.DataFrame, measure: Measure, cells: Cells) -> alt.FacetChart:
    roles = cells.roles
    rows = _row_order(frame)
    columns = frame["across"].nunique()
    low, high = float(frame["across_from"].min()), float(frame["across_to"].max())
    kind: Any = {"type": "log"} if logarithmic(list(frame["across"])) else {"type": "linear", "zero": False}
    scale = alt.Scale(domain=[low, high], nice=False, **kind)
    ticks = sorted(float(v) for v in frame["across"].unique())
    x_axis = alt.Axis(title=axis_title(str(roles.across)), grid=False, labelOverlap=True, format="~r")
    if len(ticks) <= 9:
        x_axis.values = ticks
    x = alt.X("across_from:Q", scale=scale, axis=x_axis)
    y = alt.Y(
        "up:O",
        sort=rows,
        axis=alt.Axis(title=axis_title(roles.up, brief=True) if roles.up else None, labelOverlap=True),
    )
    middle = sum(fences(frame["log10"])) / 2
    tooltip = [
        alt.Tooltip("panel:N", title="network"),
        *([alt.Tooltip("up:N", title=axis_title(roles.up))] if roles.up else []),
        alt.Tooltip("across:Q", title=axis_title(str(roles.across)), format="~r"),
        alt.Tooltip("shown:N", title=f"{measure.symbol}, median over seeds"),
        alt.Tooltip("range:N", title="range over seeds (least to most)"),
        alt.Tooltip("counted:N", title="seeds with a value"),
        alt.Tooltip("seeds:N", title="each seed"),
        alt.Tooltip("others:N", title="runs"),
    ]
    cell = alt.param(name="cell", value="")
    base = alt.Chart().encode(y=y)
    chosen = "datum.cell === cell"
    boxes = base.mark_rect(cursor="pointer", stroke="white", strokeWidth=0.5, tooltip=True).encode(
        x=x,
        x2="across_to:Q",
        color=alt.Color(
            "log10:Q",
            scale=alt.Scale(scheme=SEQUENTIAL, domain=list(fences(frame["log10"])), clamp=True, nice=False),
            legend=alt.Legend(
                title=[measure.symbol, "(median, log scale)"], labelExpr=power_of_ten(), gradientLength=120, tickCount=5
            ),
        ),
        tooltip=tooltip,
    )
    # What has no place on the scale is grey and marked: a cross for no value, 0 and ∞ for those.
    empty = (
        base.transform_filter("!isValid(datum.log10)")
        .mark_rect(fill="#e9e9e9", stroke="white", cursor="pointer")
        .encode(x=x, x2="across_to:Q", tooltip=tooltip)
    )
    boxes, empty = (
        layer.transform_calculate(told=_TOLD.replace("SYMBOL", measure.symbol)).encode(description="told:N")
        for layer in (boxes, empty)
    )
    layers: list[alt.Chart] = [boxes.transform_filter("isValid(datum.log10)"), empty]
    centre = alt.X("across:Q", scale=scale, axis=x_axis)
    layers.append(
        base.transform_filter("!isValid(datum.log10)")
        .mark_text(color=GREY, fontSize=13, cursor="pointer", aria=False)
        .encode(x=centre, text="mark:N", tooltip=tooltip)
    )
    layers.extend(_lines(frame, scale, x_axis, y))
    if columns <= _MOST_LABELLED_COLUMNS and len(rows) <= 12:
        layers.extend(_labels(base, centre, tooltip, middle))
    layers.append(
        base.transform_filter(chosen)
        .mark_rect(fill=None, stroke="#d55e00", strokeWidth=3, aria=False)
        .encode(x=x, x2="across_to:Q")
    )
    height = min(_HIGHEST, max(_ROW * len(rows), 60))
    chart: alt.FacetChart = (
        alt.layer(*layers)
        .properties(width=230, height=height)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, len(cells.panels)),
            data=inline(frame, f"{measure.name}_cells"),
        )
        .add_params(cell)
        .resolve_axis(x="independent", y="independent")
    )
    return chart


def _labels(base: alt.Chart, centre: alt.X, tooltip: list[alt.Tooltip], middle: float) -> list[alt.Chart]:
    """The value in its cell; where the critical line runs through the cell, over a halo."""
    dark = f"datum.log10 > {middle!r}"
    crossed = "datum.critical > datum.across_from && datum.critical < datum.across_to && isValid(datum.critical)"
    known = base.transform_filter("isValid(datum.log10)").encode(x=centre, text="label:N", tooltip=tooltip)
    size = 10
    halo = known.transform_filter(crossed).mark_text(fontSize=size, strokeWidth=5, strokeJoin="round", aria=False)
    text = known.mark_text(fontSize=size, cursor="pointer", aria=False)
    return [
        halo.encode(stroke=alt.condition(dark, alt.value("white"), alt.value("black"))),
        text.encode(color=alt.condition(dark, alt.value("black"), alt.value("white"))),
    ]


def _label(value: float, written: str) -> str:
    """A value in the room of a cell."""
    if not math.isfinite(value):
        return written
    if 1e-3 <= abs(value) < 1e4:
        return f"{float(f'{value:.2g}'):g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _lines(frame: pd.DataFrame, scale: alt.Scale, x_axis: alt.Axis, y: alt.Y) -> list[alt.Chart]:
    """The critical line over a white one, so that it is seen on every colour; by rows where it moves with them."""
    if not frame["critical"].notna().any():
        return []
    moves = bool((frame.groupby("panel")["critical"].nunique() > 1).any())
    found = alt.Chart().transform_filter("isValid(datum.critical)")
    layers = []
    for width, colour, dash in ((5, "white", [1, 0]), (2.2, INK, [6, 3])):
        if moves:
            x = alt.X("critical:Q", scale=scale, axis=x_axis)
            mark = found.mark_tick(orient="vertical", thickness=width, color=colour, bandSize=_ROW, aria=False)
            layers.append(mark.encode(x=x, y=y))
        else:
            x = alt.X("min(critical):Q", scale=scale, axis=x_axis)
            layers.append(found.mark_rule(strokeWidth=width, color=colour, strokeDash=dash, aria=False).encode(x=x))
    return layers


def _caption(frame: pd.DataFrame, measure: Measure, cells: Cells, line_sentence: str) -> str:
    roles = cells.roles
    rows = f"rows are the {axis_title(roles.up)}, " if roles.up else ""
    per = sorted(set(frame["of"]))
    seeds = plural(per[0], "seed") if len(per) == 1 else f"{per[0]} to {per[-1]} seeds"
    counts = sorted(set(frame["n"]))
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    short_cells = int((frame["n"] < frame["of"]).sum())
    sentences = [
        f"Each cell shows {measure.sentence} {measure.moment}; {rows}columns the {axis_title(str(roles.across))}, "
        f"and every panel is one network family ({plural(len(cells.panels), 'panel')}).",
        "The colour is the median over the seeds of a cell, on a logarithmic scale: "
        f"{plural(len(frame), 'cell')} of {seeds}, {n} with a value; the hover text gives every seed and the range "
        "from "
        "the least to the most.",
    ]
    odd = [word for sign, word in (("0", "exactly 0"), ("∞", "infinite")) if (frame["mark"] == sign).any()]
    if odd:
        sentences.append(f"Medians that are {join_words(odd)} have no place on the scale and stand on grey.")
    if short_cells:
        lack = (
            "1 cell lacks a value of some seed"
            if short_cells == 1
            else f"{short_cells} cells lack the value of some seed"
        )
        sentences.append(f"{lack}; a grey cell with a cross has none at all.")
    low, high = fences(frame["log10"])
    finite = frame["log10"][np.isfinite(frame["log10"])]
    beyond = int(((finite < low) | (finite > high)).sum())
    if beyond:
        cells_are = "1 cell is" if beyond == 1 else f"{beyond} cells are"
        sentences.append(
            f"{cells_are} far off the others and {'has' if beyond == 1 else 'have'} the last colour of the scale."
        )
    if line_sentence:
        sentences.append(line_sentence)
    if cells.note:
        sentences.append(cells.note)
    return " ".join(sentences)


def _alternative(frame: pd.DataFrame, measure: Measure, cells: Cells) -> str:
    known = frame[np.isfinite(frame["log10"])]
    start = f"Heat map of {measure.symbol} over {axis_title(str(cells.roles.across))}"
    start += f" and {axis_title(cells.roles.up)}" if cells.roles.up else ""
    if not len(known):
        return f"{start}; no cell has a value."
    least, most = known.loc[known["log10"].idxmin()], known.loc[known["log10"].idxmax()]
    return (
        f"{start}: the median over seeds runs from {least['shown']} ({_place(least)}) "
        f"to {most['shown']} ({_place(most)})."
    )


def _place(row: pd.Series[Any]) -> str:
    return ", ".join(filter(None, (str(row["panel"]), str(row["up"]), f"{row['across']:g}")))
