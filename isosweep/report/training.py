"""The curves of a sweep that trains, as far as a page draws them: single runs, and medians with the range over seeds.

Of the networks the greatest depth (or whatever goes up) is taken, as for the spectra. A curve is thinned to evenly
spread epochs, the last among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isosweep.report.axes import short
from isosweep.report.cells import Cells, evenly
from isosweep.report.described import plural
from isosweep.report.reading import Tables

__all__ = ["Curves", "Speed", "banded", "curves_of", "speed_of"]

_MOST_LINES = 6
_MOST_PLACES = 60  # epochs of a curve
_MOST_RUNS = 1500
_IDENTITY = ("run_id", "panel", "line", "cell", "seed")


@dataclass(frozen=True)
class Curves:
    """The table `training` of the runs that are drawn, one row a run and epoch, with `panel`, `line`, `cell`, `seed`.

    `line` is what goes across, as text; `order` are its values in order, `across` its name. `diverged` counts runs that
    left the finite numbers. `note` says what was left out.
    """

    frame: pd.DataFrame
    runs: pd.DataFrame
    order: tuple[str, ...]
    across: str | None
    panels: tuple[str, ...]
    where: str
    diverged: int
    note: str

    def has(self, column: str) -> bool:
        """Whether any run has a value of this column."""
        return column in self.frame and bool(self.frame[column].notna().any())

    @property
    def facts(self) -> str:
        """What every caption of training says: which networks, and what was left out."""
        said = f"{plural(len(self.runs), 'run')}{self.where}"
        if self.diverged:
            said += f", {self.diverged:,} of which diverged and {'ends' if self.diverged == 1 else 'end'} there"
        return f"{said}. {self.note}".strip() if self.note else f"{said}."


def curves_of(tables: Tables, cells: Cells) -> Curves | None:
    """The curves of these tables; None where no run trained."""
    runs = cells.shown[cells.shown["status"].isin(["done", "diverged"])]
    if not tables.has("training") or not len(runs):
        return None
    across, up = cells.roles.across, cells.roles.up
    with_curve = tables.ids_beyond_start("training")
    runs = runs[runs["run_id"].isin(with_curve)]
    if not len(runs):
        return None
    where, notes = "", []
    if up is not None and runs[up].notna().any():
        greatest = runs[up].dropna().max()
        if runs[up].nunique() > 1:
            where = f" at {up.replace('_', ' ')} {short(greatest)}"
        runs = runs[runs[up] == greatest]
    if across is not None and runs[across].nunique() > _MOST_LINES:
        values = sorted(runs[across].dropna().unique())
        runs = runs[runs[across].isin(evenly(values, _MOST_LINES))]
        notes.append(f"{_MOST_LINES} of {len(values)} values of {across.replace('_', ' ')} are drawn.")
    if len(runs) > _MOST_RUNS:
        notes.append(f"{_MOST_RUNS:,} of {len(runs):,} runs are drawn, chosen by run id.")
        runs = runs.sort_values("run_id", kind="stable").head(_MOST_RUNS)
    runs = runs.sort_values(["cell", "seed", "run_id"], kind="stable")
    runs = runs.assign(line=runs[across].map(short) if across is not None else "all", seed=runs["seed"].map(short))
    table = tables.whole("training", list(runs["run_id"]))
    table, thinned = _thinned(table)
    if thinned:
        notes.append(f"Of every curve {_MOST_PLACES} epochs are drawn, evenly spread, and those with spectra.")
    frame = runs[list(_IDENTITY)].merge(table, on="run_id", how="inner")
    frame = frame.sort_values(["panel", "cell", "seed", "run_id", "step"], kind="stable").reset_index(drop=True)
    order = sorted(set(runs["line"]), key=_order)
    panels = tuple(panel for panel in cells.panels if (runs["panel"] == panel).any())
    diverged = int((runs["status"] == "diverged").sum())
    return Curves(frame, runs, tuple(order), across, panels, where, diverged, " ".join(notes))


def _order(word: str) -> tuple[float, str]:
    try:
        return (float(word), "")
    except ValueError:
        return (float("inf"), word)


def _thinned(table: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Rows at evenly spread epochs, and all rows with a spectrum or a measured smoothness."""
    epochs = sorted(table["epoch"].dropna().unique())
    if len(epochs) <= 2 * _MOST_PLACES:
        return table, False
    kept = table["epoch"].isin(evenly(epochs, _MOST_PLACES))
    for column in ("fisher_lambda_max", "jacobian_s_max", "hessian_lambda_max"):
        if column in table:
            kept |= table[column].notna()
    return table[kept], True


def banded(curves: Curves, columns: dict[str, str]) -> pd.DataFrame:
    """Median, least, most and n over the seeds at each epoch, for each column (name → what it is called).

    Values that are not finite take no part; n says how many seeds had one.
    """
    parts = []
    for column, called in columns.items():
        if not curves.has(column):
            continue
        values = curves.frame[column].astype(float)
        good = curves.frame[np.isfinite(values.to_numpy())]
        by = good.assign(_value=values[good.index]).groupby(["panel", "line", "cell", "epoch"], sort=True)["_value"]
        told = by.agg(n="count", median="median", least="min", most="max").reset_index()
        parts.append(told.assign(what=called))
    if not parts:
        return pd.DataFrame(columns=["panel", "line", "cell", "epoch", "n", "median", "least", "most", "what"])
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Speed:
    """How fast each run learns: `epochs` until its `column` first reaches `target` (NaN where it never does).

    `above` says that reaching means to rise to it, as an accuracy does.
    """

    column: str
    target: float
    above: bool
    runs: pd.DataFrame

    @property
    def said(self) -> str:
        """The criterion, in words."""
        what = self.column.replace("_", " ").replace("batch", "training")
        return f"{what} of {self.target:.3g} {'or more' if self.above else 'or less'}"


_CRITERIA = (
    ("validation_accuracy", True),
    ("test_accuracy", True),
    ("batch_accuracy", True),
    ("train_accuracy", True),
    ("validation_loss", False),
    ("test_loss", False),
    ("batch_loss", False),
    ("train_loss", False),
)


def speed_of(curves: Curves) -> Speed | None:
    """Epochs to the middle between where the runs begin and the best they reach, in the first criterion there is.

    The target is one for all runs: half way, in the accuracy or in the logarithm of the loss, from the median of the
    first values to the best value of any run. Between two epochs it is interpolated.
    """
    for column, above in _CRITERIA:
        if not curves.has(column):
            continue
        values = curves.frame[["run_id", "epoch", column]].dropna()
        values = values[np.isfinite(values[column])]
        if not above:
            values = values[values[column] > 0].assign(**{column: lambda v, name=column: np.log(v[name])})
        if values["epoch"].nunique() < 3:
            continue
        first = values.sort_values("epoch", kind="stable").groupby("run_id")[column].first().median()
        best = values[column].max() if above else values[column].min()
        if not abs(best - first) > 0:
            continue
        level = float((first + best) / 2)
        reached = {run: _reached(part, column, level, above) for run, part in values.groupby("run_id", sort=True)}
        runs = curves.runs.assign(epochs=curves.runs["run_id"].map(reached).astype(float))
        return Speed(column, level if above else float(np.exp(level)), above, runs)
    return None


def _reached(part: pd.DataFrame, column: str, level: float, above: bool) -> float:
    part = part.sort_values("epoch", kind="stable")
    epochs, values = part["epoch"].to_numpy(dtype=float), part[column].to_numpy(dtype=float)
    there = np.flatnonzero(values >= level if above else values <= level)
    if not len(there):
        return float("nan")
    at = int(there[0])
    if at == 0:
        return float(epochs[0])
    share = (level - values[at - 1]) / (values[at] - values[at - 1])
    return float(epochs[at - 1] + share * (epochs[at] - epochs[at - 1]))


def worst_counts(told: pd.DataFrame, seeds: Sequence[int]) -> str:
    """'n = 5 seeds', or from the fewest to the most where seeds are lacking."""
    if not len(told):
        return "n = 0"
    low, high = int(told["n"].min()), int(max(told["n"].max(), *seeds, 0))
    return f"n = {high} {'seed' if high == 1 else 'seeds'}" if low == high else f"n = {low} to {high} seeds"
