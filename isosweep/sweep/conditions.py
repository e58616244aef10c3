"""Conditions on the axes of a point: the language of ``exclude``, ``when`` and ``--where``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Condition", "ConditionError", "compile_condition"]

Condition = Callable[[Mapping[str, Any]], bool]
Parse = Callable[[str, Any], tuple[Any, ...]]


class ConditionError(ValueError):
    """A condition that cannot be read; `path` leads to it inside the condition."""

    def __init__(self, path: tuple[str | int, ...], message: str):
        super().__init__(message)
        self.path = path


def _matcher(name: str, raw: Any, parse: Parse) -> Callable[[Any], bool]:
    """The test of one axis' value. An absent value (None) matches only a negation."""
    if isinstance(raw, Mapping) and "not" in raw:
        if len(raw) != 1:
            raise ConditionError((), "{not: …} stands alone")
        inner = _matcher(name, raw["not"], parse)
        return lambda value: not inner(value)
    if isinstance(raw, Mapping) and raw.keys() & {"min", "max"}:
        if extra := raw.keys() - {"min", "max"}:
            raise ConditionError((), f"expected min and max only, found {sorted(extra)}")
        bounds = {}
        for side, value in raw.items():
            (bounds[side],) = parse(name, [value])
            if isinstance(bounds[side], str):
                raise ConditionError((side,), f"min and max bound numbers; {name} is a word here")
        low, high = bounds.get("min", float("-inf")), bounds.get("max", float("inf"))
        if low > high:
            raise ConditionError((), f"min {low!r} is above max {high!r}: nothing can match")
        # a gain that is still the word "critical" lies in no range of numbers
        return lambda value: isinstance(value, (int, float)) and low <= value <= high
    values = parse(name, raw)
    return lambda value: value in values


def compile_condition(raw: Mapping[str, Any], resolve: Callable[[str], str], parse: Parse) -> Condition:
    """The predicate of a condition: every named axis must match.

    Args:
        raw: axis name → a value, a list or generator, ``{min:, max:}``, or ``{not: …}`` of these.
        resolve: gives the plain name of an axis, or raises `ConditionError`.
        parse: (plain name, raw) → the values, typed as the axis' own; raises `ConditionError`.
    """
    if not raw:
        raise ConditionError((), "the condition names no axis")
    tests = []
    for name, value in raw.items():
        try:
            plain = resolve(name)
            tests.append((plain, _matcher(plain, value, parse)))
        except ConditionError as error:
            raise ConditionError((name, *error.path), str(error)) from None
    if len(tests) == 1:
        ((only, test),) = tests
        return lambda point: test(point.get(only))
    return lambda point: all(test(point.get(name)) for name, test in tests)
