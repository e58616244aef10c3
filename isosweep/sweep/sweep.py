"""A sweep: a file expanded into its runs."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .document import Document, read_document
from .errors import Problem, SpecError
from .grid import Point, grids_of
from .identity import Identity, identity_text
from .parse import AXIS_PATHS
from .resolve import Impossible, Resolver
from .settings import Run

__all__ = ["Sweep", "load"]

_NAMED_POINTS = 3


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked and expanded.

    Attributes:
        name: the sweep's name.
        file: where it was read.
        text: the file as it stands, without the overrides.
        overrides: the ``KEY=VALUE`` laid over it.
        axes: plain names of the settings that take more than one value, in the file's order.
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
        """Its runs, in the file's order, each once."""
        return self._runs

    @property
    def hash(self) -> str:
        """20 hexadecimal digits over the file's text and the overrides."""
        return hashlib.sha256("\0".join((self.text, *self.overrides)).encode()).hexdigest()[:20]


def _describe(point: Point, varying: Sequence[str]) -> str:
    shown = {name: point[name] for name in varying if name in point and name != "seed"} or {n: v for n, v in point.items() if n != "seed"}
    return ", ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in shown.items())


class _Failures:
    """Impossible points, grouped by what is wrong with them."""

    def __init__(self, document: Document):
        self.document = document
        self.counts: Counter[tuple[Any, str, str]] = Counter()
        self.examples: dict[tuple[Any, str, str], list[Point]] = defaultdict(list)

    def add(self, prefix: tuple[str | int, ...], error: Impossible, point: Point) -> None:
        key = (prefix, error.axis, str(error))
        self.counts[key] += 1
        if len(self.examples[key]) < _NAMED_POINTS:
            self.examples[key].append(point)

    def problems(self, varying: Sequence[str]) -> list[Problem]:
        result = []
        for (prefix, axis, message), count in self.counts.items():
            named = "; ".join(dict.fromkeys(_describe(p, varying) for p in self.examples[(prefix, axis, message)]))
            path = AXIS_PATHS.get(axis, ("network", axis))
            more = f" and others, {count} points in all" if count > _NAMED_POINTS else ""
            result.append(self.document.problem((*prefix, *path), f"{message} [{named}{more}]"))
        return result


def _varying(seen: dict[str, dict[Any, None]]) -> tuple[str, ...]:
    return tuple(name for name, values in seen.items() if len(values) > 1)


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
    resolver = Resolver(Path(path).absolute().parent)
    failures = _Failures(document)
    runs: dict[str, Run] = {}
    identities: dict[tuple[int, int, int], Identity] = {}
    texts: dict[int, str] = {}
    seen: dict[str, dict[Any, None]] = {}
    duplicates = excluded = 0
    for grid in grids:
        for axis, values in grid.axes.items():
            seen.setdefault(axis, {}).update(dict.fromkeys(values))
        # an axis that exists only for some points takes one more value: none
        for axis in grid.when:
            seen[axis].setdefault(None)
        for point, dropped in grid.points():
            if dropped:
                excluded += 1
                continue
            try:
                network, data, measure = resolver.settings(grid, point)
            except Impossible as error:
                failures.add(grid.prefix, error, point)
                continue
            seed = point["seed"]
            # equal settings are one object while the resolver lives, so their addresses name them
            key = (id(network), id(data), id(measure))
            identity = identities.get(key)
            if identity is None:
                parts = []
                for settings in (network, data, measure):
                    text = texts.get(id(settings))
                    if text is None:
                        text = texts[id(settings)] = identity_text(settings)
                    parts.append(text)
                identity = identities[key] = Identity(*parts)
            run = Run(network, data, measure, seed, identity.of(seed))
            if run.id in runs:
                duplicates += 1
            else:
                runs[run.id] = run
    varying = _varying(seen)
    problems = failures.problems(varying)
    for axis in ("q_star", "negative_slope"):
        if not problems and axis in seen and axis not in resolver.used and runs:
            effect = "gain: critical, or data.scale: fixed_point where every q is a fixed point" if axis == "q_star" else "activation: leaky_relu"
            problems.append(document.problem(AXIS_PATHS[axis], f"{axis} has no effect on any run of this sweep", expected=effect))
    if not problems and not runs:
        problems.append(document.problem(("exclude",), f"no run is left: all {excluded} points are excluded"))
    if problems:
        raise SpecError(problems)
    return Sweep(name, str(path), document.text, tuple(overrides), varying, duplicates, excluded, tuple(runs.values()))
