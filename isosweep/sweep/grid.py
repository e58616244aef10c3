"""From a checked file to points: the product of the axes, zipped, included, excluded, conditional."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from .conditions import Condition, ConditionError, compile_condition
from .document import Document, Path_
from .errors import Problem, SpecError, nearest
from .parse import AXIS_PATHS, AxisError, parse_axis, problems_of
from .schema import AXES, DenseSection, GridModel, SweepModel

__all__ = ["Grid", "Point", "grids_of"]

Point = dict[str, Any]


@dataclass
class Grid:
    """The axes of one grid by plain name (a scalar is an axis of one value), and what ties them.

    `prefix` is where the grid stands in the document: () or ("grids", i).
    """

    axes: dict[str, tuple[Any, ...]]
    zips: tuple[tuple[str, ...], ...] = ()
    when: dict[str, Condition] = field(default_factory=dict)
    exclude: tuple[Condition, ...] = ()
    root: str | None = None
    prefix: Path_ = ()

    def points(self) -> Iterator[tuple[Point, bool]]:
        """Every point of the product, in the file's order with the last axis fastest, and whether `exclude` drops it."""
        grouped = {name: group for group in self.zips for name in group}
        names: list[str] = []
        dimensions: list[list[tuple[Any, ...]]] = []
        for name, values in self.axes.items():
            group = grouped.get(name, (name,))
            if group[0] != name:
                continue
            names.extend(group)
            dimensions.append(list(zip(*(self.axes[n] for n in group), strict=True)) if len(group) > 1 else [(v,) for v in values])
        for combination in itertools.product(*dimensions):
            point = dict(zip(names, itertools.chain.from_iterable(combination), strict=True))
            for name, condition in self.when.items():
                if name in point and not condition(point):
                    del point[name]
            yield point, any(condition(point) for condition in self.exclude)


class _Reader:
    """Reads one grid's model; gathers problems instead of stopping at the first."""

    def __init__(self, document: Document, model: GridModel, prefix: Path_):
        self.document, self.model, self.prefix = document, model, prefix
        self.problems: list[Problem] = []
        self.axes = self._axes(model)
        arguments = () if isinstance(model.network, DenseSection) else tuple((model.network.__pydantic_extra__ or {}).keys())
        dense = isinstance(model.network, DenseSection)
        self.known = [*arguments] + [n for n, path in AXIS_PATHS.items() if path[0] != "network" or (n != "module") == dense or n == "checkpoint"]

    def _axes(self, model: GridModel) -> dict[str, tuple[Any, ...]]:
        axes: dict[str, tuple[Any, ...]] = {}

        def walk(section: BaseModel, path: tuple[str, ...]) -> None:
            items = {name: getattr(section, name) for name in type(section).model_fields}
            items |= getattr(section, "__pydantic_extra__", None) or {}
            for name, value in items.items():
                below = (*path, name)
                if isinstance(value, BaseModel):
                    walk(value, below)
                elif isinstance(value, tuple) and (below in AXES or path == ("network",)):
                    axes[AXES.get(below, name)] = value

        walk(model, ())
        seeds = axes.pop("seed")
        return {**axes, "seed": seeds}

    def report(self, path: Path_, message: str, expected: str | None = None, near: str | None = None) -> None:
        self.problems.append(self.document.problem((*self.prefix, *path), message, expected=expected, nearest=near))

    def plain(self, name: str) -> str:
        """The plain name of an axis named plainly or by its path."""
        plain = AXES.get(tuple(name.split(".")), name)
        if plain not in self.known:
            near = nearest(name, [*self.known, *(".".join(AXIS_PATHS[n]) for n in self.known if n in AXIS_PATHS)])
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConditionError((), f"no axis is named {name!r}{hint}; there are {', '.join(self.known)}")
        return plain

    def parse(self, name: str, raw: Any) -> tuple[Any, ...]:
        try:
            return parse_axis(name, raw)
        except AxisError as error:
            expected = f"; expected {error.expected}" if error.expected else ""
            near = f"; did you mean {error.near!r}?" if error.near else ""
            raise ConditionError(() if error.index is None else (error.index,), f"{error}{expected}{near}") from None

    def condition(self, raw: Mapping[str, Any], path: Path_) -> Condition | None:
        try:
            return compile_condition(raw, self.plain, self.parse)
        except ConditionError as error:
            self.report((*path, *error.path), str(error))
            return None

    def zips(self) -> tuple[tuple[str, ...], ...]:
        groups: list[tuple[str, ...]] = []
        taken: dict[str, int] = {}
        for i, group in enumerate(self.model.zip):
            names: list[str] = []
            for j, name in enumerate(group):
                try:
                    plain = self.plain(name)
                except ConditionError as error:
                    self.report(("zip", i, j), str(error))
                    continue
                if plain not in self.axes:
                    self.report(("zip", i, j), f"{name} has no values to zip")
                elif plain in taken:
                    self.report(("zip", i, j), f"{name} is already in zip[{taken[plain]}]")
                else:
                    taken[plain] = i
                    names.append(plain)
            if len(group) < 2:
                self.report(("zip", i), "a group of axes that move together has at least two")
            lengths = {name: len(self.axes[name]) for name in names}
            if len(set(lengths.values())) > 1:
                self.report(("zip", i), "zip of unequal lengths: " + ", ".join(f"{n} has {k}" for n, k in lengths.items()))
            groups.append(tuple(names))
        return tuple(groups)

    def include(self, base: Grid) -> Iterator[Grid]:
        for i, entry in enumerate(self.model.include):
            if not entry:
                self.report(("include", i), "an include must name at least one axis", expected="for example {depth: 128, gain: 1.0}")
                continue
            replaced: dict[str, tuple[Any, ...]] = {}
            for name, raw in entry.items():
                try:
                    plain = self.plain(name)
                    replaced[plain] = self.parse(plain, raw)
                except ConditionError as error:
                    self.report(("include", i, name, *error.path), str(error))
            zips = []
            for group in base.zips:
                named = [n for n in group if n in replaced]
                if named and len(named) < len(group):
                    self.report(("include", i), f"{', '.join(named)} is zipped with {', '.join(n for n in group if n not in named)}: name all of them")
                elif not named:
                    zips.append(group)
                elif len({len(replaced[n]) for n in named}) == 1:
                    zips.append(group)
                else:
                    self.report(("include", i), "zip of unequal lengths: " + ", ".join(f"{n} has {len(replaced[n])}" for n in named))
            yield replace(base, axes={**base.axes, **replaced}, zips=tuple(zips), exclude=())

    def grids(self) -> list[Grid]:
        when: dict[str, Condition] = {}
        for name, raw in self.model.when.items():
            try:
                plain = self.plain(name)
            except ConditionError as error:
                self.report(("when", name), str(error))
                continue
            if plain not in self.axes:
                self.report(("when", name), f"{name} has no value anywhere in this grid")
            condition = self.condition(raw, ("when", name))
            if condition:
                when[plain] = condition
        exclude = tuple(c for i, raw in enumerate(self.model.exclude) if (c := self.condition(raw, ("exclude", i))))
        base = Grid(self.axes, self.zips(), when, exclude, self.model.data.root, self.prefix)
        included = list(self.include(base))
        return [base, *included]


def _lay_over(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: sections are merged, everything else is replaced."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict) and key in ("network", "data", "measure", "fisher", "jacobian", "when"):
            result[key] = _lay_over(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def grids_of(document: Document) -> tuple[str, list[Grid]]:
    """The sweep's name and its grids, in the file's order.

    Raises:
        SpecError: with every problem found.
    """
    parts = document.data.get("grids")
    data = document.data
    problems: list[Problem] = []
    grids: list[Grid] = []
    if parts is None or not isinstance(parts, list) or not parts:
        if parts is not None:
            raise SpecError([document.problem(("grids",), f"found {parts!r}", expected="a list of grids, each laid over the keys of the file")])
        layers: list[tuple[Path_, dict[str, Any]]] = [((), data)]
    else:
        shared = {key: value for key, value in data.items() if key != "grids"}
        layers = []
        for i, part in enumerate(parts):
            if not isinstance(part, dict):
                problems.append(document.problem(("grids", i), f"found {part!r}", expected="a grid: network, data, measure, seeds, …"))
                continue
            for key in ("name", "grids"):
                if key in part:
                    problems.append(document.problem(("grids", i, key), f"{key} stands at the top of the file only"))
            layers.append((("grids", i), _lay_over(shared, part)))
    name = ""
    for prefix, layer in layers:
        try:
            model = SweepModel.model_validate(layer)
        except ValidationError as error:
            problems += problems_of(error, document, prefix)
            continue
        name = model.name
        reader = _Reader(document, model, prefix)
        grids += reader.grids()
        problems += reader.problems
    if problems:
        raise SpecError(dict.fromkeys(problems))
    return name, grids
