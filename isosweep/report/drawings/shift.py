"""A measure of two sweeps: B against A cell by cell, and their ratio over the sweep's axes."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import GREY, INK, SEQUENTIAL, SERIES, SHAPES, power_of_ten
from isosweep.report.axes import axis_title, numeric, short
from isosweep.report.cells import Measure, edges, logarithmic, written
from isosweep.report.comparison import Matched, Shift, ratio, shift_of
from isosweep.report.described import Described, inline, plural
from isosweep.report.statistics import RESAMPLES, fences

__all__ = ["shift_map", "shift_scatter"]

_ROW = 34
_HIGHEST = 300
_MOST_LABELLED_COLUMNS = 6
_MOST_POINTS = 3000
_LEAST_REACH = 0.05  # decades either way of "equal", so that rounding is not drawn as a change


def _cells(matched: Matched, measure: Measure) -> pd.DataFrame:
    """One row a matched cell with the measure's columns under short names."""
    frame, roles = matched.frame, matched.roles
    runs = [frame[f"runs of {side}"] for side in "AB"]
    counts = [frame[f"{measure.name} n of {side}"] for side in "AB"]
    medians = [frame[f"{measure.name} median of {side}"] for side in "AB"]
    shift = shift_of(matched, measure)
    pairs = frame[f"{measure.name} pairs"]
    least, most = frame[f"{measure.name} least shift"], frame[f"{measure.name} most shift"]
    return pd.DataFrame(
        {
            "panel": frame["panel"],
            "across": frame[roles.across] if roles.across else 0.0,
            "up": frame[roles.up].map(short) if roles.up else "",
            "a": medians[0],
            "b": medians[1],
            "shift": shift,
            "of A": medians[0].map(written),
            "of B": medians[1].map(written),
            "factor": [ratio(value) if np.isfinite(value) else "no value" for value in shift],
            "counted": [
                f"A: {na} of {plural(int(ra), 'run')}; B: {nb} of {plural(int(rb), 'run')}"
                for na, ra, nb, rb in zip(counts[0], runs[0], counts[1], runs[1], strict=True)
            ],
            "paired": [
                f"{ratio(low)} to {ratio(high)} over {plural(int(n), 'seed')}" if n else "no seed in both"
                for n, low, high in zip(pairs, least, most, strict=True)
            ],
        }
    )


def shift_map(matched: Matched, measure: Measure) -> Described | None:
    """The ratio B/A over the axes, a panel for each family; None where the axes are no numbers or no cell has both."""
    across = matched.roles.across
    if across is None or not numeric(matched.frame[across]):
        return None
    frame = _cells(matched, measure)
    frame = frame[frame["across"].notna()]
    if not frame["shift"].notna().any():
        return None
    for _, part in frame.groupby("panel", sort=False):
        low_high = edges(part["across"])
        frame.loc[part.index, "across_from"] = part["across"].map(lambda x, e=low_high: e[x][0])
        frame.loc[part.index, "across_to"] = part["across"].map(lambda x, e=low_high: e[x][1])
    return Described(
        name=f"{measure.name}_ratio",
        title=f"{measure.symbol}: B over A",
        chart=_map(frame, matched, measure),
        caption=_map_caption(frame, matched, measure),
        alternative=f"Heat map of the ratio of B's to A's {measure.symbol}, from {ratio(frame['shift'].min())} to "
        f"{ratio(frame['shift'].max())}.",
        data=frame.rename(columns={"across": across, "up": matched.roles.up or "row"} | _NAMES).drop(
            columns=["across_from", "across_to"]
        ),
        section="cells",
        panel_width=230,
        gutter=66,
        legend=125,
    )


_NAMES = {"a": "log10 of A", "b": "log10 of B", "shift": "log10 of B over A"}


def _reach(frame: pd.DataFrame) -> float:
    """How far the colours reach either way of equal, in decades."""
    low, high = fences(frame["shift"], least=0.3)
    return max(abs(low), abs(high), _LEAST_REACH)


def _map(frame: pd.DataFrame, matched: Matched, measure: Measure) -> alt.FacetChart:
    roles = matched.roles
    try:
        rows = sorted(set(frame["up"]), key=float, reverse=True)
    except ValueError:
        rows = sorted(set(frame["up"]))
    low, high = float(frame["across_from"].min()), float(frame["across_to"].max())
    log = logarithmic(list(frame["across"]))
    scale = alt.Scale(domain=[low, high], nice=False, type="log" if log else "linear")
    if not log:
        scale.zero = False
    ticks = sorted(float(v) for v in frame["across"].unique())
    x_axis = alt.Axis(title=axis_title(str(roles.across)), grid=False, labelOverlap=True, format="~r")
    if len(ticks) <= 9:
        x_axis.values = ticks
    x = alt.X("across_from:Q", scale=scale, axis=x_axis)
    y = alt.Y("up:O", sort=rows, axis=alt.Axis(title=axis_title(roles.up, brief=True) if roles.up else None))
    reach = _reach(frame)
    tooltip = [
        alt.Tooltip("panel:N", title="network"),
        *([alt.Tooltip("up:N", title=axis_title(roles.up))] if roles.up else []),
        alt.Tooltip("across:Q", title=axis_title(str(roles.across)), format="~r"),
        alt.Tooltip("factor:N", title="B over A"),
        alt.Tooltip("of A:N", title="A, median over seeds"),
        alt.Tooltip("of B:N", title="B, median over seeds"),
        alt.Tooltip("counted:N", title="runs with a value"),
        alt.Tooltip("paired:N", title="B over A, seed by seed"),
    ]
    base = alt.Chart().encode(y=y)
    told = f"datum.panel + ', ' + datum.up + ', ' + datum.across + ': {measure.symbol} of B over A ' + datum.factor"
    boxes = (
        base.transform_calculate(told=told)
        .transform_filter("isValid(datum.shift)")
        .mark_rect(stroke="white", strokeWidth=0.5)
        .encode(
            x=x,
            x2="across_to:Q",
            color=alt.Color(
                "shift:Q",
                scale=alt.Scale(scheme=SEQUENTIAL, domain=[-reach, reach], clamp=True, nice=False),
                legend=alt.Legend(
                    title=["B over A", "(log scale)"], labelExpr=power_of_ten(), gradientLength=120, tickCount=5
                ),
            ),
            tooltip=tooltip,
            description="told:N",
        )
    )
    empty = (
        base.transform_filter("!isValid(datum.shift)")
        .mark_rect(fill="#e9e9e9", stroke="white")
        .encode(x=x, x2="across_to:Q", tooltip=tooltip)
    )
    layers: list[alt.Chart] = [boxes, empty]
    centre = alt.X("across:Q", scale=scale, axis=x_axis)
    layers.append(
        base.transform_filter("!isValid(datum.shift)")
        .mark_text(color=GREY, fontSize=13, text="×", aria=False)
        .encode(x=centre)
    )
    if frame["across"].nunique() <= _MOST_LABELLED_COLUMNS and len(rows) <= 12:
        label = "abs(datum.shift) < 3 ? format(pow(10, datum.shift), '.2~r') : format(pow(10, datum.shift), '.0e')"
        layers.append(
            base.transform_filter("isValid(datum.shift)")
            .transform_calculate(label=label)
            .mark_text(fontSize=10, aria=False)
            .encode(
                x=centre,
                text="label:N",
                tooltip=tooltip,
                color=alt.condition("datum.shift > 0", alt.value("black"), alt.value("white")),
            )
        )
    chart: alt.FacetChart = (
        alt.layer(*layers)
        .properties(width=230, height=min(_HIGHEST, max(_ROW * len(rows), 60)))
        .facet(
            facet=alt.Facet("panel:N", sort=list(matched.panels), header=alt.Header(title=None)),
            columns=min(2, len(matched.panels)),
            data=inline(frame, f"{measure.name}_shift"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    return chart


def _map_caption(frame: pd.DataFrame, matched: Matched, measure: Measure) -> str:
    lacking = int(frame["shift"].isna().sum())
    higher, lower = int((frame["shift"] > 0).sum()), int((frame["shift"] < 0).sum())
    sentences = [
        f"Each cell is the ratio of B's to A's {measure.symbol}, each the median over its own seeds; the middle of the "
        f"colours is equality. Of {plural(len(frame), 'matched cell')}, {higher:,} {'is' if higher == 1 else 'are'} "
        f"higher in B, {lower:,} lower and {len(frame) - higher - lower - lacking:,} the same.",
        "The hover text has both values, the runs counted, and the range of the ratio seed by seed.",
    ]
    reach = _reach(frame)
    beyond = int((frame["shift"].abs() > reach).sum())
    if beyond:
        sentences.append(f"{plural(beyond, 'cell has', 'cells have')} the last colour of the scale, being far off.")
    if lacking:
        sentences.append(f"{plural(lacking, 'cell lacks', 'cells lack')} a value in one of the sweeps: a grey cross.")
    return " ".join(sentences)


def shift_scatter(matched: Matched, shift: Shift) -> Described | None:
    """B's median against A's, a point a matched cell; None without one that has both."""
    measure = shift.measure
    frame = _cells(matched, measure)
    frame = frame[np.isfinite(frame["shift"])]
    if not len(frame):
        return None
    total = len(frame)
    drawn = frame if total <= _MOST_POINTS else frame.iloc[np.linspace(0, total - 1, _MOST_POINTS).astype(int)]
    (left, right), (bottom, top) = fences(frame["a"], least=3.0), fences(frame["b"], least=3.0)
    low, high = min(left, bottom), max(right, top)
    drawn = drawn.assign(x=drawn["a"].clip(low, high), y=drawn["b"].clip(low, high))
    far = int(((frame[["a", "b"]] < low) | (frame[["a", "b"]] > high)).any(axis=1).sum())
    scale = alt.Scale(domain=[low, high], nice=False, padding=6)
    titled = [alt.Axis(title=f"{measure.symbol} of {side}", labelExpr=power_of_ten(), tickCount=6) for side in "AB"]
    points = (
        alt.Chart(inline(drawn, f"{measure.name}_both"))
        .mark_point(size=34, opacity=0.8, strokeWidth=1.4)
        .encode(
            x=alt.X("x:Q", scale=scale, axis=titled[0]),
            y=alt.Y("y:Q", scale=scale, axis=titled[1]),
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("up:N", title=axis_title(matched.roles.up) if matched.roles.up else "row"),
                alt.Tooltip("across:N", title=axis_title(matched.roles.across) if matched.roles.across else "column"),
                alt.Tooltip("of A:N", title="A, median over seeds"),
                alt.Tooltip("of B:N", title="B, median over seeds"),
                alt.Tooltip("factor:N", title="B over A"),
                alt.Tooltip("counted:N", title="runs with a value"),
            ],
        )
    )
    panels = list(dict.fromkeys(frame["panel"]))
    if len(panels) <= len(SERIES):
        legend = alt.Legend(title="network")
        points = points.encode(
            color=alt.Color(
                "panel:N", scale=alt.Scale(domain=panels, range=list(SERIES[: len(panels)])), legend=legend
            ),
            shape=alt.Shape(
                "panel:N", scale=alt.Scale(domain=panels, range=list(SHAPES[: len(panels)])), legend=legend
            ),
        )
    else:
        points = points.encode(color=alt.value(INK))
    ends = pd.DataFrame({"x": [low, high], "y": [low, high]})
    line = (
        alt.Chart(inline(ends, f"{measure.name}_equal"))
        .mark_line(color=INK, strokeDash=[5, 3], strokeWidth=1, aria=False)
        .encode(x=alt.X("x:Q", scale=scale, axis=titled[0]), y=alt.Y("y:Q", scale=scale, axis=titled[1]))
    )
    sentences = [
        f"Every point is a cell that both sweeps have, at the medians over its seeds, both axes logarithmic; on the "
        f"dashed line they are equal. {shift.sentence}"
    ]
    if shift.interval is not None:
        sentences.append(
            f"The interval is of the median ratio: percentile bootstrap, {RESAMPLES:,} resamples of the cells."
        )
    if far:
        sentences.append(f"{plural(far, 'cell is', 'cells are')} so far off that they stand at the edge.")
    if len(drawn) < total:
        sentences.append(f"The page draws {len(drawn):,} of the {total:,} cells, evenly spread.")
    return Described(
        name=f"{measure.name}_both",
        title=f"{measure.symbol}: B against A",
        chart=alt.layer(line, points).properties(width=380, height=300),
        caption=" ".join(sentences),
        alternative=f"Scatter of B's against A's {measure.symbol}, {plural(total, 'matched cell')}. {shift.sentence}",
        data=frame.rename(
            columns={"across": matched.roles.across or "column", "up": matched.roles.up or "row"} | _NAMES
        ).reset_index(drop=True),
        section="cells",
        panel_width=380,
        gutter=75,
        legend=150,
    )
