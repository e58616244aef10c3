"""Measured singular values of the Jacobian beside the law that theory predicts: histogram, and quantiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import INK, SEQUENTIAL, SERIES, power_of_ten
from isosweep.report.axes import axis_title, plain, short
from isosweep.report.cells import Cells, evenly
from isosweep.report.critical import critical_gains
from isosweep.report.described import Described, inline, join_words, plural
from isosweep.report.predicted import predicted_law
from isosweep.report.reading import Tables
from isosweep.report.thinning import NetworkSpectra

__all__ = ["jacobian_histogram", "jacobian_quantiles", "near_critical"]

_BINS = 36
_CURVE = 240
_LEFT_OUT = (
    0.01  # share of the values at the small end that a histogram leaves out: over many decades they are its width
)
_AT_ATOM = 1e-9  # within this of an atom, relatively, a value belongs to it
_MOST_DEPTHS = 6
_SMALL = 0.25  # depth over width up to which theory for infinite width is held against a histogram
_LN10 = math.log(10)
_TWO_LINES = r"split(replace(datum.label, /, (\w+ = )/, '\n$1'), '\n')"  # a panel's name breaks before its settings
_ASSUMES = (
    "Theory takes infinite width, and the variance of every layer from the recursion that the inputs start; at finite "
    "width the measured law differs once the depth is no longer small beside the width."
)


@dataclass(frozen=True)
class _Cell:
    """A cell with a law: its runs that have singular values, and what the law was computed for."""

    panel: str
    up: str
    depth: int
    gain: float
    runs: pd.DataFrame
    law: Any


def near_critical(cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> tuple[list[_Cell], list[str]]:
    """Of every panel and row the cell nearest the critical line that has a law; and the panels that have none."""
    have = [n.run_id for ns in by_cell.values() for n in ns if n.jacobian is not None and len(n.jacobian.x)]
    runs = cells.shown[cells.shown["run_id"].isin(have)]
    if not len(runs) or runs["gain"].isna().all():
        return [], []
    lines = critical_gains(runs, ["panel"])
    found, without = [], []
    for panel, family in runs.groupby("panel", sort=False):
        line = lines[(str(panel),)].gain
        reason, any_law = "", False
        rows = family.groupby(cells.roles.up, sort=True) if cells.roles.up else [("", family)]
        for up, group in rows:
            gains = sorted(
                group["gain"].dropna().unique(), key=lambda g: (abs(g - (line if line is not None else 1.0)), g)
            )
            for gain in gains[:4]:
                at = group[group["gain"] == gain]
                predicted = predicted_law(at.iloc[0].to_dict())
                if predicted.law is not None:
                    depth = int(plain(at["depth"].iloc[0]))
                    found.append(
                        _Cell(str(panel), short(up) if up != "" else "", depth, float(gain), at, predicted.law)
                    )
                    any_law = True
                    break
                reason = reason or predicted.reason
        if not any_law:
            without.append(f"{panel} ({reason})")
    return found, without


def _log_quantile(law: Any, share: np.ndarray) -> np.ndarray:
    """log₁₀ of the predicted s that a `share` of values exceeds; NaN within exact zeros."""
    value = law.quantile(np.clip(1 - share, 0, 1))
    with np.errstate(divide="ignore"):
        log = np.log10(value) / 2
    return np.where(np.isfinite(log), log, np.nan)


def jacobian_quantiles(
    cells: Cells, by_cell: dict[str, list[NetworkSpectra]], chosen: list[_Cell], without: list[str]
) -> Described | None:
    """Measured against predicted quantiles, a panel for each family and a colour for each depth."""
    networks = {n.run_id: n for ns in by_cell.values() for n in ns}
    ups = sorted({cell.up for cell in chosen}, key=lambda word: (len(word), word))
    kept = [str(word) for word in evenly(ups, _MOST_DEPTHS)]
    rows = []
    for cell in chosen:
        if cell.up not in kept:
            continue
        for run in cell.runs.to_dict("records"):
            points = networks[run["run_id"]].jacobian
            if points is None:
                continue
            for x, y in zip(_log_quantile(cell.law, points.x), points.log10, strict=True):
                if np.isfinite(x):
                    rows.append((cell.panel, cell.up, cell.gain, short(run["seed"]), run["cell"], float(x), float(y)))
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["panel", "up", "gain", "seed", "cell", "predicted", "measured"])
    ends = frame.groupby("panel")[["predicted", "measured"]].agg(["min", "max"])
    both = [(min(r[0], r[2]), max(r[1], r[3])) for r in ends.to_numpy()]
    diagonal = pd.DataFrame(
        [(p, e) for p, lh in zip(ends.index, both, strict=True) for e in lh], columns=["panel", "predicted"]
    )
    frame = pd.concat([frame, diagonal.assign(diagonal=diagonal["predicted"])], ignore_index=True)
    up_title = axis_title(cells.roles.up) if cells.roles.up else None
    axis: dict[str, Any] = {"labelExpr": power_of_ten(), "tickCount": 4}
    points = (
        alt.Chart()
        .transform_filter("isValid(datum.measured)")
        .mark_point(filled=True, size=12, opacity=0.7)
        .encode(
            x=alt.X("predicted:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="predicted s", **axis)),
            y=alt.Y("measured:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="measured s", **axis)),
            color=alt.Color("up:O", scale=alt.Scale(domain=kept, scheme=SEQUENTIAL), legend=alt.Legend(title=up_title)),
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("up:N", title=up_title or "row"),
                alt.Tooltip("gain:Q", title="gain σ_w"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("predicted:Q", title="log10 predicted s", format=".4f"),
                alt.Tooltip("measured:Q", title="log10 measured s", format=".4f"),
            ],
        )
    )
    line = (
        alt.Chart()
        .transform_filter("isValid(datum.diagonal)")
        .mark_line(color=INK, strokeDash=[5, 3], strokeWidth=1, aria=False)
        .encode(x="predicted:Q", y="diagonal:Q")
    )
    chart = (
        alt.layer(line, points)
        .properties(width=220, height=200)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None, labelExpr=_TWO_LINES)),
            columns=min(2, frame["panel"].nunique()),
            data=inline(frame, "jacobian_quantiles"),
        )
        .resolve_scale(x="independent", y="independent")
    )
    gains = _gains(chosen)
    caption = (
        "Quantiles of the measured singular values of ∂x^L/∂x^0 against those of the predicted law (Pennington, "
        "Schoenholz and "
        "Ganguli 2017, 2018), both axes logarithmic: on the dashed diagonal the two agree. Every point is a "
        "quantile of one "
        "seed, over all its sampled inputs, nothing averaged; of each family the gain nearest its critical line "
        "that has a "
        f"law ({gains}). {_ASSUMES}"
    )
    if without:
        caption += f" No law is predicted for {join_words(without)}."
    return Described(
        name="jacobian_quantiles",
        title="Jacobian: measured against predicted quantiles",
        chart=chart,
        caption=caption,
        alternative=f"Quantile-quantile plot of Jacobian singular values, {plural(frame['panel'].nunique(), 'panel')}; "
        f"the largest distance from the diagonal is {_farthest(frame):.2f} decades.",
        data=frame[frame["measured"].notna()]
        .drop(columns=["diagonal", "cell"])
        .rename(columns={"up": cells.roles.up or "row"}),
        section="theory",
        panel_width=220,
        gutter=80,
        legend=95,
    )


def _farthest(frame: pd.DataFrame) -> float:
    return float((frame["measured"] - frame["predicted"]).abs().max())


def _gains(chosen: list[_Cell]) -> str:
    by: dict[str, list[str]] = {}
    for cell in chosen:
        by.setdefault(f"σ_w = {cell.gain:g}", []).append(cell.panel)
    return "; ".join(f"{gain} for {join_words(list(dict.fromkeys(panels)))}" for gain, panels in by.items())


def _histogram_cell(cells: list[_Cell]) -> _Cell:
    """The deepest cell whose depth is small beside its width, else the shallowest."""
    small = [cell for cell in cells if cell.depth <= _SMALL * float(cell.runs["width"].iloc[0])]
    return max(small, key=lambda cell: cell.depth) if small else min(cells, key=lambda cell: cell.depth)


def jacobian_histogram(tables: Tables, cells: Cells, chosen: list[_Cell]) -> Described | None:
    """A histogram of log₁₀ s for every seed beside the predicted density, one cell a family."""
    picked = [
        _histogram_cell([cell for cell in chosen if cell.panel == panel])
        for panel in dict.fromkeys(c.panel for c in chosen)
    ]
    owner = {run_id: cell for cell in picked for run_id in cell.runs["run_id"]}
    logs: dict[str, list[np.ndarray]] = {}
    for row in tables.rows("jacobian", list(owner), ("run_id", "log_singular_values")):
        if row["log_singular_values"] is not None:
            logs.setdefault(row["run_id"], []).append(np.asarray(row["log_singular_values"], dtype=float))
    measured: list[tuple[Any, ...]] = []
    said = []
    beyond = 0.0
    for cell in picked:
        values = {
            short(run["seed"]): np.concatenate(logs[run["run_id"]]) / _LN10
            for run in cell.runs.to_dict("records")
            if run["run_id"] in logs
        }
        atoms = [math.log10(value) / 2 for value, _ in cell.law.atoms]
        at_atom = [{k: np.abs(v - at) < _AT_ATOM for k, v in values.items()} for at in atoms]
        loose = {
            k: v[np.isfinite(v) & ~np.any([found[k] for found in at_atom], axis=0)] if atoms else v[np.isfinite(v)]
            for k, v in values.items()
        }
        pooled = np.concatenate(list(loose.values())) if loose else np.empty(0)
        if not len(pooled):
            continue
        low, high = float(np.quantile(pooled, _LEFT_OUT)), max(float(pooled.max()), 0.5 * _log10(cell.law.lambda_max))
        cuts = np.linspace(low, high + 0.03 * (high - low) + 1e-3, _BINS + 1)
        wide = float(cuts[1] - cuts[0])
        beyond = max(beyond, float(np.mean(pooled < low)))
        for seed, v in loose.items():
            counts, _ = np.histogram(v, cuts)
            heights = counts / len(values[seed]) / wide
            for x, height in zip([*cuts[:-1] + wide / 2, cuts[-1] + wide / 2], [*heights, 0.0], strict=True):
                measured.append((cell.panel, f"seed {seed}", float(x), float(height), None))
        x = np.linspace(cuts[0], cuts[-1], _CURVE)
        for at, density in zip(x, 2 * _LN10 * cell.law.density_log(2 * _LN10 * x), strict=True):
            measured.append((cell.panel, "theory", float(at), None, float(density)))
        zeros = float(np.mean([np.isneginf(v).mean() for v in values.values()]))
        held = [float(np.mean([hit.mean() for hit in found.values()])) for found in at_atom]
        said.append(_cell_said(cell, zeros, held))
    if not measured:
        return None
    frame = pd.DataFrame(measured, columns=["panel", "line", "x", "measured", "predicted"])
    seeds = [line for line in dict.fromkeys(frame["line"]) if line != "theory"]
    lines = [*seeds, "theory"]
    colours = [*(SERIES[i % len(SERIES)] for i in range(len(seeds))), INK]
    scale = alt.Scale(domain=lines, range=colours)
    legend = alt.Legend(title=None, symbolType="stroke") if len(lines) <= 12 else None
    x_axis = alt.Axis(title="singular value s of J", labelExpr=power_of_ten(), tickCount=5)
    y_axis = alt.Axis(title="density in log₁₀ s", tickCount=4)
    base = alt.Chart().encode(
        x=alt.X("x:Q", scale=alt.Scale(zero=False, nice=False), axis=x_axis),
        color=alt.Color("line:N", scale=scale, legend=legend),
    )
    steps = (
        base.transform_filter("isValid(datum.measured)")
        .mark_line(interpolate="step", strokeWidth=1.3, opacity=0.85)
        .encode(y=alt.Y("measured:Q", axis=y_axis))
    )
    theory = (
        base.transform_filter("isValid(datum.predicted)")
        .mark_line(strokeWidth=2, strokeDash=[6, 3])
        .encode(y=alt.Y("predicted:Q", axis=y_axis))
    )
    chart = (
        alt.layer(steps, theory)
        .properties(width=220, height=170)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None, labelExpr=_TWO_LINES)),
            columns=min(2, frame["panel"].nunique()),
            data=inline(frame, "jacobian_histogram"),
        )
        .resolve_scale(x="independent", y="independent")
    )
    return Described(
        name="jacobian_histogram",
        title="Jacobian: histogram and predicted law",
        chart=chart,
        caption=(
            "Histograms of the singular values of ∂x^L/∂x^0 over all sampled inputs, one line a seed and nothing "
            "averaged, beside the "
            "density that theory predicts (dashed); the area is the share of values that are neither zero nor at an "
            f"atom, of which the smallest {beyond:.0%} are not drawn. {' '.join(said)} {_ASSUMES}"
        ),
        alternative=(
            f"Histograms of Jacobian singular values with the predicted density, {plural(len(picked), 'panel')}."
        ),
        data=frame,
        section="theory",
        panel_width=220,
        gutter=75,
        legend=85,
    )


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def _cell_said(cell: _Cell, zeros: float, held: list[float]) -> str:
    words = f"{cell.panel}: depth {cell.depth}, width {short(cell.runs['width'].iloc[0])}, σ_w = {cell.gain:g}"
    if cell.law.zero_mass > 0 or zeros > 0:
        words += f", exact zeros {zeros:.1%} (predicted {cell.law.zero_mass:.1%})"
    for (value, share), found in zip(cell.law.atoms, held, strict=True):
        words += f", at s = {math.sqrt(value):.4g} exactly {found:.1%} (predicted {share:.1%})"
    return words + "."
