"""A sweep: a file expanded into its runs."""

from __future__ import annotations

import gc
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .document import Document, read_document
from .errors import Problem, SpecError, in_order
from .grid import Grid, Point, grids_of
from .identity import Identities
from .parse import AXIS_PATHS
from .resolve import Impossible, Resolver
from .resolve_data import IDLE_DATA_OPTIONS
from .resolve_train import IDLE_TRAIN_OPTIONS
from .settings import Run

__all__ = ["Sweep", "load"]

_NAMED_POINTS = 3
# More is a slip of the pen: no store, queue or memory is made for it.
_MOST_POINTS = 2_000_000


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked and expanded.

    Attributes:
        name: the sweep's name.
        file: where it was read.
        text: the file as it stands, without the overrides.
        overrides: the ``KEY=VALUE`` laid over it.
        axes: plain names of the settings that take more than one value, in the order of the reference.
        duplicates: points that named a run already there.
        excluded: points that `exclude` dropped.
    """

    name: str
    file: str
    text: str
    overrides: tuple[str, ...]
    axes: tuple[str, ...]
    duplicates: int
    excluded: int
    _runs: tuple[Run, ...]

    def runs(self) -> tuple[Run, ...]:
        """Its runs, each once: grid after grid, the axes in the order of the reference, the last fastest."""
        return self._runs

    @property
    def hash(self) -> str:
        """20 hexadecimal digits over the file's text and the overrides."""
        return hashlib.sha256("\0".join((self.text, *self.overrides)).encode()).hexdigest()[:20]


def _describe(point: Point, varying: Sequence[str]) -> str:
    shown = {name: point[name] for name in varying if name in point and name != "seed"} or {
        n: v for n, v in point.items() if n != "seed"
    }
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in shown.items()
    )


class _Failures:
    """Impossible points, grouped by what is wrong with them."""

    def __init__(self, document: Document):
        self.document = document
        self.counts: Counter[tuple[Any, str, str]] = Counter()
        self.examples: dict[tuple[Any, str, str], list[Point]] = defaultdict(list)

    def add(self, grid: Grid, error: Impossible, point: Point) -> None:
        path = (*grid.prefix, *(grid.places.get(error.axis) or AXIS_PATHS.get(error.axis, ("network", error.axis))))
        key = (path, error.axis, str(error))
        self.counts[key] += 1
        if len(self.examples[key]) < _NAMED_POINTS:
            self.examples[key].append(point)

    def problems(self, varying: Sequence[str], points: int) -> list[Problem]:
        """One for each place in the file and each thing wrong there, with examples of `points` unless all have it."""
        counts: Counter[Problem] = Counter()
        examples: dict[Problem, list[Point]] = defaultdict(list)
        for (path, axis, message), count in self.counts.items():
            problem = self.document.problem(path, message)
            counts[problem] += count
            examples[problem] += self.examples[path, axis, message]
        return [
            problem if count == points > 1 else _with_examples(problem, count, examples[problem], varying)
            for problem, count in counts.items()
        ]


def _with_examples(problem: Problem, count: int, examples: Sequence[Point], varying: Sequence[str]) -> Problem:
    named = "; ".join(list(dict.fromkeys(_describe(point, varying) for point in examples))[:_NAMED_POINTS])
    more = f" and others, {count:,} points in all" if count > _NAMED_POINTS else ""
    return replace(problem, message=f"{problem.message} [{named}{more}]")


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without Python's cycle collector: none of the many objects made inside refers back to another."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Axes:
    """The axes of all grids, and which of them vary."""

    def __init__(self, grids: Sequence[Grid]):
        self.seen: dict[str, dict[Any, None]] = {}
        for grid in grids:
            for axis, values in grid.axes.items():
                # true and 1 are two values, though Python finds them equal
                self.seen.setdefault(axis, {}).update(dict.fromkeys((v.__class__ is bool, v) for v in values))
            # an axis that exists only for some points takes one more value: none
            for axis in grid.when.keys() & grid.axes.keys():
                self.seen[axis].setdefault(None)

    def varying(self) -> tuple[str, ...]:
        return tuple(name for name, values in self.seen.items() if len(values) > 1)


def _without_effect(document: Document, grids: Sequence[Grid], used: set[str]) -> list[Problem]:
    """Axes that change no run of the sweep: a slip, in all likelihood."""
    effects = {
        "q_star": "gain: critical, or data.scale: fixed_point where every q is a fixed point",
        "negative_slope": "activation: leaky_relu",
        "fisher_memory": "measure.fisher.method: auto",
        **dict.fromkeys(("fisher_leading", "fisher_steps", "fisher_probes"), "measure.fisher.method: lanczos, or auto"),
        **IDLE_DATA_OPTIONS,
        **IDLE_TRAIN_OPTIONS,
    }
    return [
        document.problem(
            (*grid.prefix, *(grid.places.get(axis) or AXIS_PATHS[axis])),
            f"{axis} has no effect on any run of this sweep",
            expected=effect,
        )
        for axis, effect in effects.items()
        if axis not in used
        for grid in [g for g in grids if axis in g.axes and axis not in g.arguments][:1]
    ]


def _too_many(document: Document, grids: Sequence[Grid]) -> list[Problem]:
    size = sum(grid.size() for grid in grids)
    if size <= _MOST_POINTS:
        return []
    return [document.problem((), f"{size:,} points are more than the {_MOST_POINTS:,} that a sweep may have")]


def load(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read, check and expand a sweep file.

    Args:
        path: the YAML file.
        overrides: ``KEY=VALUE`` each, KEY a dotted path into the file, VALUE any YAML.

    Raises:
        SpecError: with every problem found: file, line, column, key, what was expected, the nearest known name.
    """
    document = read_document(path, overrides)
    name, grids = grids_of(document)
    if problems := _too_many(document, grids):
        raise SpecError(problems)
    resolver = Resolver(Path(path).absolute().parent)
    identities = Identities()
    failures = _Failures(document)
    runs: dict[str, Run] = {}
    duplicates = excluded = 0
    with _no_collector():
        for grid in grids:
            for point, dropped in grid.points():
                if dropped:
                    excluded += 1
                    continue
                try:
                    network, data, measure, train = resolver.settings(grid, point)
                except Impossible as error:
                    failures.add(grid, error, point)
                    continue
                seed = point["seed"]
                id_ = identities.id_of(network, data, measure, train, seed)
                run = Run(network, data, measure, seed, id_, train)
                if run.id in runs:
                    duplicates += 1
                else:
                    runs[run.id] = run
    varying = _Axes(grids).varying()
    problems = failures.problems(varying, len(runs) + duplicates + failures.counts.total())
    if not problems and not runs:
        problems = [document.problem(("exclude",), f"no run is left: all {excluded} points are excluded")]
    if not problems:
        problems = _without_effect(document, grids, resolver.used)
    if problems:
        raise SpecError(in_order(problems))
    return Sweep(name, str(path), document.text, tuple(overrides), varying, duplicates, excluded, tuple(runs.values()))
