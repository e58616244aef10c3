"""A document checked against the schema: pydantic's complaints with their place; single axes by their field's type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from .axis_types import Flag, expand_axis
from .document import Document, Path_
from .errors import Problem, nearest, short
from .numbers import exact, number
from .schema import (
    AXES,
    AugmentationSection,
    DataSection,
    DenseSection,
    FisherSection,
    GridModel,
    JacobianSection,
    MeasureSection,
    ModuleSection,
    SweepModel,
)
from .train_schema import PointsSection, TrainSection
from .tune_schema import TuneSection

__all__ = ["AXIS_PATHS", "AxisError", "parse_axis", "parse_bound", "problems_of"]

AXIS_PATHS: dict[str, tuple[str, ...]] = {name: path for path, name in AXES.items()}

_SECTIONS: dict[tuple[str, ...], list[type[BaseModel]]] = {
    (): [SweepModel],
    ("network",): [DenseSection, ModuleSection],
    ("data",): [DataSection],
    ("data", "augmentation"): [AugmentationSection],
    ("measure",): [MeasureSection],
    ("measure", "fisher"): [FisherSection],
    ("measure", "jacobian"): [JacobianSection],
    ("train",): [TrainSection],
    ("train", "measure"): [PointsSection],
    ("tune",): [TuneSection],
}

_WORDS = {
    "int_type": "a whole number",
    "dict_type": "a section of keys and values",
    "model_type": "a section of keys and values",
    "model_attributes_type": "a section of keys and values",
    "string_type": "a word",
    "tuple_type": "a list",
    "missing": None,
}


class AxisError(ValueError):
    """A value that does not fit its axis; `index` is its place in the list, if it stands in one."""

    def __init__(self, message: str, index: int | None = None, expected: str | None = None, near: str | None = None):
        super().__init__(message)
        self.index, self.expected, self.near = index, expected, near


def _sentence(error: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """(message, expected, nearest) of one pydantic error."""
    kind, context, found = error["type"], error.get("ctx") or {}, error.get("input")
    if kind == "axis":
        return context["text"], None, context.get("nearest")
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return f"found {short(found)}", "one of " + ", ".join(allowed), nearest(found, allowed)
    if kind == "missing":
        return "this key is missing", None, None
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        relation, bound = next(iter(context.items()))
        words = {"gt": "greater than", "ge": "of at least", "lt": "less than", "le": "of at most"}
        return f"found {short(found)}", f"a number {words[relation]} {bound}", None
    return f"found {short(found)}" if _WORDS.get(kind) else error["msg"], _WORDS.get(kind), None


def _known_keys(path: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(name for model in _SECTIONS.get(path, []) for name in model.model_fields))


def problems_of(error: ValidationError, document: Document, prefix: Path_ = ()) -> Iterable[Problem]:
    """Every complaint of a `ValidationError` as a `Problem` with its place in the document."""
    for item in error.errors(include_url=False):
        # the discriminator's tags are no part of the file
        location = tuple(
            p
            for i, p in enumerate(item["loc"])
            if not (i == 1 and item["loc"][0] == "network" and p in ("dense", "module"))
        )
        path = (*prefix, *location)
        if item["type"] == "extra_forbidden":
            parent = tuple(str(p) for p in location[:-1])
            known = _known_keys(parent)
            elsewhere = [section for section in _SECTIONS if location[-1] in _known_keys(section) and section != parent]
            hint = f" (it belongs to the section {'.'.join(elsewhere[0]) or 'at the top'})" if elsewhere else ""
            near = None if elsewhere else nearest(location[-1], known)
            yield document.problem(path, f"unknown key{hint}", expected="one of " + ", ".join(known), nearest=near)
        else:
            message, expected, near = _sentence(item)
            yield document.problem(path, message, expected=expected, nearest=near)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    *section, key = AXIS_PATHS[name]
    models: dict[tuple[str, ...], type[BaseModel]] = {path: models[0] for path, models in _SECTIONS.items()}
    models[("network",)] = ModuleSection if key == "module" else DenseSection
    models[()] = GridModel
    field = models[tuple(section)].model_fields[key]
    kind: Any = field.annotation
    for constraint in field.metadata:
        kind = Annotated[kind, constraint]
    return TypeAdapter(kind)


@cache
def _argument_adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[tuple[Flag, ...], BeforeValidator(expand_axis)])


def parse_axis(name: str, raw: Any, *, argument: bool = False) -> tuple[Any, ...]:
    """The values that `raw` spells for an axis, typed as the axis' own.

    Args:
        name: the axis' plain name; under the name ``seeds`` a lone number counts, as in the file.
        raw: a value, a list or a generator.
        argument: the axis is an argument of a user's module, whatever its name.

    Raises:
        AxisError: they do not fit.
    """
    if name == "seeds":
        name = "seed"
    elif name == "seed" and not isinstance(raw, (list, tuple, dict)):
        raw = [raw]  # `seed: 5` is the seed 5; only `seeds: 5` counts
    adapter = _argument_adapter() if argument or name not in AXIS_PATHS else _adapter(name)
    try:
        values: tuple[Any, ...] | None = adapter.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        index = next((p for p in first["loc"] if isinstance(p, int)), None)
        message, expected, near = _sentence(first)
        raise AxisError(message, index if isinstance(raw, list) else None, expected, near) from None
    if values is None:
        raise AxisError("no value is given")
    return values


_NOT_NUMBERS = frozenset(
    (
        *("activation", "init", "checkpoint", "module", "data", "data_scale", "dtype", "fisher_likelihood"),
        *("data_standardise", "augmentation_flip", "fisher_data", "jacobian_data"),
        *("optimizer", "manifold", "schedule", "loss_function", "train_dtype", "layer_scales"),
        *("fisher_layers", "fisher_method", "fisher_parameter_set", "fisher_kind", "fisher_centred", "fisher_bounds"),
    )
)


def parse_bound(name: str, raw: Any, *, argument: bool = False) -> float:
    """A bound of a range of values of the axis: any number, also one that the axis itself could not take.

    Raises:
        AxisError: not a number, or the axis' values are words.
    """
    if name in _NOT_NUMBERS and not argument:
        raise AxisError(f"min and max bound numbers; the values of {name} are words")
    try:
        return float(number(exact(raw)))
    except ValueError as error:
        raise AxisError(str(error)) from None
