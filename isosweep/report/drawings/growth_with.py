"""How a measure grows with depth or width: medians, seeds and fitted exponents."""

from __future__ import annotations

import math

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title, short
from isosweep.report.cells import Cells, Measure, evenly, measured
from isosweep.report.critical import critical_gains
from isosweep.report.described import Described, inline, join_words
from isosweep.report.statistics import RESAMPLES, Growth, fences, growth

__all__ = ["growth_with"]

_MOST_LINES = 6
_LN10 = math.log(10)


def growth_with(cells: Cells, measure: Measure, along: str) -> Described | None:
    """`measure` against `along` (depth or width), a line for each value across; None with fewer than two places."""
    roles = cells.roles
    if along not in cells.shown or measure.column not in cells.shown or along != roles.up:
        return None
    runs = cells.shown[cells.shown[along].notna()]
    _, log10 = measured(runs, measure)
    runs = runs.assign(_log10=log10, _theory=_predicted(runs, measure))[np.isfinite(log10.to_numpy())]
    if runs[along].nunique() < 2:
        return None
    across = roles.across
    values = runs[across].map(short) if across else pd.Series("all", index=runs.index)
    runs = runs.assign(_line=values)
    order = sorted(set(values), key=lambda word: (_number(word), word))
    kept = [str(word) for word in evenly(order, _MOST_LINES)]
    fits: list[dict[str, object]] = []
    points: list[pd.DataFrame] = []
    for (panel, line), group in runs.groupby(["panel", "_line"], sort=True):
        places = group[along].to_numpy(dtype=float)
        key = f"{measure.name} {along} {panel} {line}"
        fit = growth(places, group["_log10"].to_numpy() * _LN10, key)
        if fit is not None:
            # The same fit at the same points; none where a point lacks its prediction.
            predicted = growth(places, group["_theory"].to_numpy() * _LN10, f"predicted {key}")
            whole = predicted is not None and predicted.points == fit.points
            fits.append(_row(str(panel), str(line), fit, predicted if whole else None))
        if line in kept:
            fitted = np.log(places) * fit.exponent / _LN10 + fit.intercept / _LN10 if fit is not None else np.nan
            points.append(
                pd.DataFrame(
                    {
                        "panel": panel,
                        "line": line,
                        "x": places,
                        "y": group["_log10"],
                        "seed": group["seed"].map(short),
                        "cell": group["cell"],
                        "fit": fitted,
                        "theory": group["_theory"],
                    }
                )
            )
    if not fits or not points:
        return None
    frame = pd.concat(points, ignore_index=True)
    table = pd.DataFrame(fits)
    low, high = fences(frame["y"], least=4.0)
    far = int(((frame["y"] < low) | (frame["y"] > high)).sum())
    frame["drawn"] = frame["y"].clip(low, high)
    for name in ("fit", "theory"):
        frame[name] = frame[name].where((frame[name] >= low - 1) & (frame[name] <= high + 1))
    return Described(
        name=f"{measure.name}_with_{along}",
        title=f"{measure.symbol} with {along}",
        chart=_chart(frame, measure, along, across, kept, cells),
        caption=_caption(runs, table, measure, along, across, kept, len(order), far),
        alternative=f"{measure.symbol} against {axis_title(along)}, a panel for each network family; exponents from "
        f"{table['exponent'].min():.2f} to {table['exponent'].max():.2f}.",
        data=table.rename(columns={"line": across or "runs"}),
        section="relations",
        panel_width=220,
        gutter=80,
        legend=90,
    )


def _predicted(runs: pd.DataFrame, measure: Measure) -> pd.Series[float]:
    """log₁₀ of what theory predicts for each run; NaN where it predicts nothing."""
    column = f"theory_{measure.column}"
    if column not in runs:
        return pd.Series(np.nan, index=runs.index)
    theory = pd.to_numeric(runs[column], errors="coerce").astype(float)
    positive = theory.where((theory > 0) & np.isfinite(theory))
    return pd.Series(np.log10(positive.to_numpy()), index=runs.index)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.inf


def _row(panel: str, line: str, fit: Growth, predicted: Growth | None) -> dict[str, object]:
    low, high = fit.interval if fit.interval is not None else (math.nan, math.nan)
    return {
        "panel": panel,
        "line": line,
        "exponent": fit.exponent,
        "from": low,
        "to": high,
        "predicted exponent": predicted.exponent if predicted is not None else math.nan,
        "power law r2": fit.power_r2,
        "exponential rate": fit.rate,
        "exponential r2": fit.exponential_r2,
        "runs": fit.points,
        "places": fit.places,
        "fewest seeds": fit.fewest_seeds,
        "most seeds": fit.most_seeds,
    }


def _chart(
    frame: pd.DataFrame, measure: Measure, along: str, across: str | None, kept: list[str], cells: Cells
) -> alt.FacetChart:
    title = axis_title(across) if across else None
    colour = alt.Color(
        "line:O", scale=alt.Scale(domain=kept, scheme=SEQUENTIAL), legend=alt.Legend(title=title, symbolType="stroke")
    )
    places = sorted(frame["x"].unique())
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(title=axis_title(along), values=[float(str(v)) for v in evenly(places, 8)], format="~r"),
    )
    y_axis = alt.Axis(title=measure.symbol, labelExpr=power_of_ten(), tickCount=6)
    base = alt.Chart().encode(x=x, color=colour)
    y = alt.Y("drawn:Q", scale=alt.Scale(zero=False), axis=y_axis)
    points = base.mark_point(filled=True, size=26, cursor="pointer").encode(
        y=y,
        tooltip=[
            alt.Tooltip("panel:N", title="network"),
            alt.Tooltip("line:N", title=title or "runs"),
            alt.Tooltip("x:Q", title=along),
            alt.Tooltip("seed:N"),
            alt.Tooltip("y:Q", title=f"log10 {measure.symbol}", format=".4f"),
        ],
    )
    fit = base.mark_line(strokeWidth=1.3, strokeDash=[5, 3], aria=False).encode(
        y=alt.Y("mean(fit):Q", scale=alt.Scale(zero=False), axis=y_axis), detail="line:N"
    )
    theory = base.mark_line(strokeWidth=1.5, strokeDash=[1, 3], strokeCap="round", aria=False).encode(
        y=alt.Y("mean(theory):Q", scale=alt.Scale(zero=False), axis=y_axis), detail="line:N"
    )
    layers = [fit, theory, points] if frame["theory"].notna().any() else [fit, points]
    chart: alt.FacetChart = (
        alt.layer(*layers)
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, len(cells.panels)),
            data=inline(frame, f"{measure.name}_{along}_growth"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    return chart


def _said(row: pd.Series) -> str:
    interval = (
        f" ({row['from']:.2f} to {row['to']:.2f})" if np.isfinite(row["from"]) else " (no interval: single seeds)"
    )
    if np.isfinite(row["predicted exponent"]):
        interval = interval.replace(")", f"; predicted {row['predicted exponent']:.2f})")
    return f"{row['exponent']:.2f}{interval} for {row['panel']} at {row['line']}"


def _nearest(runs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Of each panel, the fit whose gain is nearest its critical line."""
    chosen = []
    for key, line in critical_gains(runs, ["panel"]).items():
        part = table[table["panel"] == key[0]]
        if line.gain is not None and len(part):
            distance = (part["line"].map(float) - line.gain).abs()
            chosen.append(distance.idxmin())
    return table.loc[chosen]


def _caption(
    runs: pd.DataFrame,
    table: pd.DataFrame,
    measure: Measure,
    along: str,
    across: str | None,
    kept: list[str],
    of: int,
    far: int,
) -> str:
    sentences = [
        f"Points are single runs, nothing averaged: {measure.sentence} at initialisation against the "
        f"{axis_title(along)}, both axes "
        f"logarithmic; dashed lines are least-squares fits of a power law, {measure.symbol} ∝ {along}^exponent."
    ]
    if table["predicted exponent"].notna().any():
        sentences.append(
            "Dotted lines join what theory predicts for the same runs; predicted exponents are the same fit to them."
        )
    elif f"theory_{measure.column}" in runs:
        sentences.append("Theory predicts none of these lines at every point, so that no predicted exponent is given.")
    near = _nearest(runs, table) if across == "gain" else table.iloc[:0]
    if len(near):
        said = join_words([_said(row) for _, row in near.head(6).iterrows()])
        sentences.append(f"Nearest the critical line the exponent is {said}.")
    sentences.append(
        f"Intervals are 95 %, percentile bootstrap, {RESAMPLES:,} resamples of the seeds at every {along}; they "
        "hold the "
        "scatter of the seeds, not the error of taking a power law."
    )
    if (table["places"] > 2).any():
        exponential = int((table["exponential r2"] > table["power law r2"] + 1e-3).sum())
        if exponential:
            count = "1 line is" if exponential == 1 else f"{exponential} lines are"
            sentences.append(
                f"{count} better described by an exponential, as away from criticality: both fits are in the "
                "numbers below."
            )
    else:
        sentences.append(f"With two values of {along} a power law cannot be told from any other growth.")
    if far:
        points = "1 point is" if far == 1 else f"{far} points are"
        sentences.append(f"{points} so far off that {'it stands' if far == 1 else 'they stand'} at the edge.")
    if len(kept) < of:
        sentences.append(
            f"{len(kept)} of {of} values of {str(across).replace('_', ' ')} are drawn; the numbers have all."
        )
    return " ".join(sentences)
