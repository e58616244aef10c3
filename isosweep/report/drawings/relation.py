"""λ_max of the Fisher matrix against the largest squared singular value of the Jacobian, every run a point."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import GREY, INK, SERIES, SHAPES, power_of_ten
from isosweep.report.axes import short
from isosweep.report.cells import MEASURES, Cells, measured
from isosweep.report.described import Described, inline, plural
from isosweep.report.statistics import RESAMPLES, Correlation, correlation, fences

__all__ = ["relation"]

_MOST_POINTS = 3000
_ROOM_FOR_BOUNDS = 6.0  # decades above the runs
# Columns of `runs` that bound λ_max, their names, and whether they always hold.
BOUNDS = (
    ("fisher_bound_block_norms", "bound: norms of the blocks", True),
    ("fisher_bound_block_rows", "bound: block Gershgorin", True),
    ("fisher_bound_layer_sum", "bound: sum over layers", True),
    ("fisher_sokol_park", "approximation of Sokol & Park", False),
)


def relation(cells: Cells) -> Described | None:
    """The scatter of λ_max(F) against σ²_max(J); None with fewer than two runs that have both."""
    runs = cells.runs
    if "jacobian_s_max" not in runs:
        return None
    _, fisher = measured(runs, MEASURES[0])
    _, jacobian = measured(runs, MEASURES[3])
    frame = pd.DataFrame(
        {
            "panel": runs["panel"],
            "cell": runs["cell"],
            "up": runs[cells.roles.up].map(short) if cells.roles.up else "",
            "across": runs[cells.roles.across].map(short) if cells.roles.across else "",
            "seed": runs["seed"].map(short),
            "run": runs["run_id"],
            "x": 2 * jacobian,
            "y": fisher,
        }
    )
    for column, name, _ in BOUNDS:
        if column in runs:
            bound = pd.to_numeric(runs[column], errors="coerce").astype(float)
            frame[name] = np.log10(bound.where((bound > 0) & np.isfinite(bound)))
    frame = frame[np.isfinite(frame["x"]) & np.isfinite(frame["y"])]
    said = [_bound_said(frame, name, holds) for _, name, holds in BOUNDS if name in frame and frame[name].notna().any()]
    if len(frame) < 2:
        return None
    found = correlation(
        frame["x"].to_numpy(), frame["y"].to_numpy(), list(frame["cell"]), "lambda_max against squared s_max"
    )
    total = len(frame)
    low, high = fences(frame["y"], least=3.0)
    far = int(((frame["y"] < low) | (frame["y"] > high)).sum())
    frame["drawn"] = frame["y"].clip(low, high)
    left, right = fences(frame["x"], least=3.0)
    far_across = int(((frame["x"] < left) | (frame["x"] > right)).sum())
    frame["across_drawn"] = frame["x"].clip(left, right)
    if total > _MOST_POINTS:
        # By run id, which is a hash: as good as a random choice, and always the same.
        frame = frame.sort_values("run", kind="stable").head(_MOST_POINTS)
    frame = frame.sort_values(["panel", "cell", "seed", "run"], kind="stable")
    colour = "panel" if frame["panel"].nunique() <= len(SERIES) else None
    return Described(
        name="lambda_max_against_jacobian",
        title="Largest Fisher eigenvalue against the Jacobian",
        chart=_chart(frame, colour),
        caption=_caption(total, len(frame), found, far, far_across, said),
        alternative=(
            f"Scatter of λ_max(F) against the largest squared singular value of the Jacobian, {plural(total, 'run')}"
        )
        + (f"; Pearson correlation of the logarithms {found.pearson:.2f}." if found else "."),
        data=frame.rename(columns={"x": "log10 s_max squared", "y": "log10 lambda_max"})
        .drop(columns=["drawn", "across_drawn"])
        .reset_index(drop=True),
        section="relations",
        panel_width=380,
        gutter=75,
        legend=230 if said else 150,
    )


def _bound_said(frame: pd.DataFrame, name: str, holds: bool) -> str:
    """How far a bound lies above λ_max, and how often below."""
    above = (frame[name] - frame["y"]).dropna()
    # A bound that is reached may lie below by rounding.
    below = int((above < -1e-9).sum())
    said = f"{name} is {10 ** above.median():.3g} times λ_max in the median of {plural(len(above), 'run')}"
    if below:
        said += f", and below it in {below:,}"
        said += ", which a bound never is: these runs need a look" if holds else ""
    return said


def _with_bounds(points: alt.Chart, frame: pd.DataFrame) -> alt.Chart | alt.LayerChart:
    """The bounds of every run above (or below) its point, in grey."""
    names = [name for _, name, _ in BOUNDS if name in frame and frame[name].notna().any()]
    if not names:
        return points
    low, high = fences(frame["y"], least=3.0)
    kept = frame.melt(
        id_vars=["panel", "seed", "run", "across_drawn", "y"], value_vars=names, var_name="bound", value_name="at"
    )
    kept = kept[kept["at"].notna()]
    kept["drawn"] = kept["at"].clip(low, high + _ROOM_FOR_BOUNDS)
    marks = (
        alt.Chart(inline(kept, "relation_bounds"))
        .mark_point(color=GREY, size=20, opacity=0.8, strokeWidth=1)
        .encode(
            x="across_drawn:Q",
            y="drawn:Q",
            shape=alt.Shape(
                "bound:N",
                scale=alt.Scale(domain=names, range=["stroke", "triangle-up", "triangle-down", "cross"][: len(names)]),
                legend=alt.Legend(title="above each run", symbolStrokeColor=GREY, symbolFillColor=None),
            ),
            tooltip=[
                alt.Tooltip("bound:N", title="what"),
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("run:N", title="run"),
                alt.Tooltip("at:Q", title="its log10", format=".4f"),
                alt.Tooltip("y:Q", title="log10 λ_max(F)", format=".4f"),
            ],
        )
    )
    both: alt.LayerChart = alt.layer(marks, points).resolve_scale(shape="independent", color="independent")
    return both


def _chart(frame: pd.DataFrame, colour: str | None) -> alt.Chart | alt.LayerChart:
    x = alt.X(
        "across_drawn:Q",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(title="σ²_max(J), largest over the inputs", labelExpr=power_of_ten(), tickCount=6),
    )
    y = alt.Y(
        "drawn:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="λ_max(F)", labelExpr=power_of_ten(), tickCount=6)
    )
    chart = alt.Chart(inline(frame, "relation_runs")).mark_point(
        size=34, opacity=0.75, strokeWidth=1.4, cursor="pointer"
    )
    chart = chart.encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("panel:N", title="network"),
            alt.Tooltip("up:N", title="row"),
            alt.Tooltip("across:N", title="column"),
            alt.Tooltip("seed:N"),
            alt.Tooltip("run:N", title="run"),
            alt.Tooltip("x:Q", title="log10 σ²_max(J)", format=".4f"),
            alt.Tooltip("y:Q", title="log10 λ_max(F)", format=".4f"),
        ],
    )
    if colour is not None:
        panels = list(dict.fromkeys(frame["panel"]))
        legend = alt.Legend(title="network")
        chart = chart.encode(
            color=alt.Color(
                "panel:N", scale=alt.Scale(domain=panels, range=list(SERIES[: len(panels)])), legend=legend
            ),
            shape=alt.Shape(
                "panel:N", scale=alt.Scale(domain=panels, range=list(SHAPES[: len(panels)])), legend=legend
            ),
        )
    else:
        chart = chart.encode(color=alt.value(INK))
    return _with_bounds(chart, frame).properties(width=380, height=300)


def _caption(total: int, shown: int, found: Correlation | None, far: int, far_across: int, bounds: list[str]) -> str:
    sentences = [
        f"Every point is one run at initialisation ({plural(total, 'run')} with both values), nothing averaged; "
        "both axes are logarithmic."
    ]
    if found is not None:
        low, high = found.pearson_interval
        rank_low, rank_high = found.spearman_interval
        sentences.append(
            f"Of the logarithms, Pearson's correlation is {found.pearson:.3f} (95 % interval {low:.3f} to "
            f"{high:.3f}) and "
            f"Spearman's {found.spearman:.3f} ({rank_low:.3f} to {rank_high:.3f}); percentile bootstrap, {RESAMPLES:,} "
            f"resamples of the {plural(found.groups, 'cell')} with all their seeds. It mixes all networks of the "
            "sweep, and "
            "says nothing of a cause."
        )
    else:
        sentences.append("Too few different cells for a correlation.")
    if bounds:
        sentences.append(f"Grey marks at the same place across are what bounds each run's λ_max: {'; '.join(bounds)}.")
    if far:
        runs = "1 run is" if far == 1 else f"{far} runs are"
        sentences.append(f"{runs} so far off in λ_max that {'it stands' if far == 1 else 'they stand'} at the edge.")
    if far_across:
        runs = "1 run is" if far_across == 1 else f"{far_across} runs are"
        sentences.append(f"{runs} as far off in σ²_max.")
    if shown < total:
        sentences.append(f"The page draws {shown:,} of the points, chosen by run id; the correlation is of all.")
    return " ".join(sentences)
