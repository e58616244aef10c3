"""Variance and correlation of the pre-activations along the depth, measured beside the mean-field recursion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title, short
from isosweep.report.cells import Cells, evenly
from isosweep.report.described import Described, inline, plural
from isosweep.report.thinning import LAYERS, NetworkSpectra

__all__ = ["PROFILES", "Profile", "layer_profile"]

_MOST_LINES = 6
_MOST_SEEDS = 5


@dataclass(frozen=True)
class Profile:
    """A quantity of every layer: where a network has it, measured and predicted, and how it is said."""

    name: str
    measured: str
    predicted: str
    title: str
    axis: str
    sentence: str
    logarithmic: bool


PROFILES = (
    Profile(
        "layer_variance",
        "variance",
        "theory_variance",
        "Variance along the depth",
        "variance q^l",
        "the variance q^l of the pre-activations (the mean of their squares over units and inputs)",
        True,
    ),
    Profile(
        "layer_correlation",
        "correlation",
        "theory_correlation",
        "Correlation along the depth",
        "correlation c^l",
        "the mean correlation c^l of the pre-activations of two different inputs",
        False,
    ),
)


def layer_profile(profile: Profile, cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> Described | None:
    """`profile` against the layer at the greatest depth, a panel for each family; None where no layer has it."""
    runs = _deepest(profile, cells, by_cell)
    if not len(runs):
        return None
    networks = {n.run_id: n for members in by_cell.values() for n in members}
    across = cells.roles.across
    kept: list[object] = []
    if across is not None:
        kept = evenly(sorted(runs[across].dropna().unique()), _MOST_LINES)
        runs = runs[runs[across].isin(kept)] if kept else runs
    rows: list[tuple[object, ...]] = []
    predicted = 0
    most = int(runs.groupby("cell").size().max())
    for _, group in runs.groupby("cell", sort=False):
        for place, run in enumerate(group.head(_MOST_SEEDS).to_dict("records")):
            network = networks[run["run_id"]]
            line = short(run[across]) if across is not None else "all"
            key = (run["panel"], line, short(run["seed"]))
            # Every seed has inputs of its own, and so a prediction of its own; they hardly differ.
            theory = getattr(network, profile.predicted) if place == 0 else {}
            predicted += bool(theory)
            measured = getattr(network, profile.measured)
            for layer in evenly(sorted(set(measured) | set(theory)), LAYERS):
                values = [_value(part.get(layer), profile.logarithmic) for part in (measured, theory)]
                if any(value is not None for value in values):
                    rows.append((*key, layer, *values))
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["panel", "line", "seed", "layer", "measured", "theory"])
    frame[["measured", "theory"]] = frame[["measured", "theory"]].astype(float)
    return Described(
        name=profile.name,
        title=profile.title,
        chart=_chart(frame, profile, cells),
        caption=_caption(profile, cells, runs, kept, predicted, most),
        alternative=(
            f"{profile.axis} against the layer, {plural(frame['panel'].nunique(), 'panel')}; points are measured"
            + (f", lines predicted; the largest distance is {_farthest(frame, profile)}." if predicted else ".")
        ),
        data=frame.rename(
            columns={"line": across or "runs"}
            | ({"measured": "log10 measured", "theory": "log10 theory"} if profile.logarithmic else {})
        ),
        section="theory",
        panel_width=220,
        gutter=80,
        legend=95,
    )


def _deepest(profile: Profile, cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> pd.DataFrame:
    """The runs of the greatest depth (or whatever goes up) that have the quantity."""
    have = [n.run_id for members in by_cell.values() for n in members if getattr(n, profile.measured)]
    runs = cells.shown[cells.shown["run_id"].isin(have)]
    up = cells.roles.up
    if len(runs) and up is not None and runs[up].notna().any():
        runs = runs[runs[up] == runs[up].dropna().max()]
    return runs.sort_values(["cell", "seed", "run_id"], kind="stable")


def _value(value: float | None, logarithmic: bool) -> float | None:
    if value is None or not math.isfinite(value) or (logarithmic and value <= 0):
        return None
    return round(math.log10(value), 5) if logarithmic else float(f"{value:.6g}")


def _farthest(frame: pd.DataFrame, profile: Profile) -> str:
    distance = (frame["measured"] - frame["theory"]).abs().max()
    return f"{distance:.2g} decades" if profile.logarithmic else f"{distance:.2g}"


def _chart(frame: pd.DataFrame, profile: Profile, cells: Cells) -> alt.FacetChart:
    across = cells.roles.across
    title = axis_title(across) if across else None
    order = sorted(set(frame["line"]), key=lambda word: (_number(word), word))
    colour = alt.Color(
        "line:O",
        scale=alt.Scale(domain=order, scheme=SEQUENTIAL),
        legend=alt.Legend(title=[*([title] if title else []), "dashed: theory"]),
    )
    axis = alt.Axis(title=profile.axis, tickCount=6)
    if profile.logarithmic:
        axis.labelExpr = power_of_ten()
    base = alt.Chart().encode(
        x=alt.X(
            "layer:Q", scale=alt.Scale(zero=False, nice=False, padding=6), axis=alt.Axis(title=axis_title("layer"))
        ),
        color=colour,
    )
    points = (
        base.transform_filter("isValid(datum.measured)")
        .mark_point(filled=True, size=16, opacity=0.75)
        .encode(
            y=alt.Y("measured:Q", scale=alt.Scale(zero=False), axis=axis),
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("line:N", title=title or "runs"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("layer:Q"),
                alt.Tooltip("measured:Q", title=f"{'log10 ' if profile.logarithmic else ''}measured {profile.axis}"),
                alt.Tooltip("theory:Q", title=f"{'log10 ' if profile.logarithmic else ''}predicted {profile.axis}"),
            ],
        )
    )
    line = (
        base.transform_filter("isValid(datum.theory)")
        .mark_line(strokeWidth=1.4, strokeDash=[5, 3], aria=False)
        .encode(y=alt.Y("theory:Q", scale=alt.Scale(zero=False), axis=axis), detail="line:N")
    )
    layers = [line, points] if frame["theory"].notna().any() else [points]
    chart: alt.FacetChart = (
        alt.layer(*layers)
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, frame["panel"].nunique()),
            data=inline(frame, profile.name),
        )
        .resolve_axis(x="independent", y="independent")
    )
    return chart


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.inf


def _caption(profile: Profile, cells: Cells, runs: pd.DataFrame, kept: list[object], predicted: int, most: int) -> str:
    up, across = cells.roles.up, cells.roles.across
    where = ""
    if up is not None and runs[up].notna().any():
        where = f" at {up.replace('_', ' ')} {short(runs[up].iloc[0])}"
    scale = "a logarithmic axis" if profile.logarithmic else "a linear axis"
    sentences = [
        f"Points are {profile.sentence}, measured at initialisation in every layer{where} (the readout stands last), "
        f"on {scale}; every seed has its own points, nothing averaged."
    ]
    if predicted:
        sentences.append(
            "Dashed lines are the mean-field recursion from the inputs of the first seed, for infinite width; where it "
            "has no prediction there is no line."
        )
    else:
        sentences.append("The tables have no prediction beside them.")
    if most > _MOST_SEEDS:
        sentences.append(f"{_MOST_SEEDS} of up to {most} seeds are drawn, those of the least numbers.")
    if across is not None and kept and len(kept) < cells.runs[across].nunique():
        sentences.append(
            f"{len(kept)} of {cells.runs[across].nunique()} values of {across.replace('_', ' ')} are shown."
        )
    layers = [int(v) for v in runs["depth"].dropna()] if "depth" in runs else []
    if layers and np.max(layers) + 1 > LAYERS:
        sentences.append(f"{LAYERS} layers of each network are drawn, evenly spread.")
    return " ".join(sentences)
