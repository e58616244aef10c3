"""Two sweeps side by side: which settings differ, which cells both have, and what became of their numbers.

Cells are matched by all settings of which the two sweeps share values. A setting that has no value in both (a width of
64 there and of 128 here) is what the comparison is about, and takes no part in the matching. Seeds are the repetitions
of a cell, as everywhere.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isosweep.report.axes import Roles, panel_labels, plain, roles, setting_columns, short
from isosweep.report.cells import MEASURES, Measure, measured
from isosweep.report.described import join_words, plural
from isosweep.report.provenance import Account, account
from isosweep.report.reading import Tables
from isosweep.report.statistics import median_interval

__all__ = ["Comparison", "Digests", "Matched", "Setting", "Shift", "compare"]

_MOST_VALUES = 8
_MOST_DIFFERENT = 25
_FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class Setting:
    """A setting with its values in either sweep; `kind` is "same", "some" (values in common) or "none"."""

    name: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    kind: str

    @property
    def is_same(self) -> bool:
        """Whether both sweeps have the same values."""
        return self.kind == "same"

    @property
    def words(self) -> tuple[str, str]:
        """The values of either, for people."""
        return _listed(self.a), _listed(self.b)


@dataclass(frozen=True)
class Shift:
    """How one measure moved from A to B over the matched cells; logarithms are to base 10.

    `interval` is the 95 % bootstrap interval of the median, or None below 8 cells; `paired` the seeds both have.
    """

    measure: Measure
    cells: int
    median: float
    interval: tuple[float, float] | None
    least: float
    most: float
    paired: int

    @property
    def sentence(self) -> str:
        """What the numbers say."""
        if self.least == self.most == 0:
            return f"{self.measure.symbol} is the same in {plural(self.cells, 'matched cell')}."
        said = f"{self.measure.symbol} of B is {ratio(self.median)} times that of A in the median"
        if self.interval is not None:
            said += f" (95 % interval {ratio(self.interval[0])} to {ratio(self.interval[1])})"
        return f"{said} of {plural(self.cells, 'matched cell')}, from {ratio(self.least)} to {ratio(self.most)} times."


@dataclass(frozen=True)
class Digests:
    """Runs that both sweeps have under one id: their bits, compared.

    `different` are rows (run, settings, environment and code of A, of B, relative difference of λ_max), the first of
    them by run id; `differing` counts them all. `unmeasured` lack a digest on a side.
    """

    common: int
    equal: int
    differing: int
    unmeasured: int
    across_environments: int
    different: pd.DataFrame


@dataclass(frozen=True)
class Matched:
    """The cells both sweeps have: one row a cell, with columns for each measure."""

    frame: pd.DataFrame
    keys: tuple[str, ...]
    roles: Roles
    panels: tuple[str, ...]
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Comparison:
    """Two sweeps, compared."""

    a: Tables
    b: Tables
    names: tuple[str, str]
    accounts: tuple[Account, Account]
    settings: tuple[Setting, ...]
    matched: Matched
    shifts: tuple[Shift, ...]
    digests: Digests
    file_difference: tuple[str, ...]

    @property
    def differing(self) -> list[Setting]:
        """The settings whose values are not the same."""
        return [setting for setting in self.settings if setting.kind != "same"]

    @property
    def answer(self) -> list[str]:
        """What changed, in sentences."""
        sentences = []
        if self.differing:
            words = [f"{s.name.replace('_', ' ')} (A: {s.words[0]}; B: {s.words[1]})" for s in self.differing]
            sentences.append(f"The sweeps differ in {join_words(words)}.")
        else:
            sentences.append("No setting differs between the sweeps.")
        cells = len(self.matched.frame)
        if cells:
            rest = [
                f"{plural(count, 'cell')} only in {side}"
                for side, count in (("A", self.matched.only_a), ("B", self.matched.only_b))
                if count
            ]
            more = f"; {join_words(rest)}" if rest else ""
            sentences.append(f"{plural(cells, 'cell')} {'is' if cells == 1 else 'are'} in both{more}.")
        else:
            sentences.append("No cell is in both, so that nothing can be set side by side.")
        sentences.extend(shift.sentence for shift in self.shifts)
        sentences.append(self.of_digests)
        return sentences

    @property
    def of_digests(self) -> str:
        """What is to be said of the runs with equal ids."""
        d = self.digests
        if not d.common:
            return "No run id is in both sweeps, so that there are no digests to compare."
        said = f"{plural(d.common, 'run')} {'has' if d.common == 1 else 'have'} the same id in both"
        parts = [f"{d.equal:,} with the same digest, bit for bit"] if d.equal else []
        if d.differing:
            parts.append(
                f"{d.differing:,} with another one ({d.across_environments:,} of them measured in different "
                "environment classes)"
            )
        if d.unmeasured:
            parts.append(f"{d.unmeasured:,} not measured in one of them")
        return f"{said}: {join_words(parts)}."


def ratio(log10: float) -> str:
    """10^log10 as a factor for people."""
    if not math.isfinite(log10):
        return "an infinite number of" if log10 > 0 else "0"
    if -4 < log10 < 4:
        return f"{10.0**log10:.4g}"
    exponent = math.floor(log10)
    return f"{10 ** (log10 - exponent):.2f}e{exponent:+d}"


def _listed(values: Sequence[str]) -> str:
    if len(values) <= _MOST_VALUES:
        return ", ".join(values) or "none"
    return f"{', '.join(values[:3])} … {values[-1]} ({len(values)} values)"


def _exact(value: object) -> object:
    """A value that equals another exactly where the setting is the same: numbers as floats, what is missing as ''."""
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return float(value)


def _key(column: pd.Series) -> pd.Series:
    """A column as text that is equal exactly where the values are, whatever their types."""
    return pd.Series([repr(_exact(value)) for value in column], index=column.index, dtype=str)


def _order(value: object) -> tuple[int, float, str]:
    return (0, value, "") if isinstance(value, float) else (1, 0.0, str(value))


def _settings(a: pd.DataFrame, b: pd.DataFrame) -> tuple[Setting, ...]:
    found = []
    for name in dict.fromkeys([*setting_columns(a), *setting_columns(b)]):
        values = [set(runs[name].map(_exact)) if name in runs else {""} for runs in (a, b)]
        if values[0] | values[1] <= {""}:
            continue
        kind = "same" if values[0] == values[1] else ("some" if values[0] & values[1] else "none")
        words = [tuple("none" if v == "" else short(v) for v in sorted(side, key=_order)) for side in values]
        found.append(Setting(name, words[0], words[1], kind))
    return tuple(found)


def _derived(a: pd.DataFrame, b: pd.DataFrame) -> set[str]:
    """Columns that other settings tell: a gain solved for, and the biases where q* was what was given."""
    both = pd.concat([a, b], ignore_index=True)
    if "gain_rule" not in both or not len(both) or not (both["gain_rule"] == "critical").all():
        return set()
    given = "q_star" in both and both["q_star"].notna().all()
    return {"gain", "bias_std"} if given else {"gain"}


def _matched(a: pd.DataFrame, b: pd.DataFrame, settings: Sequence[Setting], axes: Sequence[str]) -> Matched:
    derived = _derived(a, b)
    keys = [s.name for s in settings if s.kind != "none" and s.name != "seed" and s.name not in derived]
    sides = []
    for runs in (a, b):
        side = runs.copy()
        for name in keys:
            side[f"_{name}"] = _key(side[name]) if name in side else "''"
        sides.append(side)
    exact = [f"_{name}" for name in keys]
    parts = [_summed(side, exact) for side in sides]
    joined = parts[0].add_suffix(" of A").join(parts[1].add_suffix(" of B"), how="inner")
    only_a, only_b = (len(part) - len(joined) for part in parts)
    # The settings of a cell as the tables have them, from A's first run of it.
    firsts = sides[0].drop_duplicates(exact).set_index(exact) if exact else sides[0].head(1)
    if not exact:
        firsts = firsts.set_axis(joined.index[:1] if len(joined) else firsts.index)
    shown = [name for name in dict.fromkeys([*keys, *derived]) if name in firsts]
    frame = joined.join(firsts[shown]).reset_index(drop=True)
    frame = _with_pairs(frame, sides, exact, joined.index)
    for name in ("run_id", "status", "seed"):
        frame[name] = None
    for name in ("activation", "init", "gain", "depth", "width", "bias_std"):
        if name not in frame:
            frame[name] = np.nan
    where = roles(Tables(frame, None, {"axes": [name for name in axes if name in shown]}))
    frame["panel"] = panel_labels(frame, where.panels) if len(frame) else pd.Series(dtype=object)
    by = list(dict.fromkeys(name for name in (*where.panels, where.up, where.across) if name is not None))
    if by and len(frame):
        frame = frame.sort_values(by, kind="stable", na_position="last")
    frame = frame.reset_index(drop=True)
    return Matched(frame, tuple(keys), where, tuple(dict.fromkeys(frame["panel"])), only_a, only_b)


def _summed(runs: pd.DataFrame, exact: list[str]) -> pd.DataFrame:
    """Of every cell: its runs, those with a value, and the median, least and most of each measure's logarithm."""
    columns: dict[str, pd.Series] = {}
    groups = [runs[name] for name in exact] or [pd.Series("all", index=runs.index)]
    columns["runs"] = runs["run_id"].groupby(groups, sort=True).size()
    for measure in MEASURES:
        _, log10 = measured(runs, measure)
        by = log10.where(np.isfinite(log10.to_numpy())).groupby(groups, sort=True)
        columns |= {
            f"{measure.name} n": by.count(),
            f"{measure.name} median": by.median(),
            f"{measure.name} least": by.min(),
            f"{measure.name} most": by.max(),
        }
    return pd.DataFrame(columns)


def _with_pairs(frame: pd.DataFrame, sides: list[pd.DataFrame], exact: list[str], index: pd.Index) -> pd.DataFrame:
    """For every measure the seeds both have of a cell, and the range of log₁₀ B/A over them.

    Only where a cell has one run of a seed on either side: else there is nothing to pair.
    """
    frame = frame.copy()
    by = [*exact, "_seed"]
    sides = [side.assign(_seed=_key(side["seed"])) for side in sides]
    single = [~side.duplicated(by, keep=False) for side in sides]
    for measure in MEASURES:
        logs = [
            side.assign(_log=measured(side, measure)[1])[alone][[*by, "_log"]]
            for side, alone in zip(sides, single, strict=True)
        ]
        pairs = logs[0].merge(logs[1], on=by, how="inner")
        pairs["_shift"] = pairs["_log_y"] - pairs["_log_x"]
        pairs = pairs[np.isfinite(pairs["_shift"])]
        groups = [pairs[name] for name in exact] or [pd.Series("all", index=pairs.index)]
        told = pairs["_shift"].groupby(groups).agg(["count", "min", "max"]).reindex(index)
        frame[f"{measure.name} pairs"] = told["count"].fillna(0).astype(int).to_numpy()
        frame[f"{measure.name} least shift"] = told["min"].to_numpy()
        frame[f"{measure.name} most shift"] = told["max"].to_numpy()
    return frame


def shift_of(matched: Matched, measure: Measure) -> pd.Series[float]:
    """log₁₀ of B's median over A's, cell by cell; NaN where a side has no value."""
    if not len(matched.frame):
        return pd.Series(dtype=float)
    return matched.frame[f"{measure.name} median of B"] - matched.frame[f"{measure.name} median of A"]


def _shifts(matched: Matched) -> tuple[Shift, ...]:
    found = []
    for measure in MEASURES:
        values = shift_of(matched, measure).dropna()
        if not len(values):
            continue
        array = values.to_numpy(dtype=float)
        found.append(
            Shift(
                measure,
                len(array),
                float(np.median(array)),
                median_interval(array.astype(np.float64), f"{measure.name} of B over A"),
                float(array.min()),
                float(array.max()),
                int(matched.frame[f"{measure.name} pairs"].sum()),
            )
        )
    return tuple(found)


def _digests(a: pd.DataFrame, b: pd.DataFrame) -> Digests:
    columns = ["run_id", "digest", "environment_class", "code_id", "fisher_lambda_max", "seed"]
    sides = [runs.reindex(columns=columns).drop_duplicates("run_id") for runs in (a, b)]
    both = sides[0].merge(sides[1], on="run_id", suffixes=(" of A", " of B"))
    measured_both = both[both["digest of A"].notna() & both["digest of B"].notna()]
    equal = measured_both["digest of A"] == measured_both["digest of B"]
    other = measured_both[~equal].sort_values("run_id", kind="stable")
    moved = other["environment_class of A"].map(_exact) != other["environment_class of B"].map(_exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (other[f"fisher_lambda_max of {side}"].astype(float) for side in "AB")
        other = other.assign(difference=((right - left) / left).abs())
    other = other.drop(columns=["seed of B"]).rename(
        columns={"seed of A": "seed", "difference": "relative difference of λ_max"}
    )
    return Digests(
        len(both), int(equal.sum()), len(other), len(both) - len(measured_both), int(moved.sum()),
        other.head(_MOST_DIFFERENT).reset_index(drop=True),
    )  # fmt: skip


def _file_difference(a: Tables, b: Tables) -> tuple[str, ...]:
    of_a, of_b = (str(t.sweep.get("sweep_file") or "").splitlines() for t in (a, b))
    if not of_a or not of_b:
        return ()
    return tuple(difflib.unified_diff(of_a, of_b, "A", "B", lineterm="", n=2))


def compare(a: Tables, b: Tables, names: tuple[str, str] | None = None) -> Comparison:
    """Compare two sweeps; `names` are said instead of their own where these are alike."""
    if names is None:
        names = (a.name, b.name)
        if a.name == b.name and a.folder is not None and b.folder is not None:
            names = (f"{a.name} ({a.folder})", f"{b.name} ({b.folder})")
    settings = _settings(a.runs, b.runs)
    axes = list(dict.fromkeys(str(name) for t in (a, b) for name in t.sweep.get("axes") or ()))
    matched = _matched(a.runs, b.runs, settings, axes)
    return Comparison(
        a, b, names, (account(a), account(b)), settings, matched, _shifts(matched), _digests(a.runs, b.runs),
        _file_difference(a, b),
    )  # fmt: skip
