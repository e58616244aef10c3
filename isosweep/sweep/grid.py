"""From a checked file to points: the product of the axes, zipped, included, excluded, conditional."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from .conditions import Condition, ConditionError, compile_condition
from .document import Document, Path_
from .errors import Problem, SpecError, in_order, nearest, short
from .parse import AXIS_PATHS, AxisError, parse_axis, parse_bound, problems_of
from .schema import AXES, DenseSection, GridModel, SweepModel
from .train_schema import TRAIN_AXES

__all__ = ["Grid", "Point", "grids_of"]

Point = dict[str, Any]

_NECESSARY_TRAIN = ("epochs", "batch", "optimizer", "learning_rate", "manifold", "schedule", "train_dtype")
_OPTIONAL_TRAIN = frozenset(TRAIN_AXES.values()) - frozenset(_NECESSARY_TRAIN)
# The axes that an include may take away by null.
_OPTIONAL = frozenset(
    (
        *("negative_slope", "init", "gain", "bias_std", "q_star", "checkpoint", "data_samples", "data_scale"),
        *("data_inputs", "data_validation", "data_test", "data_standardise"),
        *("augmentation_flip", "augmentation_shift", "augmentation_crop"),
    )
) | {
    "data_classes",
    "fisher_memory",
    "fisher_damping",
    "fisher_leading",
    "fisher_steps",
    "fisher_probes",
    *_OPTIONAL_TRAIN,
}

# The axes that every run has.
_NECESSARY = frozenset(
    (
        *("seed", "depth", "width", "activation", "module", "data", "dtype", "fisher_likelihood", "fisher_layers"),
        *(
            "fisher_data",
            "jacobian_data",
            "fisher_method",
            "fisher_parameter_set",
            "fisher_kind",
            "fisher_centred",
            "fisher_bounds",
        ),
    )
)


@dataclass
class Grid:
    """The axes of one grid by plain name (a scalar is an axis of one value), and what ties them.

    Attributes:
        axes: plain name → values, in the order of the reference.
        zips: groups of axes that move together.
        when: an axis → the condition under which it exists, each after those of the axes that it depends on.
        exclude: conditions of the points to drop.
        root: where data files are looked for.
        prefix: where the grid stands in the document: () or ("grids", i).
        marks: the epochs and the steps after which a training is measured.
        places: where axes stand that are not in their section: those of an `include`.
        arguments: axes that are arguments of a user's module.
    """

    axes: dict[str, tuple[Any, ...]]
    zips: tuple[tuple[str, ...], ...] = ()
    when: dict[str, Condition] = field(default_factory=dict)
    exclude: tuple[Condition, ...] = ()
    root: str | None = None
    prefix: Path_ = ()
    marks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    places: dict[str, Path_] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    def _dimensions(self) -> tuple[list[str], list[list[tuple[Any, ...]]]]:
        """Names of all axes, group after group, and the values of each group that moves on its own."""
        grouped = {name: group for group in self.zips for name in group}
        names: list[str] = []
        dimensions: list[list[tuple[Any, ...]]] = []
        for name, values in self.axes.items():
            group = grouped.get(name, (name,))
            if group[0] != name:
                continue
            names.extend(group)
            dimensions.append(
                list(zip(*(self.axes[n] for n in group), strict=True)) if len(group) > 1 else [(v,) for v in values]
            )
        return names, dimensions

    def size(self) -> int:
        """How many points the product has, before conditions."""
        return math.prod(len(values) for values in self._dimensions()[1])

    def points(self) -> Iterator[tuple[Point, bool]]:
        """Every point, the axes in the reference's order and the last fastest, and whether `exclude` drops it.

        Points that differ only in axes that do not exist there (`when`) are one point.
        """
        names, dimensions = self._dimensions()
        conditional: set[tuple[tuple[str, Any, type], ...]] = set()
        when = [(name, condition) for name, condition in self.when.items() if name in self.axes]
        for combination in itertools.product(*dimensions):
            point = dict(zip(names, itertools.chain.from_iterable(combination), strict=True))
            whole = True
            for name, condition in when:
                if not condition(point):
                    del point[name]
                    whole = False
            if not whole:
                key = tuple((name, value, value.__class__) for name, value in point.items())
                if key in conditional:
                    continue
                conditional.add(key)
            yield point, any(condition(point) for condition in self.exclude)


class _Reader:
    """Reads one grid's model; gathers problems instead of stopping at the first."""

    def __init__(self, document: Document, model: GridModel, prefix: Path_):
        self.document, self.model, self.prefix = document, model, prefix
        self.problems: list[Problem] = []
        dense = isinstance(model.network, DenseSection)
        self.arguments = () if dense else tuple(model.network.__pydantic_extra__ or ())
        own = [
            name
            for name, path in AXIS_PATHS.items()
            if path[0] != "network" or name == "checkpoint" or (name != "module") == dense
        ]
        for name in self.arguments:
            if name in own:
                path = ".".join(AXIS_PATHS[name])
                message = f"the name {name} is taken by {path}: rename the function's argument"
                self.report(("network", name), message)
        self.axes = self._axes(model)
        self.known = list(dict.fromkeys([*self.arguments, *own]))

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
            hint = f"; did you mean {near!r}?" if near else f"; there are {_some(self.known)}"
            raise ConditionError((), f"no axis is named {name!r}{hint}")
        return plain

    def parse(self, name: str, raw: Any) -> tuple[Any, ...]:
        try:
            return parse_axis(name, raw, argument=name in self.arguments)
        except AxisError as error:
            expected = f"; expected {error.expected}" if error.expected else ""
            near = f"; did you mean {error.near!r}?" if error.near else ""
            raise ConditionError(() if error.index is None else (error.index,), f"{error}{expected}{near}") from None

    def bound(self, name: str, raw: Any) -> float:
        return parse_bound(name, raw, argument=name in self.arguments)

    def condition(self, raw: Mapping[str, Any], path: Path_) -> Condition | None:
        try:
            return compile_condition(raw, self.plain, self.parse, self.bound)
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
                self.report(("zip", i), _unequal(lengths))
            if names:
                groups.append(tuple(names))
        return tuple(groups)

    def _replacement(self, i: int, entry: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[Any, ...] | None]]:
        """(plain name, name as written, values) of the axes that an include names; None for an axis it takes away."""
        taken: dict[str, str] = {}
        for name, raw in entry.items():
            try:
                plain = self.plain(name)
                if plain in taken:
                    raise ConditionError((), f"{name} and {taken[plain]} are the same axis")
                taken[plain] = name
                if raw is None and plain in _OPTIONAL:
                    yield plain, name, None
                else:
                    yield plain, name, self.parse("seeds" if name == "seeds" else plain, raw)
            except ConditionError as error:
                self.report(("include", i, name, *error.path), str(error))

    def include(self, base: Grid) -> Iterator[Grid]:
        for i, entry in enumerate(self.model.include):
            if not entry:
                self.report(
                    ("include", i),
                    "an include must name at least one axis",
                    expected="for example {depth: 128, gain: 1.0}",
                )
                continue
            axes, places = dict(base.axes), dict(base.places)
            replaced: dict[str, int] = {}
            for plain, name, values in self._replacement(i, entry):
                places[plain] = ("include", i, name)
                replaced[plain] = 0 if values is None else len(values)
                if values is not None:
                    axes[plain] = values
                else:
                    axes.pop(plain, None)
            zips = []
            for group in base.zips:
                named = [n for n in group if n in replaced]
                others = [n for n in group if n not in replaced]
                left = tuple(n for n in group if n in axes)
                if named and others:
                    self.report(
                        ("include", i),
                        f"{', '.join(named)} moves together with {', '.join(others)} (zip): name all of them",
                    )
                elif named and len({len(axes[n]) for n in left}) > 1:
                    self.report(("include", i), _unequal({n: len(axes[n]) for n in left}))
                elif left:
                    zips.append(left)
            yield replace(base, axes=axes, places=places, zips=tuple(zips), exclude=())

    def when(self) -> dict[str, Condition]:
        """The conditions of `when`, each after those of the axes that it depends on."""
        conditions: dict[str, Condition] = {}
        written: dict[str, str] = {}
        needs: dict[str, set[str]] = {}
        for name, raw in self.model.when.items():
            try:
                plain = self.plain(name)
            except ConditionError as error:
                self.report(("when", name), str(error))
                continue
            if plain in _NECESSARY and plain not in self.arguments:
                self.report(("when", name), f"every run has a {plain}: it cannot depend on other axes; use exclude")
                continue
            if plain in written:
                self.report(("when", name), f"{name} and {written[plain]} are the same axis")
                continue
            written[plain] = name
            if plain not in self.axes and not any(self._names(entry, plain) for entry in self.model.include):
                self.report(("when", name), f"{name} has no value anywhere in this grid")
            condition = self.condition(raw, ("when", name))
            if condition:
                conditions[plain] = condition
                needs[plain] = {self.plain(other) for other in raw}
        ordered: dict[str, Condition] = {}
        while len(ordered) < len(conditions):
            ready = [n for n in conditions if n not in ordered and not (needs[n] & conditions.keys()) - ordered.keys()]
            if not ready:
                circle = [n for n in conditions if n not in ordered]
                message = f"{' and '.join(circle)} depend on each other" if len(circle) > 1 else "an axis on itself"
                self.report(("when", written[circle[0]]), f"{message}: there is no telling which exist")
                return {}
            ordered.update((n, conditions[n]) for n in ready)
        return ordered

    def _names(self, entry: Mapping[str, Any], plain: str) -> bool:
        return any(AXES.get(tuple(name.split(".")), name) == plain for name in entry)

    def grids(self) -> list[Grid]:
        when = self.when()
        exclude = tuple(c for i, raw in enumerate(self.model.exclude) if (c := self.condition(raw, ("exclude", i))))
        root = self.model.data.root
        train = self.model.train
        marks = ((), ()) if train is None else (train.measure.epochs, train.measure.steps)
        base = Grid(self.axes, self.zips(), when, exclude, root, self.prefix, marks, arguments=self.arguments)
        return [base, *self.include(base)]


def _some(names: Sequence[str]) -> str:
    """The first of many names, and where the others stand."""
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} others (docs/sweep-file.md)"


def _unequal(lengths: Mapping[str, int]) -> str:
    return "zip of unequal lengths: " + ", ".join(f"{n} has {k}" for n, k in lengths.items())


def _lay_over(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: sections are merged, everything else is replaced."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if (
            isinstance(value, Mapping)
            and isinstance(result.get(key), dict)
            and key in ("network", "data", "measure", "fisher", "jacobian", "augmentation", "train", "tune", "when")
        ):
            result[key] = _lay_over(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def grids_of(document: Document) -> tuple[str, list[Grid]]:
    """The sweep's name and its grids, in the file's order.

    Raises:
        SpecError: with every problem found, in the order of the file.
    """
    data = document.data
    problems: list[Problem] = []
    layers: list[tuple[Path_, dict[str, Any]]] = []
    if "grids" not in data:
        layers.append(((), data))
    else:
        parts = data["grids"]
        if not isinstance(parts, list) or not parts:
            expected = "a list of grids, each laid over the keys of the file"
            raise SpecError([document.problem(("grids",), f"found {short(parts)}", expected=expected)])
        shared = {key: value for key, value in data.items() if key != "grids"}
        for i, part in enumerate(parts):
            if not isinstance(part, dict):
                expected = "a grid: network, data, measure, seeds, …"
                problems.append(document.problem(("grids", i), f"found {short(part)}", expected=expected))
                continue
            for key in ("name", "grids"):
                if key in part:
                    problems.append(document.problem(("grids", i, key), f"{key} stands at the top of the file only"))
            layer = _lay_over(shared, {key: value for key, value in part.items() if key not in ("name", "grids")})
            document.lay_over(layer)
            layers.append((("grids", i), layer))
    name = ""
    grids: list[Grid] = []
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
        raise SpecError(in_order(problems))
    return name, grids
