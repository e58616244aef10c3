"""How much of the sweep is there: runs by status, along each of its axes."""

from __future__ import annotations

import altair as alt
import pandas as pd

from isosweep.report.appearance import GREY, STATUS_COLOURS
from isosweep.report.axes import short
from isosweep.report.cells import Cells, evenly
from isosweep.report.described import Described, inline, plural

__all__ = ["completeness"]

_MOST_VALUES = 24


def completeness(cells: Cells) -> Described | None:
    """Stacked bars of the runs' states; None for a sweep without runs."""
    runs = cells.runs
    if not len(runs):
        return None
    known = [status for status in STATUS_COLOURS if (runs["status"] == status).any()]
    statuses = [*known, *sorted(set(runs["status"]) - set(known))]
    rows: list[dict[str, object]] = []
    cut = []
    axes = cells.roles.varying or ("sweep",)
    for axis in axes:
        column = runs[axis].map(short) if axis in runs else pd.Series("all", index=runs.index)
        values = sorted(set(column), key=_order)
        if len(values) > _MOST_VALUES:
            cut.append(axis)
        kept = [str(value) for value in evenly(values, _MOST_VALUES)]
        table = pd.crosstab(column, runs["status"])
        for place, value in enumerate(kept):
            total = int(table.loc[value].to_numpy().sum())
            for rank, status in enumerate(statuses):
                count = int(table.loc[value, status])
                if count:
                    rows.append(
                        {
                            "axis": axis,
                            "value": value,
                            "place": place,
                            "status": status,
                            "rank": rank,
                            "runs": count,
                            "of": total,
                        }
                    )
    frame = pd.DataFrame(rows)
    colours = [STATUS_COLOURS.get(status, GREY) for status in statuses]
    panels = [_panel(frame[frame["axis"] == axis], axis, statuses, colours) for axis in axes]
    chart = alt.concat(*panels, columns=min(3, len(axes)))
    done = int((runs["status"] == "done").sum())
    caption = (
        f"Of {plural(len(runs), 'planned run')}, {done:,} {'is' if done == 1 else 'are'} done. Every bar is all "
        "runs with one value of one axis, "
        "split by what became of them; a bar without a second colour is complete."
    )
    if cut:
        caption += (
            f" Of {', '.join(cut)} only {_MOST_VALUES} values are shown, evenly spread; the tables have them all."
        )
    counts = runs["status"].value_counts()
    return Described(
        name="completeness",
        title="Completeness by axis",
        chart=chart,
        caption=caption,
        alternative="Stacked bars of runs by status along each axis: "
        + ", ".join(f"{counts[status]} {status}" for status in statuses)
        + ".",
        data=frame.drop(columns=["place", "rank"]),
        section="run",
        panel_width=200,
        gutter=90,
    )


def _panel(frame: pd.DataFrame, axis: str, statuses: list[str], colours: list[str]) -> alt.Chart:
    values = list(dict.fromkeys(frame.sort_values("place", kind="stable")["value"]))
    chart: alt.Chart = (
        alt.Chart(inline(frame, f"completeness_{axis}"), title=axis.replace("_", " "))
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X(
                "sum(runs):Q", stack="normalize", axis=alt.Axis(title="share of the runs", format=".0%", tickCount=5)
            ),
            y=alt.Y("value:N", sort=values, axis=alt.Axis(title=None, labelLimit=140)),
            order=alt.Order("rank:Q"),
            color=alt.Color(
                "status:N",
                sort=statuses,
                scale=alt.Scale(domain=statuses, range=colours),
                legend=alt.Legend(title="status", orient="bottom", columns=4),
            ),
            tooltip=[
                alt.Tooltip("value:N", title=axis.replace("_", " ")),
                alt.Tooltip("status:N"),
                alt.Tooltip("runs:Q", title="runs with this status"),
                alt.Tooltip("of:Q", title="of all runs here"),
            ],
        )
        .properties(width=200, height=alt.Step(16))
    )
    return chart


def _order(word: str) -> tuple[int, float, str]:
    try:
        return (0, float(word), "")
    except ValueError:
        return (1, 0.0, word)
