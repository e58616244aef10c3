"""The local smoothness of the loss along the path against the norm of its gradient, with the fitted (L0, L1)."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title
from isosweep.report.cells import evenly
from isosweep.report.described import Described, inline, plural
from isosweep.report.statistics import fences
from isosweep.report.training import Curves

__all__ = ["smoothness"]

_MOST_POINTS = 40  # of a run
_LINE = 24


def smoothness(curves: Curves | None) -> Described | None:
    """‖Δg‖/‖Δθ‖ against ‖g‖, a point a measured step; None where it was not measured."""
    if curves is None or not curves.has("smoothness") or not curves.has("smoothness_gradient_norm"):
        return None
    names = ["panel", "line", "seed", "run_id", "step", "epoch", "smoothness", "smoothness_gradient_norm"]
    frame = curves.frame[names].copy()
    good = (frame["smoothness"] > 0) & (frame["smoothness_gradient_norm"] > 0)
    frame = frame[good & np.isfinite(frame["smoothness"]) & np.isfinite(frame["smoothness_gradient_norm"])]
    if not len(frame):
        return None
    total = len(frame)
    frame = pd.concat([part.loc[evenly(list(part.index), _MOST_POINTS)] for _, part in frame.groupby("run_id")])
    frame = frame.sort_values(["panel", "line", "seed", "step"], kind="stable").reset_index(drop=True)
    frame["x"], frame["y"] = np.log10(frame["smoothness_gradient_norm"]), np.log10(frame["smoothness"])
    low, high = fences(frame["y"], least=2.0)
    frame["drawn"] = frame["y"].clip(low, high)
    fits = _fits(curves)
    lines = _lines(fits, frame, low, high)
    both = pd.concat([frame, lines], ignore_index=True)
    title = axis_title(curves.across) if curves.across else None
    colour = alt.Color(
        "line:O",
        scale=alt.Scale(domain=list(curves.order), scheme=SEQUENTIAL),
        legend=alt.Legend(title=title, orient="bottom", columns=6) if curves.across else None,
    )
    x = alt.X(
        "x:Q",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(title="gradient norm ‖g‖", labelExpr=power_of_ten(), tickCount=5),
    )
    axis = alt.Axis(title="‖Δg‖ / ‖Δθ‖ of a step", labelExpr=power_of_ten(), tickCount=5)
    points = (
        alt.Chart()
        .transform_filter("isValid(datum.drawn)")
        .mark_point(filled=True, size=16, opacity=0.6)
        .encode(
            x=x,
            y=alt.Y("drawn:Q", scale=alt.Scale(zero=False), axis=axis),
            color=colour,
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("line:N", title=title or "runs"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("epoch:Q", format=".3g"),
                alt.Tooltip("smoothness_gradient_norm:Q", title="‖g‖", format=".4g"),
                alt.Tooltip("smoothness:Q", title="‖Δg‖/‖Δθ‖", format=".4g"),
            ],
        )
    )
    fitted = (
        alt.Chart()
        .transform_filter("isValid(datum.fit)")
        .mark_line(strokeWidth=1, strokeDash=[5, 3], aria=False)
        .encode(x=x, y=alt.Y("fit:Q", scale=alt.Scale(zero=False), axis=axis), color=colour, detail="run_id:N")
    )
    chart = (
        alt.layer(points, fitted)
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(curves.panels), header=alt.Header(title=None)),
            columns=min(2, len(curves.panels)),
            data=inline(both, "smoothness"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    sentences = [
        "Every point is one step of one run, nothing averaged: how much the gradient of the measured inputs changes "
        f"for the length of the step, against its norm, both axes logarithmic; {curves.facts}"
    ]
    if len(fits):
        sentences.append(
            "Dashed lines are each run's least-squares fit L0 + L1‖g‖ with L0, L1 ≥ 0; over the runs L0 is "
            f"{fits['l0'].median():.3g} in the median ({fits['l0'].min():.3g} to {fits['l0'].max():.3g}) and L1 "
            f"{fits['l1'].median():.3g} ({fits['l1'].min():.3g} to {fits['l1'].max():.3g}), "
            f"n = {plural(len(fits), 'run')}."
        )
    if len(frame) < total:
        sentences.append(f"{_MOST_POINTS} points of each run are drawn at most, of {total:,} in all.")
    return Described(
        name="smoothness",
        title="Smoothness against the gradient",
        chart=chart,
        caption=" ".join(sentences),
        alternative=f"Local smoothness against the gradient's norm, {plural(len(curves.panels), 'panel')}, "
        f"{plural(total, 'step')} of {plural(frame['run_id'].nunique(), 'run')}.",
        data=frame.drop(columns=["x", "y", "drawn"]).rename(columns={"line": curves.across or "runs"}),
        section="training",
        panel_width=220,
        gutter=85,
    )


def _fits(curves: Curves) -> pd.DataFrame:
    """Each run's last fitted (L0, L1), as the run itself fitted them over all its steps."""
    names = ("smoothness_l0", "smoothness_l1")
    if not all(curves.has(name) for name in names):
        return pd.DataFrame(columns=["run_id", "l0", "l1"])
    last = curves.frame.sort_values("step", kind="stable").groupby("run_id")[list(names)].last()
    return last.dropna().rename(columns={"smoothness_l0": "l0", "smoothness_l1": "l1"}).reset_index()


def _lines(fits: pd.DataFrame, frame: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    known = frame.groupby("run_id")
    for run_id, l0, l1 in fits[["run_id", "l0", "l1"]].itertuples(index=False):
        if run_id not in known.groups:
            continue
        part = known.get_group(run_id)
        for x in np.linspace(part["x"].min(), part["x"].max(), _LINE):
            value = l0 + l1 * 10**x
            if value > 0 and low <= np.log10(value) <= high:
                rows.append((part["panel"].iloc[0], part["line"].iloc[0], run_id, float(x), float(np.log10(value))))
    return pd.DataFrame(rows, columns=["panel", "line", "run_id", "x", "fit"])
