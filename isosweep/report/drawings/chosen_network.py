"""The spectra of one cell of the sweep, all its seeds: the figure that follows the cell chosen on the page."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import pandas as pd

from isosweep.report.appearance import SERIES, SHAPES, power_of_ten
from isosweep.report.axes import axis_title, short
from isosweep.report.cells import Cells
from isosweep.report.described import Described, inline, join_words, plural
from isosweep.report.thinning import LAYERS, NetworkSpectra, block_series

__all__ = ["PARTS", "cell_labels", "cell_rows", "cell_said", "chosen_network", "first_cell"]

# The data sources of the figure, in their order; the page replaces them when a cell is chosen.
PARTS = ("network_fisher", "network_jacobian", "network_blocks", "network_layers")
_WIDTH, _HEIGHT = 230, 170
_MOST_SEEDS = 14  # with a legend


def _log10(value: float | None) -> float | None:
    return math.log10(value) if value is not None and math.isfinite(value) and value > 0 else None


def cell_rows(networks: list[NetworkSpectra]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each data source for one cell."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in PARTS}
    for network in networks:
        seed = short(network.seed)
        for name, points in (("network_fisher", network.fisher), ("network_jacobian", network.jacobian)):
            if points is not None:
                rows[name] += [
                    {"seed": seed, "x": float(f"{x:.4g}"), "y": round(float(y), 4)}
                    for x, y in zip(points.x, points.log10, strict=True)
                ]
        for layer, value, block in block_series(network).itertuples(index=False):
            if (y := _log10(value)) is not None:
                rows["network_blocks"].append({"seed": seed, "x": int(layer), "y": round(y, 4), "block": block})
        layers = sorted(network.variance)
        step = max(1, -(-len(layers) // LAYERS))
        for layer in dict.fromkeys([*layers[::step], *layers[-1:]]):
            if (y := _log10(network.variance[layer])) is not None:
                rows["network_layers"].append({"seed": seed, "x": layer, "y": round(y, 4)})
    return rows


def cell_labels(cells: Cells) -> dict[str, str]:
    """The name of every cell: 'tanh, orthogonal, depth 64, gain 1.2'."""
    first = cells.shown.drop_duplicates("cell")
    label = first["panel"].astype(str)
    for name in (cells.roles.up, cells.roles.across):
        if name:
            label = label + f", {name.replace('_', ' ')} " + first[name].map(short)
    return dict(zip(first["cell"], label, strict=True))


def first_cell(cells: Cells, by_cell: dict[str, list[NetworkSpectra]]) -> str | None:
    """The cell shown before one is chosen: the deepest of the first panel, in the middle of the gains."""
    known = cells.shown[cells.shown["cell"].isin(list(by_cell))]
    if not len(known):
        return None
    known = known[known["panel"] == known["panel"].iloc[0]]
    if cells.roles.up is not None:
        known = known[known[cells.roles.up].map(short) == short(known[cells.roles.up].iloc[-1])]
    names = list(dict.fromkeys(known["cell"]))
    return str(names[len(names) // 2])


def chosen_network(cells: Cells, by_cell: dict[str, list[NetworkSpectra]], note: str) -> Described | None:
    """Fisher and Jacobian spectra, λ_max by layer and the variances of one cell; None where there is no spectrum."""
    cell = first_cell(cells, by_cell)
    if cell is None:
        return None
    rows = cell_rows(by_cell[cell])
    # Which parts there are is a matter of the sweep, not of the cell shown first.
    has = {
        "network_fisher": any(n.fisher is not None for ns in by_cell.values() for n in ns),
        "network_jacobian": any(n.jacobian is not None for ns in by_cell.values() for n in ns),
        "network_blocks": any(n.blocks for ns in by_cell.values() for n in ns),
        "network_layers": any(n.variance for ns in by_cell.values() for n in ns),
    }
    seeds = sorted({short(n.seed) for ns in by_cell.values() for n in ns}, key=lambda word: (len(word), word))
    drawn = [_part(name, rows[name], seeds) for name in PARTS if has[name]]
    if not drawn:
        return None
    label = cell_labels(cells)[cell]
    data = pd.DataFrame(
        [(name.removeprefix("network_"), row["seed"], row["x"], row["y"]) for name in PARTS for row in rows[name]],
        columns=["part", "seed", "rank, share or layer", "log10"],
    )
    return Described(
        name="chosen_network",
        title="Spectra of one network",
        chart=alt.concat(*drawn, columns=2).resolve_scale(color="shared", shape="shared"),
        caption=_caption(cell_said(label, by_cell[cell]), has, note),
        alternative=f"Spectra of {label}, a line for each of {plural(len(by_cell[cell]), 'seed')}: "
        + join_words([_WORDS[name] for name in PARTS if has[name]])
        + ".",
        data=data,
        section="curvature",
        panel_width=_WIDTH,
        gutter=85,
        beside="fisher_lambda_max",
    )


_WORDS = {
    "network_fisher": "Fisher eigenvalues against their rank",
    "network_jacobian": "singular values of the Jacobian",
    "network_blocks": "largest Fisher eigenvalue of each layer",
    "network_layers": "variance of the pre-activations of each layer",
}


def cell_said(label: str, networks: list[NetworkSpectra]) -> str:
    """What is said of one cell: its name, its seeds, the zeros that cannot be drawn."""
    seeds = [short(network.seed) for network in networks]
    said = f"{label}: {plural(len(seeds), 'seed')} with a record ({', '.join(seeds)})."
    zeros = sum(n.jacobian.zeros for n in networks if n.jacobian is not None)
    of = sum(n.jacobian.of for n in networks if n.jacobian is not None)
    if zeros:
        said += f" {zeros:,} of {plural(of, 'singular value')} are exact zeros and cannot stand on a logarithmic axis."
    lost = sum(n.fisher.zeros for n in networks if n.fisher is not None)
    if lost:
        said += f" {plural(lost, 'Fisher eigenvalue')} are zero and not drawn."
    return said


def _caption(said: str, has: dict[str, bool], note: str) -> str:
    sentences = [
        "The spectra of one cell of the sweep, a line for each of its seeds, none averaged; choosing a cell in any "
        "figure, "
        f"or a network in the list, shows another. First shown is {said}"
    ]
    if has["network_fisher"]:
        sentences.append(
            "Eigenvalues of the Fisher matrix stand against their rank, largest first, on two logarithmic axes."
        )
    if has["network_jacobian"]:
        sentences.append(
            "Singular values of the Jacobian, of all sampled inputs, stand against the share that is larger."
        )
    if has["network_blocks"]:
        sentences.append("Each layer's block of the Fisher matrix has its largest eigenvalue; the readout stands last.")
    sentences.append("Curves are thinned to 40 points, evenly by rank.")
    if note:
        sentences.append(note)
    return " ".join(sentences)


def _part(name: str, rows: list[dict[str, Any]], seeds: list[str]) -> alt.Chart:
    titles = {
        "network_fisher": ("rank", "eigenvalue λ of F", "Fisher spectrum", "log"),
        "network_jacobian": ("share of values that are larger", "singular value s of J", "Jacobian spectrum", "linear"),
        "network_blocks": ("layer (the readout last)", "λ_max of the layer's block", "Fisher by layer", "linear"),
        "network_layers": (axis_title("layer"), "mean of squares q^l", "Pre-activation variance", "linear"),
    }
    x_title, y_title, title, scale = titles[name]
    # One domain for colour and shape, and the same for every cell, so that a seed keeps its look and has one legend.
    colours = [SERIES[i % len(SERIES)] for i in range(len(seeds))]
    shapes = [SHAPES[(i + i // len(SERIES)) % len(SHAPES)] for i in range(len(seeds))]
    legend = alt.Legend(title="seed", orient="bottom", columns=6) if len(seeds) <= _MOST_SEEDS else None
    chart: alt.Chart = (
        alt.Chart(inline(rows, name), title=title)
        .mark_line(point=alt.OverlayMarkDef(size=22, filled=True), strokeWidth=1.2)
        .encode(
            x=alt.X(
                "x:Q",
                title=x_title,
                scale=_scale(scale),
                axis=alt.Axis(tickCount=5, format="~r"),
            ),
            y=alt.Y(
                "y:Q", title=y_title, scale=alt.Scale(zero=False), axis=alt.Axis(labelExpr=power_of_ten(), tickCount=6)
            ),
            color=alt.Color("seed:N", scale=alt.Scale(domain=seeds, range=colours), legend=legend),
            shape=alt.Shape("seed:N", scale=alt.Scale(domain=seeds, range=shapes), legend=legend),
            tooltip=[
                alt.Tooltip("seed:N"),
                alt.Tooltip("x:Q", title=x_title),
                alt.Tooltip("y:Q", title=f"log10 of {y_title}", format=".4f"),
            ],
        )
        .properties(width=_WIDTH, height=_HEIGHT)
    )
    return chart


def _scale(kind: str) -> alt.Scale:
    return alt.Scale(type="log", nice=False) if kind == "log" else alt.Scale(type="linear", nice=False, zero=False)
