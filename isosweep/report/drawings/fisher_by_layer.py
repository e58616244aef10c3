"""The Fisher matrix layer by layer: λ_max of every diagonal block, and the blocks' spectra where they were kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from isosweep.report.appearance import SEQUENTIAL, power_of_ten
from isosweep.report.axes import axis_title, short
from isosweep.report.cells import Cells, evenly
from isosweep.report.critical import critical_gains
from isosweep.report.described import Described, inline, plural
from isosweep.report.reading import Tables
from isosweep.report.statistics import fences
from isosweep.report.thinning import NetworkSpectra, block_series, fisher_points, layer_number

__all__ = ["fisher_by_layer", "fisher_layer_spectra"]

_MOST_LINES = 6
_MOST_SEEDS = 5
_MOST_BLOCKS = 8
_FEWEST_DECADES = 6.0


def _deepest(cells: Cells, run_ids: list[str]) -> pd.DataFrame:
    runs = cells.shown[cells.shown["run_id"].isin(run_ids)]
    up = cells.roles.up
    if len(runs) and up is not None and runs[up].notna().any():
        runs = runs[runs[up] == runs[up].dropna().max()]
    return runs.sort_values(["cell", "seed", "run_id"], kind="stable")


def _where(cells: Cells, runs: pd.DataFrame) -> str:
    up = cells.roles.up
    return f" at {up.replace('_', ' ')} {short(runs[up].iloc[0])}" if up is not None else ""


def fisher_by_layer(cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> Described | None:
    """λ_max of each layer's block against the layer, a panel for each family; None where no block was kept."""
    networks = {n.run_id: n for members in by_cell.values() for n in members if n.blocks}
    runs = _deepest(cells, list(networks))
    if not len(runs):
        return None
    across = cells.roles.across
    kept: list[object] = []
    if across is not None:
        kept = evenly(sorted(runs[across].dropna().unique()), _MOST_LINES)
        runs = runs[runs[across].isin(kept)] if kept else runs
    rows: list[tuple[object, ...]] = []
    lost = 0
    for run in runs.groupby("cell", sort=False).head(_MOST_SEEDS).to_dict("records"):
        line = short(run[across]) if across is not None else "all"
        for layer, value, block in block_series(networks[run["run_id"]]).itertuples(index=False):
            if math.isfinite(value) and value > 0:
                rows.append((run["panel"], line, short(run["seed"]), int(layer), block, round(math.log10(value), 4)))
            else:
                lost += 1
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["panel", "line", "seed", "layer", "block", "log10"])
    low, high = fences(frame["log10"], least=_FEWEST_DECADES / 3)
    far = int(((frame["log10"] < low) | (frame["log10"] > high)).sum())
    drawn = frame.assign(drawn=frame["log10"].where((frame["log10"] >= low) & (frame["log10"] <= high)))
    title = axis_title(across) if across else None
    order = sorted(set(frame["line"]), key=lambda word: (_number(word), word))
    chart = (
        alt.Chart()
        .mark_line(strokeWidth=1.1, point=alt.OverlayMarkDef(size=14, filled=True))
        .encode(
            x=alt.X("layer:Q", scale=alt.Scale(nice=False, padding=6), axis=alt.Axis(title="layer (the readout last)")),
            y=alt.Y(
                "drawn:Q",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(title="λ_max of the layer's block", labelExpr=power_of_ten(), tickCount=6),
            ),
            color=alt.Color("line:O", scale=alt.Scale(domain=order, scheme=SEQUENTIAL), legend=alt.Legend(title=title)),
            detail="seed:N",
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("line:N", title=title or "runs"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("block:N", title="layer"),
                alt.Tooltip("log10:Q", title="log10 λ_max of its block", format=".4f"),
            ],
        )
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, frame["panel"].nunique()),
            data=inline(drawn, "fisher_by_layer"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    caption = (
        "The largest eigenvalue of every layer's diagonal block of the Fisher matrix (its weights and biases) against "
        f"the layer, on a logarithmic axis, at initialisation{_where(cells, runs)}; a line for each seed, nothing "
        "averaged."
    )
    if far:
        caption += f" {plural(far, 'value is', 'values are')} far off, outside the axis; the numbers have them."
    if lost:
        caption += f" {plural(lost, 'value')} of 0 cannot stand on the axis."
    if across is not None and kept and len(kept) < cells.runs[across].nunique():
        caption += f" {len(kept)} of {cells.runs[across].nunique()} values of {across.replace('_', ' ')} are shown."
    return Described(
        name="fisher_by_layer",
        title="Fisher information by layer",
        chart=chart,
        caption=caption,
        alternative=(
            f"λ_max of each layer's block of the Fisher matrix against the layer, "
            f"{plural(frame['panel'].nunique(), 'panel')}; from 1e{frame['log10'].min():.1f} to "
            f"1e{frame['log10'].max():.1f}."
        ),
        data=frame.rename(columns={"line": across or "runs", "log10": "log10 lambda_max"}),
        section="spectra",
        panel_width=220,
        gutter=80,
        legend=95,
    )


def fisher_layer_spectra(tables: Tables, cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> Described | None:
    """The spectrum of every layer's block, of one network a family; None where only summaries were kept."""
    networks = {n.run_id: n for members in by_cell.values() for n in members if n.blocks}
    runs = _nearest_critical(_deepest(cells, list(networks)), cells)
    if not len(runs):
        return None
    spectra: dict[str, dict[str, np.ndarray]] = {}
    for row in tables.rows("fisher", list(runs["run_id"]), ("run_id", "block", "eigenvalues")):
        if row["block"] != "all" and row.get("eigenvalues") is not None:
            spectra.setdefault(row["run_id"], {})[row["block"]] = row["eigenvalues"]
    rows: list[tuple[object, ...]] = []
    said = []
    zeros = 0
    for run in runs.to_dict("records"):
        blocks = spectra.get(run["run_id"], {})
        deepest = max((n for b in blocks if b != "readout" and (n := layer_number(b, 0)) is not None), default=0)
        numbered = sorted((n, b) for b in blocks if (n := layer_number(b, deepest)) is not None)
        for number, block in evenly(numbered, _MOST_BLOCKS):
            points = fisher_points(blocks[block])
            zeros += points.zeros
            rows += [
                (run["panel"], number, block, float(f"{x:.4g}"), round(float(y), 4))
                for x, y in zip(points.x, points.log10, strict=True)
            ]
        if blocks:
            said.append(f"{run['panel']} at {_setting(run, cells)}seed {short(run['seed'])}")
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["panel", "layer", "block", "rank", "log10"])
    chart = (
        alt.Chart()
        .mark_line(strokeWidth=1.3)
        .encode(
            x=alt.X(
                "rank:Q",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(title="rank of the eigenvalue", format="~r", tickCount=5),
            ),
            y=alt.Y(
                "log10:Q",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(title="eigenvalue of the layer's block", labelExpr=power_of_ten(), tickCount=6),
            ),
            color=alt.Color("layer:Q", scale=alt.Scale(scheme=SEQUENTIAL), legend=alt.Legend(title="layer l")),
            detail="block:N",
            tooltip=[
                alt.Tooltip("panel:N", title="network"),
                alt.Tooltip("block:N", title="layer"),
                alt.Tooltip("rank:Q"),
                alt.Tooltip("log10:Q", title="log10 of the eigenvalue", format=".4f"),
            ],
        )
        .properties(width=220, height=180)
        .facet(
            facet=alt.Facet("panel:N", sort=list(cells.panels), header=alt.Header(title=None)),
            columns=min(2, frame["panel"].nunique()),
            data=inline(frame, "fisher_layer_spectra"),
        )
        .resolve_axis(x="independent", y="independent")
    )
    caption = (
        "Eigenvalues of the layers' diagonal blocks of the Fisher matrix against their rank, largest first, on two "
        f"logarithmic axes; one network a panel ({'; '.join(said)}), nothing averaged. At most {_MOST_BLOCKS} layers "
        "of each are drawn, evenly spread, and 40 points of each spectrum, evenly by rank."
    )
    if zeros:
        caption += f" {plural(zeros, 'eigenvalue')} of 0 cannot stand on the logarithmic axis."
    return Described(
        name="fisher_layer_spectra",
        title="Fisher spectra of the layers",
        chart=chart,
        caption=caption,
        alternative=f"Spectra of the layers' blocks of the Fisher matrix, {plural(frame['panel'].nunique(), 'panel')}.",
        data=frame,
        section="spectra",
        panel_width=220,
        gutter=80,
        legend=80,
    )


def _nearest_critical(runs: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """One run a panel: of the gain nearest the critical line, else in the middle of what goes across."""
    if not len(runs):
        return runs
    across = cells.roles.across
    lines = critical_gains(runs, ["panel"]) if across == "gain" else {}
    chosen = []
    for panel, family in runs.groupby("panel", sort=False):
        line = lines.get((str(panel),))
        if across is not None and family[across].notna().any():
            values = sorted(family[across].dropna().unique())
            middle = values[len(values) // 2]
            if line is not None and line.gain is not None:
                wanted = float(line.gain)
                middle = values[int(np.argmin([abs(value - wanted) for value in values]))]
            family = family[family[across] == middle]
        chosen.append(family.head(1))
    return pd.concat(chosen)


def _setting(run: Mapping[Any, Any], cells: Cells) -> str:
    names = [name for name in (cells.roles.up, cells.roles.across) if name is not None]
    return "".join(f"{name.replace('_', ' ')} {short(run[name])}, " for name in names)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.inf
