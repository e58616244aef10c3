"""Spectra small enough for a page: a few dozen points of each, chosen by rank alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isosweep.report.cells import Cells, evenly
from isosweep.report.reading import Tables

__all__ = [
    "LAYERS",
    "NetworkSpectra",
    "Points",
    "block_series",
    "fisher_points",
    "layer_number",
    "pooled",
    "ranks",
    "spectra_of",
]

Array = NDArray[np.float64]

POINTS = 40
LAYERS = 25
_MOST_RUNS = 1500  # with spectra on one page
_LN10 = math.log(10)
# Columns of the table `layers` and where a network has them.
_OF_LAYERS = {
    "q": "variance",
    "correlation": "correlation",
    "theory_q": "theory_variance",
    "theory_correlation": "theory_correlation",
}


@dataclass(frozen=True)
class Points:
    """x and log₁₀ y of a thinned curve; `zeros` counts the exact zeros (and below) left out, `of` all values."""

    x: Array
    log10: Array
    zeros: int = 0
    of: int = 0


@dataclass
class NetworkSpectra:
    """What is known of one run's spectra."""

    run_id: str
    seed: object
    fisher: Points | None = None
    jacobian: Points | None = None
    blocks: dict[str, float] = field(default_factory=dict)
    variance: dict[int, float] = field(default_factory=dict)
    correlation: dict[int, float] = field(default_factory=dict)
    theory_variance: dict[int, float] = field(default_factory=dict)
    theory_correlation: dict[int, float] = field(default_factory=dict)


def ranks(count: int, most: int = POINTS) -> NDArray[np.int64]:
    """At most `most` of the ranks 1..count, evenly spread on a logarithmic axis, both ends among them."""
    if count <= most:
        return np.arange(1, count + 1)
    return np.unique(np.round(np.geomspace(1, count, most)).astype(np.int64))


def fisher_points(eigenvalues: Array) -> Points:
    """Positive eigenvalues, largest first, against their rank."""
    eigenvalues = np.asarray(eigenvalues, dtype=float)
    finite = eigenvalues[np.isfinite(eigenvalues)]
    positive = -np.sort(-finite[finite > 0])
    if not len(positive):
        return Points(np.empty(0), np.empty(0), len(eigenvalues), len(eigenvalues))
    chosen = ranks(len(positive))
    zeros = len(eigenvalues) - len(positive)
    return Points(chosen.astype(float), np.log10(positive[chosen - 1]), zeros, len(eigenvalues))


def pooled(logs: Sequence[Array]) -> Points:
    """Singular values of several inputs, pooled and sorted; x is the share of values at least as large."""
    everything = np.concatenate([np.asarray(part, dtype=float) for part in logs]) if logs else np.empty(0)
    finite = -np.sort(-everything[np.isfinite(everything)])
    if not len(finite):
        return Points(np.empty(0), np.empty(0), len(everything), len(everything))
    places = np.unique(np.round(np.linspace(0, len(finite) - 1, min(POINTS, len(finite)))).astype(np.int64))
    share = (places + 0.5) / len(everything)
    return Points(share, finite[places] / _LN10, len(everything) - len(finite), len(everything))


def spectra_of(tables: Tables, cells: Cells) -> tuple[dict[str, list[NetworkSpectra]], str]:
    """The thinned spectra of every cell on the page, by cell; and a note on what had to be left out."""
    runs = cells.shown[cells.shown["status"].isin(["done", "diverged"])]
    note = ""
    if len(runs) > _MOST_RUNS:
        names = list(dict.fromkeys(runs["cell"]))
        kept = evenly(names, max(2, int(_MOST_RUNS / (len(runs) / len(names)))))
        note = (
            f"Spectra of {len(kept):,} of the {len(names):,} cells are on this page, evenly spread; the tables have "
            "them all."
        )
        runs = runs[runs["cell"].isin(kept)]
    found = {run_id: NetworkSpectra(run_id, seed) for run_id, seed in zip(runs["run_id"], runs["seed"], strict=True)}
    ids = list(found)
    for row in tables.rows("fisher", ids, ("run_id", "block", "eigenvalues", "lambda_max")):
        network = found[row["run_id"]]
        if row["block"] == "all":
            if row["eigenvalues"] is not None:
                network.fisher = fisher_points(row["eigenvalues"])
        elif row.get("lambda_max") is not None:
            network.blocks[row["block"]] = row["lambda_max"]
    logs: dict[str, list[Array]] = {}
    for row in tables.rows("jacobian", ids, ("run_id", "log_singular_values")):
        if row["log_singular_values"] is not None:
            logs.setdefault(row["run_id"], []).append(row["log_singular_values"])
    for run_id, parts in logs.items():
        found[run_id].jacobian = pooled(parts)
    for row in tables.rows("layers", ids, ("run_id", "layer", *_OF_LAYERS)):
        network = found[row["run_id"]]
        if row["layer"] is not None:
            for column, name in _OF_LAYERS.items():
                if row.get(column) is not None:
                    getattr(network, name)[int(row["layer"])] = row[column]
    by_cell: dict[str, list[NetworkSpectra]] = {}
    for cell, run_id in zip(runs["cell"], runs["run_id"], strict=True):
        by_cell.setdefault(cell, []).append(found[run_id])
    return by_cell, note


def layer_number(block: str, deepest: int) -> int | None:
    """The layer of a block of the Fisher matrix: 1 to L, the readout after the last."""
    if block == "readout":
        return deepest + 1
    digits = "".join(ch for ch in block if ch.isdigit())
    return int(digits) if digits else None


def block_series(network: NetworkSpectra) -> pd.DataFrame:
    """λ_max of each block against its layer, thinned."""
    numbers = [layer_number(block, 0) for block in network.blocks if block != "readout"]
    deepest = max((n for n in numbers if n is not None), default=0)
    pairs = sorted(
        (number, float(value), block)
        for block, value in network.blocks.items()
        if (number := layer_number(block, deepest)) is not None
    )
    return pd.DataFrame(evenly(pairs, LAYERS), columns=["layer", "lambda_max", "block"])
