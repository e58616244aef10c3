"""How fast networks learn: against their condition number at initialisation, and by manifold."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import GREY, INK, SERIES, SHAPES, power_of_ten
from isosweep.report.axes import short
from isosweep.report.cells import MEASURES, measured
from isosweep.report.described import Described, inline, join_words, plural
from isosweep.report.statistics import RESAMPLES, correlation, fences
from isosweep.report.training import Curves, Speed, speed_of

__all__ = ["condition_against_speed", "manifolds"]

_Layered = alt.LayerChart | alt.FacetChart


def _never(speed: Speed) -> float:
    """Where runs stand that never reach the target: a little beyond the slowest that does."""
    slowest = speed.runs["epochs"].max()
    return float(slowest * 1.15 + 1) if np.isfinite(slowest) else 1.0


def condition_against_speed(curves: Curves | None) -> Described | None:
    """Epochs to a target against κ(F) at initialisation, a point a run; None without training or without κ."""
    speed = None if curves is None else speed_of(curves)
    if curves is None or speed is None:
        return None
    runs = speed.runs
    _, log10 = measured(runs, MEASURES[1])
    frame = pd.DataFrame(
        {
            "panel": runs["panel"],
            "line": runs["line"],
            "seed": runs["seed"],
            "cell": runs["cell"],
            "run": runs["run_id"],
            "x": log10,
            "epochs": runs["epochs"],
        }
    )
    frame = frame[np.isfinite(frame["x"])]
    if len(frame) < 2:
        return None
    reached = frame["epochs"].notna()
    frame["state"] = np.where(reached, "reached", "never reached")
    frame["y"] = frame["epochs"].fillna(_never(speed))
    low, high = fences(frame["x"], least=2.0)
    frame["drawn"] = frame["x"].clip(low, high)
    there = frame[reached]
    found = correlation(
        there["x"].to_numpy(), there["epochs"].to_numpy(), list(there["cell"]), "condition number against speed"
    )
    panels = list(dict.fromkeys(frame["panel"]))
    chart = (
        alt.Chart(inline(frame, "condition_against_speed"))
        .mark_point(size=36, opacity=0.8, strokeWidth=1.4)
        .encode(
            x=alt.X(
                "drawn:Q",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(title="condition number κ(F) at initialisation", labelExpr=power_of_ten(), tickCount=6),
            ),
            y=alt.Y("y:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="epochs to the target", tickCount=6)),
            shape=alt.Shape(
                "state:N",
                scale=alt.Scale(domain=["reached", "never reached"], range=["circle", "cross"]),
                legend=alt.Legend(title=None) if (~reached).any() else None,
            ),
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("line:N", title="column"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("run:N"),
                alt.Tooltip("x:Q", title="log10 κ(F)", format=".4f"),
                alt.Tooltip("epochs:Q", format=".3g"),
                alt.Tooltip("state:N", title="target"),
            ],
        )
        .properties(width=380, height=260)
    )
    if len(panels) <= len(SERIES):
        chart = chart.encode(
            color=alt.Color(
                "panel:N",
                scale=alt.Scale(domain=panels, range=list(SERIES[: len(panels)])),
                legend=alt.Legend(title="network"),
            )
        )
    else:
        chart = chart.encode(color=alt.value(INK))
    sentences = [
        f"Every point is one run, nothing averaged: epochs until a {speed.said} (half way from where the runs begin to "
        f"the best any reaches, the same for all) against its condition number at initialisation, on a logarithmic "
        f"axis; {curves.facts}"
    ]
    if (~reached).any():
        never = int((~reached).sum())
        sentences.append(f"{plural(never, 'run')} never {'reaches' if never == 1 else 'reach'} it: crosses at the top.")
    if found is not None:
        a, b = found.spearman_interval
        sentences.append(
            f"Of those that do, Spearman's correlation is {found.spearman:.2f} (95 % interval {a:.2f} to {b:.2f}; "
            f"percentile bootstrap, {RESAMPLES:,} resamples of the {plural(found.groups, 'cell')} with their seeds)."
        )
    else:
        sentences.append("Too few different cells reach it for a correlation.")
    return Described(
        name="condition_against_speed",
        title="Condition number against speed",
        chart=chart,
        caption=" ".join(sentences),
        alternative=f"Epochs to a {speed.said} against κ(F) at initialisation, {plural(len(frame), 'run')}"
        + (f"; Spearman's correlation {found.spearman:.2f}." if found else "."),
        data=frame.drop(columns=["drawn", "y"])
        .rename(columns={"x": "log10 condition number", "line": curves.across or "runs"})
        .reset_index(drop=True),
        section="training",
        panel_width=380,
        gutter=75,
        legend=170,
    )


_AT_END = (
    ("test_accuracy", "accuracy on test data at the end"),
    ("validation_accuracy", "accuracy on validation data at the end"),
    ("batch_loss", "training loss at the end"),
    ("train_loss", "training loss at the end"),
)


def manifolds(curves: Curves | None) -> Described | None:
    """Accuracy at the end, epochs to the target and λ_max by manifold; None where the manifold does not vary."""
    if curves is None or "manifold" not in curves.runs or curves.runs["manifold"].map(short).nunique() < 2:
        return None
    runs = curves.runs.assign(manifold=curves.runs["manifold"].map(short))
    last = curves.frame.sort_values("step", kind="stable").groupby("run_id").last()
    parts: list[pd.DataFrame] = []
    for column, called in _AT_END:
        if curves.has(column) and called not in {str(part["what"].iloc[0]) for part in parts}:
            parts.append(_values(runs, last[column], called))
            if "accuracy" in column:
                break
    speed = speed_of(curves)
    if speed is not None:
        parts.append(_values(runs, speed.runs.set_index("run_id")["epochs"], f"epochs to a {speed.said}"))
    if curves.has("fisher_lambda_max"):
        top = np.log10(last["fisher_lambda_max"].where(last["fisher_lambda_max"] > 0))
        parts.append(_values(runs, top, "log₁₀ λ_max(F) at the last epoch with one"))
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    frame = pd.concat(parts, ignore_index=True)
    names = sorted(set(frame["manifold"]), key=lambda word: (word != "euclidean", word))
    colours = [SERIES[i % len(SERIES)] for i in range(len(names))]
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(names))]
    panels = [_strip(part, names, colours, shapes, number) for number, part in enumerate(parts)]
    medians = frame.groupby(["what", "manifold"], sort=False)["value"].agg(["median", "min", "max", "count"])
    said = []
    for part in parts:
        what = str(part["what"].iloc[0])
        words = []
        for name in names:
            if (what, name) in medians.index:
                row = medians.loc[(what, name)]
                spread = f"{row['min']:.3g} to {row['max']:.3g}"
                words.append(f"{name} {row['median']:.3g} ({spread}, n = {int(row['count'])})")
        said.append(f"{what}: {join_words(words)}")
    lacking = 0 if speed is None else int(speed.runs["epochs"].isna().sum())
    caption = (
        f"Every point is one run, the bar the median of a manifold over all its networks and seeds; {curves.facts} "
        f"Medians, with the least and the most: {'; '.join(said)}. Settings other than the manifold differ within a "
        "column where they were swept, learning rates among them."
    )
    if lacking:
        caption += (
            f" {plural(lacking, 'run never reaches', 'runs never reach')} the target, and no point stands for it."
        )
    return Described(
        name="manifolds",
        title="Manifolds beside Euclidean training",
        chart=alt.concat(*panels, columns=min(2, len(panels))),
        caption=caption,
        alternative=f"Runs by manifold ({join_words(names)}): {'; '.join(said)}.",
        data=frame.drop(columns=["offset"]).rename(columns={"line": curves.across or "runs"}),
        section="training",
        panel_width=220,
        gutter=60,
    )


def _values(runs: pd.DataFrame, values: pd.Series, called: str) -> pd.DataFrame:
    frame: pd.DataFrame = pd.DataFrame(
        {
            "what": called,
            "manifold": runs["manifold"],
            "panel": runs["panel"],
            "line": runs["line"],
            "seed": runs["seed"],
            "run": runs["run_id"],
            "value": runs["run_id"].map(values).astype(float),
        }
    )
    frame = frame[np.isfinite(frame["value"])].reset_index(drop=True)
    # Side by side within a column, by the order of the runs: the same on every page.
    place = frame.groupby("manifold").cumcount()
    count = frame.groupby("manifold")["run"].transform("size")
    frame["offset"] = ((place + 0.5) / count - 0.5).round(4)
    return frame


def _strip(part: pd.DataFrame, names: list[str], colours: list[str], shapes: list[str], number: int) -> _Layered:
    data = inline(part, f"manifolds_{number}")
    x = alt.X("manifold:N", sort=names, axis=alt.Axis(title=None, labelAngle=0))
    y_title = str(part["what"].iloc[0])
    y = alt.Y("value:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, tickCount=5))
    points = (
        alt.Chart(data)
        .mark_point(size=28, opacity=0.8, strokeWidth=1.3)
        .encode(
            x=x,
            xOffset=alt.XOffset("offset:Q", scale=alt.Scale(domain=[-0.7, 0.7])),
            y=y,
            color=alt.Color("manifold:N", scale=alt.Scale(domain=names, range=colours), legend=None),
            shape=alt.Shape("manifold:N", scale=alt.Scale(domain=names, range=shapes), legend=None),
            tooltip=[
                alt.Tooltip("manifold:N"),
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("line:N", title="column"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("value:Q", title=y_title, format=".5g"),
            ],
        )
    )
    median = (
        alt.Chart(data)
        .mark_tick(color=GREY, thickness=2.5, size=44, aria=False)
        .encode(x=x, y=alt.Y("median(value):Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None)))
    )
    return alt.layer(median, points).properties(width=220, height=190, title=y_title)
