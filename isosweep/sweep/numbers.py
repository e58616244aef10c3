"""Numbers of a sweep file: exact while they are combined, rounded once.

A number may be written as an integer, a decimal or a fraction such as ``1/64``. Points of ``range`` and ``linspace``
are rational and are rounded to float64 once, so ``{linspace: [0.8, 1.6, 5]}`` is ``[0.8, 1.0, 1.2, 1.4, 1.6]`` to the
last bit. Points of ``logspace`` are irrational: they are computed in 50 decimal digits and rounded to 15, which no
platform's libm can change.
"""

from __future__ import annotations

import decimal
import math
import re
from fractions import Fraction

__all__ = ["arithmetic_range", "count", "exact", "is_fraction", "linspace", "logspace", "number"]

_FRACTION = re.compile(r"\s*([+-]?\d+)\s*/\s*(\d+)\s*")
_LOG_DIGITS = 15
# More points than this in one axis are a slip of the pen, and would fill the memory before anything could complain.
_MOST_POINTS = 1_000_000


def is_fraction(value: object) -> bool:
    """Whether `value` is text of the form ``a/b``."""
    return isinstance(value, str) and _FRACTION.fullmatch(value) is not None


def exact(value: object) -> Fraction:
    """The rational number that `value` spells: an int, a finite float (by its shortest decimal form) or text ``a/b``.

    Raises:
        ValueError: not a number, not finite, or a denominator of 0.
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"expected a number, found {value!r}")
    if isinstance(value, str):
        match = _FRACTION.fullmatch(value)
        if match is None:
            raise ValueError(f"expected a number or a fraction such as 1/64, found {value!r}")
        if int(match[2]) == 0:
            raise ValueError(f"{value!r} divides by 0")
        return Fraction(int(match[1]), int(match[2]))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"expected a finite number, found {value!r} (float64 ends at 1.8e308)")
        return Fraction(repr(value))
    return Fraction(value)


def number(value: Fraction) -> int | float:
    """`value` as an int where it is whole and has 64 bits, else as the nearest float64.

    Raises:
        ValueError: the value overflows float64.
    """
    if value.denominator == 1 and abs(value.numerator) < 2**63:
        return value.numerator
    try:
        return float(value)  # int / int: rounded once, to nearest
    except OverflowError:
        raise ValueError("the number overflows float64 (which ends at 1.8e308)") from None


def count(n: object, what: str) -> int:
    """`n` as the number of points of an axis.

    Raises:
        ValueError: not a whole number, below 1, or more than an axis may have.
    """
    try:
        value = exact(n)
    except ValueError:
        value = Fraction(0)
    if value.denominator != 1 or value < 1:
        raise ValueError(f"{what} must be a whole number of at least 1, found {n!r}")
    if value > _MOST_POINTS:
        shown = f"{value.numerator:,}" if value < 10**15 else "more than 10^15"
        raise ValueError(f"{what} is {shown}, and an axis may have at most {_MOST_POINTS:,} points")
    return value.numerator


def linspace(first: object, last: object, n: object) -> list[Fraction]:
    """`n` evenly spaced rational points from `first` to `last`, both included."""
    a, b, n = exact(first), exact(last), count(n, "the number of points of linspace")
    if n == 1:
        if a != b:
            raise ValueError("linspace with one point needs equal end points")
        return [a]
    return [a + (b - a) * Fraction(i, n - 1) for i in range(n)]


def arithmetic_range(start: object, stop: object, step: object) -> list[Fraction]:
    """start, start + step, … up to, and without, `stop`: Python's `range`, exact for decimals and fractions."""
    a, b, d = exact(start), exact(stop), exact(step)
    if d == 0:
        raise ValueError("range: the step is 0")
    n = max(0, math.ceil((b - a) / d))
    if n == 0:
        raise ValueError(f"range [{start}, {stop}, {step}] is empty (stop is not included)")
    return [a + i * d for i in range(count(n, "the number of points of this range"))]


def logspace(first: object, last: object, n: object) -> list[Fraction]:
    """`n` points from `first` to `last`, both included, evenly spaced in the logarithm; inner ones have 15 digits.

    Raises:
        ValueError: an end point is not positive.
    """
    a, b, n = exact(first), exact(last), count(n, "the number of points of logspace")
    if a <= 0 or b <= 0:
        raise ValueError("logspace: both end points must be positive (they are the points themselves, not exponents)")
    if n == 1:
        if a != b:
            raise ValueError("logspace with one point needs equal end points")
        return [a]
    context = decimal.Context(prec=50, rounding=decimal.ROUND_HALF_EVEN)
    log_a, log_b = (
        context.ln(context.divide(decimal.Decimal(x.numerator), decimal.Decimal(x.denominator))) for x in (a, b)
    )
    rounding = decimal.Context(prec=_LOG_DIGITS, rounding=decimal.ROUND_HALF_EVEN)
    inner = []
    for i in range(1, n - 1):
        weight = context.divide(decimal.Decimal(i), decimal.Decimal(n - 1))
        log = context.add(log_a, context.multiply(weight, context.subtract(log_b, log_a)))
        inner.append(Fraction(rounding.plus(context.exp(log))))
    return [a, *inner, b]
