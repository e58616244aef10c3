"""Spectra of the sweep side by side: a panel for each family of networks, a line for each gain, one depth, one seed."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from isosweep.report.appearance import SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title, short
from isosweep.report.cells import Cells, evenly
from isosweep.report.described import Described, inline, plural
from isosweep.report.statistics import fences
from isosweep.report.thinning import NetworkSpectra

__all__ = ["spectra_overview"]

_MOST_LINES = 8
_FEWEST_DECADES = 15.0  # what stays in view below and above the bulk of the values
_WIDTH, _HEIGHT = 230, 190
_KINDS = {
    "fisher": (
        "Fisher spectra",
        "rank of the eigenvalue",
        "eigenvalue λ of F",
        "Eigenvalues of the Fisher information matrix against their rank, largest first, on two logarithmic axes",
    ),
    "jacobian": (
        "Jacobian spectra",
        "share of values that are larger",
        "singular value s of J",
        "Singular values of the Jacobian ∂x^L/∂x^0, pooled over the sampled inputs, against the share of values "
        "that are larger; "
        "the vertical axis is logarithmic, so that collapsing tails are seen",
    ),
}


def spectra_overview(kind: str, cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> Described | None:
    """The `fisher` or the `jacobian` spectra at the greatest depth that has them; None where there are none."""
    title, x_title, y_title, sentence = _KINDS[kind]
    roles = cells.roles
    found: dict[str, NetworkSpectra] = {}
    for networks in by_cell.values():
        for network in networks:
            points = getattr(network, kind)
            if points is not None and len(points.x):
                found[network.run_id] = network
    runs = cells.shown[cells.shown["run_id"].isin(list(found))]
    if not len(runs):
        return None
    where = ""
    if roles.up is not None and runs[roles.up].notna().any():
        deepest = runs[roles.up].dropna().max()
        runs = runs[runs[roles.up] == deepest]
        where = f" at {roles.up.replace('_', ' ')} {short(deepest)}"
    runs = runs.sort_values(["cell", "seed", "run_id"], kind="stable").drop_duplicates("cell")
    across = roles.across
    rows = []
    if across is not None:
        kept = evenly(sorted(runs[across].dropna().unique()), _MOST_LINES)
        runs = runs[runs[across].isin(kept)] if kept else runs
    zeros = 0
    for run in runs.to_dict("records"):
        points = getattr(found[run["run_id"]], kind)
        zeros += points.zeros
        value = short(run[across]) if across is not None else "all"
        rows += [
            {
                "panel": run["panel"],
                "across": value,
                "seed": short(run["seed"]),
                "x": float(f"{x:.4g}"),
                "y": round(float(y), 4),
            }
            for x, y in zip(points.x, points.log10, strict=True)
        ]
    frame = pd.DataFrame(rows)
    # Singular values are exact however small, and a collapsed tail is what one looks for: all are drawn.
    bottom, top = (-math.inf, math.inf) if kind == "jacobian" else fences(frame["y"], least=_FEWEST_DECADES / 3)
    far = int(((frame["y"] < bottom) | (frame["y"] > top)).sum())
    # A curve that leaves the range is cut there, not drawn along its edge.
    frame["drawn"] = frame["y"].where((frame["y"] >= bottom) & (frame["y"] <= top))
    order = sorted(set(frame["across"]), key=lambda word: (len(word) == 0, _number(word), word))
    chart = (
        alt.Chart()
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X(
                "x:Q",
                scale=alt.Scale(type="log", nice=False) if kind == "fisher" else alt.Scale(nice=False, zero=False),
                axis=alt.Axis(title=x_title, format="~r", tickCount=5),
            ),
            y=alt.Y(
                "drawn:Q",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(title=y_title, labelExpr=power_of_ten(), tickCount=6),
            ),
            color=alt.Color(
                "across:O",
                sort=order,
                scale=alt.Scale(domain=order, scheme=SEQUENTIAL),
                legend=alt.Legend(title=axis_title(across) if across else None),
            ),
            strokeDash=alt.StrokeDash(
                "across:O",
                scale=alt.Scale(domain=order),
                legend=alt.Legend(title=axis_title(across) if across else None),
            ),
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("across:N", title=axis_title(across) if across else "runs"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("x:Q", title=x_title),
                alt.Tooltip("y:Q", title=f"log10 of {y_title}", format=".4f"),
            ],
        )
        .properties(width=_WIDTH, height=_HEIGHT)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, len(cells.panels)),
            data=inline(frame, f"{kind}_spectra"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    seeds = sorted(set(frame["seed"]), key=_number)
    caption = (
        f"{sentence}; one network a line{where}, of one seed "
        f"({'seed ' if len(seeds) == 1 else 'seeds '}{', '.join(seeds)}: "
        "the first of its cell that has a record), nothing averaged."
    )
    if zeros:
        caption += (
            f" {zeros:,} exact zeros or values that are not finite cannot stand on the logarithmic axis and are "
            "left out."
        )
    if across is not None and len(kept) < cells.runs[across].nunique():
        caption += f" {len(kept)} of {cells.runs[across].nunique()} values of {across.replace('_', ' ')} are shown."
    if far:
        caption += (
            f" {plural(far, 'point')} below 1e{bottom:.0f} or above 1e{top:.0f} are outside the axis; the numbers have "
            "them, and so has the figure of their network."
        )
    low, high = frame["y"].min(), frame["y"].max()
    return Described(
        name=f"{kind}_spectra",
        title=title,
        chart=chart,
        caption=caption + " Curves are thinned to 40 points, evenly by rank.",
        alternative=(
            f"{title}, a panel for each of {len(cells.panels)} network families; values from 1e{low:.1f} to "
            f"1e{high:.1f}."
        ),
        data=frame.drop(columns=["drawn"]).rename(
            columns={"across": across or "runs", "y": "log10", "x": "rank" if kind == "fisher" else "share"}
        ),
        section="spectra",
        panel_width=_WIDTH,
        gutter=80,
        legend=95,
    )


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("inf")
