"""Conditions on the axes of a point: the language of ``exclude``, ``when`` and ``--where``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .parse import AxisError, parse_bound

__all__ = ["Condition", "ConditionError", "compile_condition"]

Condition = Callable[[Mapping[str, Any]], bool]
Parse = Callable[[str, Any], tuple[Any, ...]]
Bound = Callable[[str, Any], float]


class ConditionError(ValueError):
    """A condition that cannot be read; `path` leads to it inside the condition."""

    def __init__(self, path: tuple[str | int, ...], message: str):
        super().__init__(message)
        self.path = path


def _is_among(values: tuple[Any, ...]) -> Callable[[Any], bool]:
    if any(isinstance(v, bool) for v in values):
        kinds = [(isinstance(v, bool), v) for v in values]
        return lambda value: (isinstance(value, bool), value) in kinds
    return lambda value: not isinstance(value, bool) and value in values


def _matcher(name: str, raw: Any, parse: Parse, parse_bound: Bound) -> Callable[[Any], bool]:
    """The test of one axis' value. An absent value (None) matches only a negation."""
    if isinstance(raw, Mapping) and "not" in raw:
        if len(raw) != 1:
            raise ConditionError((), "{not: …} stands alone")
        try:
            inner = _matcher(name, raw["not"], parse, parse_bound)
        except ConditionError as error:
            raise ConditionError(("not", *error.path), str(error)) from None
        return lambda value: not inner(value)
    if isinstance(raw, Mapping) and raw.keys() & {"min", "max"}:
        if extra := sorted(raw.keys() - {"min", "max"}):
            raise ConditionError((extra[0],), "expected min and max only")
        bounds: dict[str, float] = {}
        for side, bound in raw.items():
            try:
                bounds[side] = parse_bound(name, bound)
            except AxisError as error:
                raise ConditionError((side,), str(error)) from None
        low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
        if low > high:
            raise ConditionError((), f"min {low:g} is above max {high:g}: nothing can match")
        # a gain that is still the word "critical" lies in no range of numbers
        return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    return _is_among(parse(name, raw))


def compile_condition(
    raw: Mapping[str, Any], resolve: Callable[[str], str], parse: Parse, bound: Bound = parse_bound
) -> Condition:
    """The predicate of a condition: every named axis must match.

    Args:
        raw: axis name → a value, a list or generator, ``{min:, max:}``, or ``{not: …}`` of these.
        resolve: gives the plain name of an axis, or raises `ConditionError`.
        parse: (plain name, raw) → the values, typed as the axis' own; raises `ConditionError`.
        bound: (plain name, raw) → a bound of a range; raises `AxisError`.
    """
    if not raw:
        raise ConditionError((), "the condition names no axis")
    tests = []
    for name, value in raw.items():
        try:
            plain = resolve(name)
            # under its own name a lone number of `seeds` counts
            tests.append((plain, _matcher("seeds" if name == "seeds" else plain, value, parse, bound)))
        except ConditionError as error:
            raise ConditionError((name, *error.path), str(error)) from None
    if len(tests) == 1:
        ((only, test),) = tests
        return lambda point: test(point.get(only))
    return lambda point: all(test(point.get(name)) for name, test in tests)
