"""What was measured over what theory predicts, every run a point."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import INK, SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title, short
from isosweep.report.cells import Cells, Measure, evenly, measured
from isosweep.report.described import Described, inline, plural

__all__ = ["residuals"]

_MOST_POINTS = 3000


def residuals(cells: Cells, measure: Measure) -> Described | None:
    """Measured over predicted against the axis across; None where the tables have no prediction of this measure."""
    column = f"theory_{measure.name}"
    runs, across, up = cells.shown, cells.roles.across, cells.roles.up
    if column not in runs or across is None:
        return None
    _, log10 = measured(runs, measure)
    theory = pd.to_numeric(runs[column], errors="coerce").astype(float)
    predicted = np.log10(theory.where(theory > 0))
    frame = pd.DataFrame(
        {
            "panel": runs["panel"],
            "across": runs[across],
            "up": runs[up].map(short) if up else "",
            "seed": runs["seed"].map(short),
            "cell": runs["cell"],
            "run": runs["run_id"],
            "measured": log10,
            "predicted": predicted,
            "ratio": log10 - predicted,
        }
    )
    frame = frame[np.isfinite(frame["ratio"])]
    if not len(frame):
        return None
    total = len(frame)
    drawn = (
        frame.sort_values("run", kind="stable").head(_MOST_POINTS).sort_values(["panel", "cell", "seed"], kind="stable")
    )
    ups = sorted(set(frame["up"]), key=lambda word: (len(word), word))
    kept = [str(word) for word in evenly(ups, 8)]
    title = axis_title(up) if up else None
    points = (
        alt.Chart()
        .mark_point(size=30, filled=True, opacity=0.8, cursor="pointer")
        .encode(
            x=alt.X(
                "across:Q", scale=alt.Scale(zero=False, padding=8), axis=alt.Axis(title=axis_title(across), format="~r")
            ),
            y=alt.Y(
                "ratio:Q",
                axis=alt.Axis(title=f"measured / predicted {measure.symbol}", labelExpr=power_of_ten(), tickCount=6),
            ),
            color=alt.Color("up:O", scale=alt.Scale(domain=kept, scheme=SEQUENTIAL), legend=alt.Legend(title=title)),
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("up:N", title=title or "row"),
                alt.Tooltip("across:Q", title=axis_title(across)),
                alt.Tooltip("seed:N"),
                alt.Tooltip("measured:Q", title="log10 measured", format=".4f"),
                alt.Tooltip("predicted:Q", title="log10 predicted", format=".4f"),
            ],
        )
    )
    rule = alt.Chart().mark_rule(color=INK, strokeDash=[5, 3], aria=False).encode(y=alt.datum(0))
    chart = (
        alt.layer(rule, points)
        .properties(width=220, height=170)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, drawn["panel"].nunique()),
            data=inline(drawn[drawn["up"].isin(kept)], f"{measure.name}_residuals"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    within = float((frame["ratio"].abs() <= np.log10(1.1)).mean())
    caption = (
        f"Every point is one run at initialisation, nothing averaged: {measure.sentence} as measured over what "
        "theory predicts for "
        f"infinite width; on the dashed line the two agree. {plural(total, 'run')} of {len(runs):,} have both; "
        f"{within:.0%} of "
        f"them agree to within 10 %, and the ratio runs from {10 ** frame['ratio'].min():.3g} to "
        f"{10 ** frame['ratio'].max():.3g}."
    )
    if len(drawn) < total:
        caption += f" The page draws {len(drawn):,} of the points, chosen by run id."
    return Described(
        name=f"{measure.name}_residuals",
        title=f"Measured over predicted {measure.symbol}",
        chart=chart,
        caption=caption,
        alternative=(
            f"Ratio of measured to predicted {measure.symbol} against {axis_title(across)}; {within:.0%} within 10 %."
        ),
        data=frame.drop(columns=["cell"]).reset_index(drop=True),
        section="theory",
        panel_width=220,
        gutter=80,
        legend=95,
    )
