"""How an axis is spelled, and what its values may be: the types that the sweep file's sections are made of.

A scalar is an axis of one or more values: a value, a list, or a generator ``{range|linspace|logspace: […]}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from .errors import nearest, short
from .numbers import arithmetic_range, count, exact, is_fraction, linspace, logspace, number

__all__ = [
    "EXPAND",
    "Bits",
    "Flag",
    "Gain",
    "Moderate",
    "Name",
    "Pixels",
    "Positive",
    "Real",
    "Section",
    "Switch",
    "Target",
    "Whole",
    "WidthsText",
    "expand_axis",
    "expand_seeds",
    "expand_widths",
    "refuse",
]

GENERATORS = {"range": arithmetic_range, "linspace": linspace, "logspace": logspace}
# The squares of σ_w and σ_b must be float64 too, and so must the first few variances.
_LARGEST = 1e100
# Nothing larger is built in one process' memory, and sums of such numbers stay whole.
_LARGEST_SIZE = 10**9


def refuse(text: str, found: object = None, known: list[str] | None = None) -> PydanticCustomError:
    """The error of a value that does not fit: what is wrong, and of the `known` words the one nearest to `found`."""
    near = nearest(found, known) if known else None
    return PydanticCustomError("axis", "{text}", {"text": text, "nearest": near})


def _scalar(value: Any) -> Any:
    if is_fraction(value):
        return number(exact(value))
    if isinstance(value, (list, dict)):
        raise refuse(f"expected single values in this list, found {short(value)}")
    return value


def expand_axis(raw: Any) -> list[Any]:
    """The values that `raw` spells, in order; equal ones are kept, for what is zipped with them.

    Raises:
        PydanticCustomError: an empty list, an unknown generator or one with wrong arguments.
    """
    try:
        if isinstance(raw, Mapping):
            if len(raw) != 1 or next(iter(raw)) not in GENERATORS:
                name = next((k for k in raw if k not in GENERATORS), None)
                raise refuse(
                    "expected one of {range: [start, stop, step]}, {linspace: [a, b, n]}, {logspace: [a, b, n]}, "
                    f"found {short(dict(raw))}",
                    name,
                    list(GENERATORS),
                )
            ((kind, arguments),) = raw.items()
            if not isinstance(arguments, list) or len(arguments) != 3:
                raise refuse(f"{kind} takes three numbers, found {short(arguments)}")
            values: list[Any] = [number(point) for point in GENERATORS[kind](*arguments)]
        elif isinstance(raw, (list, tuple)):
            if not raw:
                raise refuse("the axis is empty")
            values = [_scalar(value) for value in raw]
        elif raw is None:
            raise refuse("no value is given")
        else:
            values = [_scalar(raw)]
    except PydanticCustomError:
        raise
    except ValueError as error:
        raise refuse(str(error)) from None
    return values


def expand_seeds(raw: Any) -> Any:
    """As `expand_axis`, but a lone number counts: 3 is 0, 1, 2."""
    if isinstance(raw, (int, float)) or is_fraction(raw):
        try:
            return list(range(count(raw, "the number of seeds")))
        except ValueError as error:
            raise refuse(str(error)) from None
    return expand_axis(raw)


def expand_widths(raw: Any) -> Any:
    """Widths as words, "784-512-256": a list of whole numbers is one value, a list of lists or words several."""
    if isinstance(raw, (list, tuple)) and raw and not any(isinstance(part, (list, tuple, str)) for part in raw):
        raw = [raw]
    if isinstance(raw, (list, tuple)):
        parts = [[_whole(width) for width in part] if isinstance(part, (list, tuple)) else part for part in raw]
        raw = ["-".join(map(str, part)) if isinstance(part, list) else part for part in parts]
    return expand_axis(raw)


def _widths(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or re.fullmatch(r"[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})*", value) is None:
        raise refuse(f"expected widths of at least 1, as [784, 512] or 784-512, found {short(value)}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(f"expected a whole number, found {short(value)}")
    if abs(value) >= 2**63:
        raise refuse(f"expected a whole number of at most 64 bits, found {short(value)}")
    return value


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(f"expected a number, found {short(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise refuse(f"expected a finite number, found {short(value)} (float64 ends at 1.8e308)")
    return result + 0.0  # -0.0 is 0.0


def _name(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value) is None:
        raise refuse(f"expected up to 100 letters, digits, dots, dashes or underscores, found {short(value)}")
    return value


def _target(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", value) is None:
        raise refuse(f"expected package.module:function, found {short(value)}")
    return value


def _moderate(value: Any) -> float:
    result = _real(value)
    if abs(result) > _LARGEST:
        raise refuse(f"{result!r} overflows float64 when it is squared; expected at most {_LARGEST:g}")
    if 0 < abs(result) < 1 / _LARGEST:
        raise refuse(f"{result!r} vanishes in float64 when it is squared; expected 0 or at least {1 / _LARGEST:g}")
    return result


def _gain(value: Any) -> float | str:
    if isinstance(value, str):
        if value != "critical":
            raise refuse(f"expected a positive number or the word critical, found {short(value)}", value, ["critical"])
        return value
    gain = _moderate(value)
    if gain <= 0:
        raise refuse(f"expected a positive number or the word critical, found {short(value)}")
    return gain


def _flag(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, str)):
        raise refuse(f"expected a number, a word, true or false, found {short(value)}")
    if isinstance(value, float):
        value = _real(value)
        # 1.0, 1 and 2/2 are one value: the whole number
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    return float(_real(value)) if isinstance(value, int) and abs(value) >= 2**63 else value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise refuse(f"expected true or false, found {short(value)}")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Pixels = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1000)]
Positive = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=_LARGEST_SIZE)]
Real = Annotated[float, BeforeValidator(_real)]
Moderate = Annotated[float, BeforeValidator(_moderate)]
Gain = Annotated[float | str, BeforeValidator(_gain)]
Flag = Annotated[Any, BeforeValidator(_flag)]
Bits = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=16)]
WidthsText = Annotated[str, BeforeValidator(_widths)]
Name = Annotated[str, BeforeValidator(_name)]
Target = Annotated[str, BeforeValidator(_target)]
EXPAND = BeforeValidator(expand_axis)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
