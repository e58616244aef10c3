"""Cells of the sweep: the runs that differ by their seed alone.

A cell's value is the median over the seeds that have one, its spread their range; how many of how many stands
beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from isosweep.report.axes import Roles, panel_labels, short
from isosweep.report.described import plural
from isosweep.report.reading import Tables

__all__ = [
    "MEASURES",
    "MISTAKES",
    "REVERSAL",
    "Cells",
    "Measure",
    "cells_of",
    "edges",
    "evenly",
    "measured",
    "summaries",
]

T = TypeVar("T")

_LN10 = math.log(10)
_SUMMARY = (
    *(
        "panel",
        "cell",
        "across",
        "up",
        "n",
        "of",
        "median",
        "log10",
        "least",
        "most",
        "shown",
        "range",
        "seeds",
        "counted",
    ),
    *("others", "mark", "across_from", "across_to"),
)
_MOST_CELLS = 3000  # of a page: beyond this the axes are thinned
_MOST_PANELS = 12
_MOST_SEEDS_LISTED = 8


@dataclass(frozen=True)
class Measure:
    """A number measured on every run. `log_column` has its natural logarithm, where the number may leave float64;
    `complement`: what is shown is 1 less the column. `moment` says when it was measured, `section` where it stands.
    """

    name: str
    column: str
    symbol: str
    title: str
    sentence: str
    log_column: str | None = None
    complement: bool = False
    moment: str = "at initialisation"
    section: str = "curvature"


MEASURES = (
    Measure(
        "fisher_lambda_max",
        "fisher_lambda_max",
        "λ_max(F)",
        "Largest eigenvalue of the Fisher information",
        "the largest eigenvalue λ_max of the Fisher information matrix",
    ),
    Measure(
        "fisher_condition_number",
        "fisher_condition_number",
        "κ(F)",
        "Condition number of the Fisher information",
        "the condition number of the Fisher information matrix (largest over smallest non-zero eigenvalue)",
    ),
    Measure(
        "fisher_trace",
        "fisher_trace",
        "tr F",
        "Trace of the Fisher information",
        "the trace of the Fisher information matrix (the sum of its eigenvalues)",
    ),
    Measure(
        "jacobian_s_max",
        "jacobian_s_max",
        "s_max(J)",
        "Largest singular value of the input-output Jacobian",
        "the largest singular value s_max of the Jacobian ∂x^L/∂x^0 over the sampled inputs",
        "jacobian_log_s_max",
    ),
)
REVERSAL = Measure(
    "reversal_gradient_error",
    "reversal_gradient_error",
    "|ĝ − g|/|g|",
    "Error of a gradient that goes back in time",
    "the relative error of the gradient by all parameters that is taken at states found by going back in time from "
    "the last one (above about 1 nothing of the gradient is left)",
)
MISTAKES = Measure(
    "final_test_mistakes",
    "final_test_accuracy",
    "mistakes",
    "Mistakes on the test split",
    "the share of the test split's examples that are classified wrongly",
    complement=True,
    moment="at the end of training",
    section="training",
)


@dataclass(frozen=True)
class Cells:
    """Runs with their cell: columns `cell` (an id within the page), `panel`, and the axes' values.

    `shown` are the runs whose cells fit on the page; `note` says what was left out, and is empty where nothing was.
    """

    runs: pd.DataFrame
    shown: pd.DataFrame
    roles: Roles
    panels: tuple[str, ...]
    note: str


def evenly(values: Sequence[T], most: int) -> list[T]:
    """At most `most` of the values, evenly spread, the ends among them."""
    if len(values) <= most:
        return list(values)
    return [values[i] for i in sorted({round(k * (len(values) - 1) / (most - 1)) for k in range(most)})]


def cells_of(tables: Tables, roles: Roles) -> Cells:
    """The cells of a sweep, numbered in the order panel, up, across."""
    runs = tables.runs.copy()
    keys = list(dict.fromkeys(name for name in (*roles.panels, roles.up, roles.across) if name is not None))
    runs["panel"] = panel_labels(runs, roles.panels) if len(runs) else pd.Series(dtype=object)
    if keys and len(runs):
        runs = runs.sort_values([*keys, "seed", "run_id"], kind="stable", na_position="last")
        number = runs.groupby(keys, sort=False, dropna=False).ngroup()
    else:
        number = pd.Series(0, index=runs.index)
    runs["cell"] = number.map(lambda k: f"c{k}")
    panels = tuple(dict.fromkeys(runs["panel"]))
    shown, note = _thinned(runs, roles, panels)
    return Cells(runs, shown, roles, tuple(dict.fromkeys(shown["panel"])), note)


def _thinned(runs: pd.DataFrame, roles: Roles, panels: Sequence[str]) -> tuple[pd.DataFrame, str]:
    cells = runs["cell"].nunique()
    shown, notes = runs, []
    if len(panels) > _MOST_PANELS:
        kept = evenly(panels, _MOST_PANELS)
        shown = shown[shown["panel"].isin(kept)]
        notes.append(f"{_MOST_PANELS} of {len(panels)} panels")
    if shown["cell"].nunique() > _MOST_CELLS:
        for name, most in ((roles.across, 21), (roles.up, 12)):
            if name is None:
                continue
            values = sorted(shown[name].dropna().unique())
            if len(values) > most:
                shown = shown[shown[name].isin(evenly(values, most))]
                notes.append(f"{most} of {len(values)} values of {name.replace('_', ' ')}")
    if not notes:
        return runs, ""
    return shown, (
        f"The page shows {shown['cell'].nunique():,} of {cells:,} cells ({', '.join(notes)}, evenly spread); "
        "the tables have them all."
    )


def measured(runs: pd.DataFrame, measure: Measure) -> tuple[pd.Series[float], pd.Series[float]]:
    """The value of every run and its log₁₀: −∞ for an exact zero, ∞ for an infinite one, NaN for what is no number."""
    value = runs[measure.column] if measure.column in runs else pd.Series(np.nan, index=runs.index)
    value = value.astype(float)
    if measure.complement:
        # a share of whole examples: rounded where the subtraction left its last digits
        value = (1 - value).round(12)
    with np.errstate(divide="ignore", invalid="ignore"):
        log10 = pd.Series(np.log10(value.to_numpy()), index=runs.index)
    if measure.log_column is not None and measure.log_column in runs:
        natural = runs[measure.log_column].astype(float)
        log10 = (natural / _LN10).where(natural.notna(), log10)
    return value, log10


def _others(statuses: Sequence[str]) -> str:
    counts = Counter(status for status in statuses if status != "done")
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "all done"


def _listed(seeds: Sequence[str], values: Sequence[float]) -> str:
    words = [f"seed {s}: {v:.6g}" for s, v in zip(seeds, values, strict=True)]
    more = len(words) - _MOST_SEEDS_LISTED
    return "; ".join(words[:_MOST_SEEDS_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _number(log10: float) -> float:
    if math.isinf(log10):
        return math.inf if log10 > 0 else 0.0
    return float(10.0**log10) if -307 < log10 < 308 else math.nan


def _middle(logs: list[float]) -> float:
    """The median's logarithm from the one or two values in the middle."""
    if not logs or (logs[0] == -math.inf and logs[-1] == math.inf):
        return math.nan
    return logs[0] if logs[0] == logs[-1] else (logs[0] + logs[-1]) / 2


def written(log10: float) -> str:
    """10^log10 for people, also where it leaves float64."""
    if not math.isfinite(log10):
        return "no value" if math.isnan(log10) else ("infinite" if log10 > 0 else "0")
    if -300 < log10 < 300:
        return f"{10.0**log10:.6g}"
    exponent = math.floor(log10)
    return f"{10 ** (log10 - exponent):.4g}e{exponent:+d}"


def summaries(runs: pd.DataFrame, measure: Measure, roles: Roles) -> pd.DataFrame:
    """One row a cell: median, range, number of seeds, each seed's value.

    The median of an even number of seeds is the geometric mean of the two in the middle: the scale is logarithmic.
    """
    value, log10 = measured(runs, measure)
    across = runs[roles.across].tolist() if roles.across else [0.0] * len(runs)
    up = runs[roles.up].map(short).tolist() if roles.up else [""] * len(runs)
    seeds, statuses = runs["seed"].map(short).tolist(), runs["status"].tolist()
    panels, values, logs = runs["panel"].tolist(), value.tolist(), log10.tolist()
    members: dict[str, list[int]] = {}
    for place, cell in enumerate(runs["cell"]):
        members.setdefault(cell, []).append(place)
    rows = []
    for cell, here in members.items():
        good = sorted((i for i in here if not math.isnan(logs[i])), key=lambda i: logs[i])
        n = len(good)
        middle = [good[(n - 1) // 2], good[n // 2]] if n else []
        center = _middle([logs[i] for i in middle])
        exact = n > 0 and values[middle[0]] == values[middle[-1]]
        least, most = (logs[good[0]], logs[good[-1]]) if n else (math.nan, math.nan)
        numbers = [i for i in here if not math.isnan(values[i])]
        rows.append(
            {
                "panel": panels[here[0]],
                "cell": cell,
                "across": across[here[0]],
                "up": up[here[0]],
                "n": n,
                "of": len(here),
                "median": values[middle[0]] if exact else _number(center),
                "log10": center,
                "least": _number(least),
                "most": _number(most),
                "shown": written(center) if n else "no value",
                "mark": "×" if not n else {-math.inf: "0", math.inf: "∞"}.get(center, ""),
                "range": f"{written(least)} to {written(most)}" if n else "none",
                "seeds": _listed([seeds[i] for i in numbers], [values[i] for i in numbers]) or "none has a value",
                "counted": f"n = {n} of {plural(len(here), 'seed')}",
                "others": _others([statuses[i] for i in here]),
            }
        )
    frame = pd.DataFrame(rows, columns=_SUMMARY)
    for _, part in frame.groupby("panel", sort=False):
        low_high = edges(part["across"])
        frame.loc[part.index, "across_from"] = part["across"].map(lambda x, e=low_high: e[x][0])
        frame.loc[part.index, "across_to"] = part["across"].map(lambda x, e=low_high: e[x][1])
    return frame


def logarithmic(values: Sequence[float]) -> bool:
    """Whether positive values spread over more than a factor of 30."""
    finite = [v for v in values if np.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > 30


def edges(values: pd.Series) -> dict[float, tuple[float, float]]:
    """The interval each value of an axis stands for: half way to its neighbours."""
    points = sorted({float(v) for v in values if np.isfinite(v)})
    if not points:
        return {float(v): (math.nan, math.nan) for v in values}
    log = logarithmic(points)
    x = np.log(points) if log else np.asarray(points)
    if len(x) == 1:
        half = abs(x[0]) * 0.05 or 0.05
        cuts = np.array([x[0] - half, x[0] + half])
    else:
        inner = (x[1:] + x[:-1]) / 2
        cuts = np.concatenate([[2 * x[0] - inner[0]], inner, [2 * x[-1] - inner[-1]]])
    cuts = np.exp(cuts) if log else cuts
    return {p: (float(a), float(b)) for p, a, b in zip(points, cuts[:-1], cuts[1:], strict=True)}
