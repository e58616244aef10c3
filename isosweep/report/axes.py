"""Which axis of the sweep goes where: across, up, into panels.

Across goes the gain, up the depth, whatever else varies makes panels, and seeds are repetitions of a cell. A sweep
without gain or depth shows its first varying numbers instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from isosweep.report.reading import Tables
from isosweep.tables.schema import RUNS

__all__ = ["Roles", "axis_title", "numeric", "panel_labels", "plain", "roles", "setting_columns", "short"]

_TITLES = {
    "depth": "depth L (hidden layers)",
    "width": "width N (units per layer)",
    "gain": "gain σ_w",
    "bias_std": "standard deviation of the biases σ_b",
    "q_star": "fixed-point variance q*",
    "negative_slope": "negative slope of the activation",
    "seed": "seed",
    "activation": "activation",
    "init": "initialisation",
    "data": "data set",
    "time_step": "time step Δt",
    "block_steps": "steps of a block",
    "weight_bits": "bits of a weight",
    "activation_bits": "bits of an activation",
    "blend": "blending ρ",
    "readout_scale": "scale of the readout's σ_w",
}
_SYMBOLS = {"depth": "L", "width": "N", "gain": "σ_w", "bias_std": "σ_b", "q_star": "q*"}
# The columns of `runs` up to the status are settings; the rest of its schema is what became of the run.
_KNOWN = [column.name for column in RUNS]
_FIRST_OUTCOME = _KNOWN.index("status")
_TOLD_BY_OTHERS = frozenset(("run_id", "sweep", "gain_rule", "data_inputs", "data_classes"))
_SETTINGS = tuple(name for name in _KNOWN[:_FIRST_OUTCOME] if name not in _TOLD_BY_OTHERS)
_NO_AXES = frozenset(_KNOWN[_FIRST_OUTCOME:]) | _TOLD_BY_OTHERS
_NO_AXIS_PREFIXES = (
    "fisher_",
    "jacobian_",
    "theory_",
    "residual_",
    "environment_",
    "record_",
    "blas_",
    "cuda_",
    "input_",
)
_ACROSS = ("gain", "q_star", "bias_std")
_UP = ("depth", "width")


@dataclass(frozen=True)
class Roles:
    """Columns of `runs`: one across, one up (either may be None), those that make panels, and all that vary."""

    across: str | None
    up: str | None
    panels: tuple[str, ...]
    varying: tuple[str, ...]


def plain(value: Any) -> Any:
    """A value without numpy or pandas about it; None for what is missing."""
    if (
        value is None
        or value is pd.NaT
        or (not isinstance(value, str) and pd.api.types.is_scalar(value) and pd.isna(value))
    ):
        return None
    return value.item() if hasattr(value, "item") else value


def short(value: Any) -> str:
    """A value of an axis as people write it."""
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def axis_title(name: str, brief: bool = False) -> str:
    """An axis' title, with its symbol; `brief` for short axes."""
    if brief and name in _SYMBOLS:
        return f"{name.removesuffix('_std').removesuffix('_star')} {_SYMBOLS[name]}"
    return _TITLES.get(name, name.replace("_", " "))


def numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers (and not truth values)."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _distinct(column: pd.Series) -> int:
    return int(column.map(short).nunique())


def setting_columns(runs: pd.DataFrame) -> list[str]:
    """The columns of `runs` that hold settings: those every network has first, then others by name."""
    others = sorted(
        name
        for name in runs.columns
        if name not in _NO_AXES and name not in _SETTINGS and not name.startswith(_NO_AXIS_PREFIXES)
    )
    return [name for name in (*_SETTINGS, *others) if name in runs]


def _varying(tables: Tables) -> tuple[str, ...]:
    runs = tables.runs
    named = [str(name) for name in tables.sweep.get("axes") or ()]
    if named:
        return tuple(name for name in named if name in runs and len(runs) and _distinct(runs[name]) > 1)
    return tuple(name for name in setting_columns(runs) if len(runs) and _distinct(runs[name]) > 1)


def _follows(runs: pd.DataFrame, name: str, leader: str) -> bool:
    """Whether `name` is a function of `leader` over the sweep (axes zipped together)."""
    pairs = pd.DataFrame({"a": runs[leader].map(short), "b": runs[name].map(short)}).drop_duplicates()
    return bool(pairs["a"].is_unique)


def _first(names: Iterable[str], among: Iterable[str]) -> str | None:
    among = set(among)
    return next((name for name in names if name in among), None)


def roles(tables: Tables) -> Roles:
    """Where each varying axis goes."""
    runs, varying = tables.runs, _varying(tables)
    numbers = [name for name in varying if name != "seed" and numeric(runs[name])]
    if "q_star" in numbers and "gain" in numbers and _follows(runs, "gain", "q_star"):
        numbers.remove("gain")
    across = _first(_ACROSS, numbers)
    up = _first(_UP, numbers)
    # A number that a word tells (a learning rate for each manifold) is no axis of its own.
    words = [name for name in varying if name not in numbers and name != "seed"]
    rest = [
        name for name in numbers if name not in (across, up) and not any(_follows(runs, name, word) for word in words)
    ]
    if across is None and rest:
        across = rest.pop(0)
    if up is None and rest:
        up = rest.pop(0)
    across = across or (next((n for n in ("gain",) if len(runs) and runs[n].notna().any()), None))
    up = up or next((n for n in _UP if len(runs) and runs[n].notna().any()), None)
    leaders = [name for name in (across, up) if name is not None]
    # An activation or init makes panels also where the gain tells it (`gain: critical` has one for each): they are what
    # a law and a critical line belong to.
    kept: list[str] = [name for name in ("activation", "init") if name in varying and name not in leaders]
    for name in varying:
        taken = (*leaders, *kept)
        if name not in (*taken, "seed") and not any(_follows(runs, name, other) for other in taken):
            kept.append(name)
    return Roles(across, up, tuple(kept), varying)


def _constant(runs: pd.DataFrame, name: str) -> str:
    return short(runs[name].iloc[0]) if len(runs) and runs[name].notna().any() else ""


def panel_labels(runs: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """The panel of each run: 'tanh, orthogonal, σ_b = 0.1'; of one panel alone, its activation and init."""
    if not columns:
        alone = ", ".join(filter(None, (_constant(runs, "activation"), _constant(runs, "init")))) or "all runs"
        return pd.Series([alone] * len(runs), index=runs.index, dtype=object)
    parts = []
    for name in columns:
        words = runs[name].map(short)
        bare = name in ("activation", "init")
        parts.append(words if bare else words.map(lambda word, name=name: f"{_SYMBOLS.get(name, name)} = {word}"))
    label = parts[0].astype(object)
    for part in parts[1:]:
        label = label + ", " + part
    return label
