"""A search as the sweep file asks for it: what is varied, what counts, and the sweep that a trial is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from isosweep.measurement.training_columns import TRAINING_COLUMNS
from isosweep.sweep.document import Document, Path_, read_document
from isosweep.sweep.errors import SpecError, nearest
from isosweep.sweep.parse import AXIS_PATHS, AxisError, parse_axis
from isosweep.sweep.schema import AXES
from isosweep.sweep.sweep import Sweep, load
from isosweep.sweep.tune_schema import TuneSection

__all__ = ["Range", "Search", "read_search"]

Values = Mapping[str, float]
_LARGER_IS_BETTER = ("accuracy", "alignment")


@dataclass(frozen=True)
class Range:
    """An axis that is searched: its key in the file, and the bounds of its log-uniform values."""

    path: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        spec: the sweep file.
        overrides: what every trial lays over it: the user's, the grid's choice, and `tune.set`.
        grid: which of the file's grids is searched; None: it has none, or all.
        ranges: axis → range, in the order of the file.
        start: the file's own values, where each axis has one that lies in its range: the first trial.
        objective, epoch, direction: what counts.
        trials, batch, seed: how many, how many at once, and the search's seed.
    """

    spec: Path
    overrides: tuple[str, ...]
    grid: int | None
    ranges: dict[str, Range]
    start: dict[str, float] | None
    objective: str
    epoch: float
    direction: Literal["maximize", "minimize"]
    trials: int
    batch: int
    seed: int

    def sweep(self, values: Values) -> Sweep:
        """The sweep of the trial with these values.

        Raises:
            SpecError: there is no such sweep.
        """
        given = [f"{'.'.join(self.ranges[name].path)}={value!r}" for name, value in values.items()]
        return load(self.spec, (*self.overrides, *given))


def _fail(document: Document, path: Path_, message: str, known: Sequence[str] = (), found: str = "") -> SpecError:
    return SpecError([document.problem(path, message, nearest=nearest(found, known) if known else None)])


def _chosen_grid(document: Document, grid: int | None) -> tuple[Path_, dict[str, Any], list[str]]:
    """(where it stands, its keys laid over nothing, the override that leaves it alone in the file)."""
    grids = document.data.get("grids")
    if grid is None:
        return (), {}, []
    if not isinstance(grids, list) or not 0 <= grid < len(grids) or not isinstance(grids[grid], dict):
        count = len(grids) if isinstance(grids, list) else 0
        raise _fail(document, ("grids",), f"there is no grid {grid}: the file has {count}, counted from 0")
    alone = {key: value for key, value in grids[grid].items() if key != "tune"}
    return ("grids", grid), grids[grid], [f"grids=[{json.dumps(alone)}]"]


def read_search(
    spec: str | Path, overrides: Sequence[str] = (), *, grid: int | None = None, trials: int | None = None
) -> Search:
    """Read the `tune` section of a sweep file; a grid's own keys of it are laid over those at the top.

    Args:
        spec: the sweep file.
        overrides: ``KEY=VALUE`` each.
        grid: search this one of the file's `grids`, counted from 0.
        trials: instead of the file's number.

    Raises:
        SpecError: the file is no sweep, has no such section or grid, or the section asks for what cannot be.
    """
    load(spec, overrides)  # all that is wrong with the file itself, with its places
    document = read_document(spec, overrides)
    prefix, own, alone = _chosen_grid(document, grid)
    section = {**(document.data.get("tune") or {}), **(own.get("tune") or {})}
    place: Path_ = (*prefix, "tune") if "tune" in own else ("tune",)
    if not section:
        raise _fail(document, (), "there is nothing to search: the file has no section tune")
    asked = TuneSection.model_validate(section)
    columns = [column.name for column in TRAINING_COLUMNS if not column.is_list]
    if asked.objective not in columns:
        raise _fail(
            document,
            (*place, "objective"),
            f"the table training has no number {asked.objective!r}: there are {', '.join(columns)}",
            columns,
            asked.objective,
        )
    if not asked.ranges:
        raise _fail(document, place, "there is nothing to search: no ranges")
    ranges: dict[str, Range] = {}
    for name, (low, high) in asked.ranges.items():
        plain = AXES.get(tuple(name.split(".")), name)
        if plain not in AXIS_PATHS or plain == "seed":
            raise _fail(document, (*place, "ranges", name), f"no axis is named {name!r}", list(AXIS_PATHS), name)
        for bound in (low, high):
            try:
                parse_axis(plain, bound)
            except AxisError as error:
                expected = f"; expected {error.expected}" if error.expected else ""
                raise _fail(document, (*place, "ranges", name), f"{error}{expected}") from None
        ranges[plain] = Range(AXIS_PATHS[plain], low, high)
    settings = [f"{key}={json.dumps(value)}" for key, value in asked.set.items()]
    whole = (*overrides, *alone, *settings)
    trial = load(spec, whole)
    runs = trial.runs()
    untrained = [run for run in runs if run.train is None]
    if untrained:
        raise _fail(document, place, "there is nothing to search: not all runs train")
    last = min(run.train.epochs for run in runs if run.train is not None)
    epoch = last if asked.epoch is None else asked.epoch
    if epoch > last:
        raise _fail(document, (*place, "epoch"), f"epoch {epoch} is after the last, {last}, of the trials' training")
    return Search(
        Path(spec),
        whole,
        grid,
        ranges,
        _start(trial, ranges),
        asked.objective,
        float(epoch),
        asked.direction or ("maximize" if asked.objective.endswith(_LARGER_IS_BETTER) else "minimize"),
        trials or asked.trials,
        asked.batch,
        asked.seed,
    )


def _start(sweep: Sweep, ranges: Mapping[str, Range]) -> dict[str, float] | None:
    """The values that the file itself gives, where it gives one for each and it lies in the range."""
    found: dict[str, float] = {}
    for name, bounds in ranges.items():
        values = {run.columns.get(name) for run in sweep.runs()}
        value = values.pop() if len(values) == 1 else None
        if not isinstance(value, (int, float)) or not bounds.low <= value <= bounds.high:
            return None
        found[name] = float(value)
    return found
