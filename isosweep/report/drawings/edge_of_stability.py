"""λ_max along training as a share of 2/learning rate: at 1 gradient descent is at the edge of stability."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import INK, SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title
from isosweep.report.described import Described, inline, plural
from isosweep.report.drawings.training_curves import dash_legend, line_legend
from isosweep.report.statistics import fences
from isosweep.report.training import Curves

__all__ = ["edge_of_stability"]

_WHICH = (("fisher_lambda_max", "Fisher information"), ("hessian_lambda_max", "Hessian of the loss"))


def edge_of_stability(curves: Curves | None) -> Described | None:
    """λ_max·η/2 against the epoch, a line for each run; None where no run has both λ_max and a learning rate."""
    if curves is None or not curves.has("stability_threshold"):
        return None
    parts = []
    for column, called in _WHICH:
        if curves.has(column):
            part = curves.frame[["panel", "line", "seed", "run_id", "epoch", "stability_threshold"]].copy()
            part["lambda_max"], part["what"] = curves.frame[column].astype(float), called
            parts.append(part[part["lambda_max"] > 0])
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["epoch"])
    if frame["epoch"].nunique() < 2:
        return None
    frame["log10"] = np.log10(frame["lambda_max"] / frame["stability_threshold"].astype(float))
    frame = frame[np.isfinite(frame["log10"])]
    if not len(frame):
        return None
    low, high = fences(frame["log10"], least=1.0)
    low, high = min(low, -0.1), max(high, 0.1)  # the edge itself stays in view
    far = int(((frame["log10"] < low) | (frame["log10"] > high)).sum())
    frame["drawn"] = frame["log10"].clip(low, high)
    title = axis_title(curves.across) if curves.across else None
    known = [str(word) for word in dict.fromkeys(frame["what"])]
    x = alt.X(
        "epoch:Q", scale=alt.Scale(nice=False, zero=False), axis=alt.Axis(title="epoch", format="~r", tickCount=6)
    )
    axis = alt.Axis(title="λ_max / (2/η)", labelExpr=power_of_ten(), tickCount=6)
    lines = (
        alt.Chart()
        .mark_line(strokeWidth=1.1, opacity=0.85, point=alt.OverlayMarkDef(size=10, filled=True))
        .encode(
            x=x,
            y=alt.Y("drawn:Q", scale=alt.Scale(zero=False), axis=axis),
            color=alt.Color(
                "line:O",
                scale=alt.Scale(domain=list(curves.order), scheme=SEQUENTIAL),
                legend=line_legend(title) if curves.across else None,
            ),
            strokeDash=alt.StrokeDash(
                "what:N",
                scale=alt.Scale(domain=known, range=[[1, 0], [5, 3]][: len(known)]),
                legend=dash_legend() if len(known) > 1 else None,
            ),
            detail=["run_id:N", "what:N"],
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("line:N", title=title or "runs"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("what:N", title="of"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("lambda_max:Q", title="λ_max", format=".5g"),
                alt.Tooltip("stability_threshold:Q", title="2/η", format=".5g"),
            ],
        )
    )
    rule = alt.Chart().mark_rule(color=INK, strokeDash=[5, 3], aria=False).encode(y=alt.datum(0))
    chart = (
        alt.layer(rule, lines)
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(curves.panels), header=alt.Header(title=None)),
            columns=min(2, len(curves.panels)),
            data=inline(frame, "edge_of_stability"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    runs = frame.groupby("run_id")["log10"].max()
    beyond = int((runs > 0).sum())
    caption = (
        "λ_max over 2/η, η the learning rate of that moment, against the epoch on a logarithmic axis, a line for each "
        f"run and nothing averaged; {curves.facts} On the dashed line full-batch gradient descent is at the edge of "
        f"stability; adaptive and momentum methods have edges of their own. {beyond:,} of {plural(len(runs), 'run')} "
        f"{'is' if beyond == 1 else 'are'} above it at some epoch measured."
    )
    if far:
        caption += f" {plural(far, 'point is', 'points are')} so far off that they stand at the edge of the figure."
    return Described(
        name="edge_of_stability",
        title="Edge of stability",
        chart=chart,
        caption=caption,
        alternative=f"λ_max over 2/η against the epoch; {beyond} of {plural(len(runs), 'run')} above 1 at some epoch.",
        data=frame.drop(columns=["drawn"]).rename(columns={"line": curves.across or "runs"}).reset_index(drop=True),
        section="training",
        panel_width=220,
        gutter=80,
    )
