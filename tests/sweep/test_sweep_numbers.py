"""Numbers of a sweep file: exact until they are rounded once."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sweep_files import ids, loaded, spec

from isosweep.sweep.numbers import arithmetic_range, exact, linspace, logspace, number

finite = st.floats(allow_nan=False, allow_infinity=False)
places = st.integers(0, 12)
whole = st.integers(-(10**9), 10**9)


def gains(axis: Any) -> list[float]:
    return [run.network.gain for run in loaded(spec(network__gain=axis)).runs()]  # type: ignore[union-attr,misc]


def decimal_literal(numerator: int, digits: int) -> str:
    """numerator / 10^digits as one writes it."""
    return f"{decimal.Decimal(numerator).scaleb(-digits):f}"


def test_the_issues_own_example() -> None:
    assert gains({"linspace": [0.8, 1.6, 5]}) == [0.8, 1.0, 1.2, 1.4, 1.6]
    assert gains({"range": [0.8, 1.7, 0.2]}) == [0.8, 1.0, 1.2, 1.4, 1.6]


@given(start=whole, step=st.integers(1, 10**6), n=st.integers(2, 50), digits=places)
def test_linspace_points_are_the_literals_one_would_write(start: int, step: int, n: int, digits: int) -> None:
    literals = [float(decimal_literal(start + i * step, digits)) for i in range(n)]
    points = [float(number(p)) for p in linspace(literals[0], literals[-1], n)]
    assert points == literals


@given(start=whole, step=st.integers(-(10**6), 10**6).filter(bool), n=st.integers(1, 50), digits=places)
def test_range_points_are_the_literals_one_would_write(start: int, step: int, n: int, digits: int) -> None:
    def literal(i: int) -> float:
        return float(decimal_literal(i, digits))

    points = arithmetic_range(literal(start), literal(start + n * step), literal(step))
    assert [float(number(p)) for p in points] == [literal(start + i * step) for i in range(n)]


@given(a=finite, b=finite, n=st.integers(2, 20))
def test_linspace_is_exact_rational_and_rounded_once(a: float, b: float, n: int) -> None:
    points = linspace(a, b, n)
    first, last = Fraction(repr(a)), Fraction(repr(b))
    assert points == [first + (last - first) * i / (n - 1) for i in range(n)]
    assert float(number(points[0])) == a
    assert float(number(points[-1])) == b
    for point in points:
        rounded = float(number(point))
        for beside in (math.nextafter(rounded, -math.inf), math.nextafter(rounded, math.inf)):
            assert math.isinf(beside) or abs(Fraction(rounded) - point) <= abs(Fraction(beside) - point)


@given(a=st.fractions(min_value=-100, max_value=100), b=st.fractions(min_value=1, max_value=100), n=st.integers(2, 9))
def test_fractions_are_exact_end_points(a: Fraction, b: Fraction, n: int) -> None:
    text_a, text_b = f"{a.numerator}/{a.denominator}", f"{b.numerator}/{b.denominator}"
    assert linspace(text_a, text_b, n) == linspace(a, b, n)
    assert exact(text_a) == a


@given(
    a=st.floats(1e-30, 1e30, allow_nan=False),
    b=st.floats(1e-30, 1e30, allow_nan=False),
    n=st.integers(3, 12),
    i=st.integers(1, 10),
)
def test_logspace_points_have_15_digits_and_are_right_in_all_of_them(a: float, b: float, n: int, i: int) -> None:
    points = logspace(a, b, n)
    assert float(number(points[0])) == a
    assert float(number(points[-1])) == b
    i = min(i, n - 2)
    with mpmath.workdps(60):
        low, high = mpmath.mpf(repr(a)), mpmath.mpf(repr(b))
        true = low * (high / low) ** (mpmath.mpf(i) / (n - 1))
        digits = mpmath.nstr(true, 45, strip_zeros=False)
    assume(not digits.replace(".", "")[15:40].startswith(("49999999999999", "50000000000000")))  # a tie
    expected = decimal.Context(prec=15).create_decimal(digits)
    assert float(number(points[i])) == float(expected)
    assert len(decimal.Decimal(repr(float(number(points[i])))).normalize().as_tuple().digits) <= 15


def test_logspace_of_powers_of_ten() -> None:
    assert gains({"logspace": [0.001, 1000, 7]}) == [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]
    assert gains({"logspace": [100, 1, 3]}) == [100.0, 10.0, 1.0]
    assert gains({"logspace": ["1/64", 64, 3]}) == [1 / 64, 1.0, 64.0]


@pytest.mark.parametrize(
    "spelled",
    ["0.5", ".5", "5e-1", "5E-1", "+0.5", "0.50", "1/2", "2/4", "'1/2'", "{linspace: [0.5, 0.5, 1]}", "[1/2, 0.5]"],
)
def test_spellings_of_one_number_are_one_run(spelled: str) -> None:
    text = (
        "name: t\nnetwork: {depth: 4, width: 8, activation: tanh, init: orthogonal, gain: "
        + spelled
        + "}\ndata: {name: digits, samples: 64}\nmeasure: {fisher: {samples: 16}, jacobian: {samples: 4}}\n"
    )
    assert ids(text) == ids(spec(network__gain=0.5))


@pytest.mark.parametrize("spelled", [4, 4.0, "4/1", "8/2", [4], {"range": [4, 5, 1]}, {"linspace": ["4/1", 4, 1]}])
def test_whole_numbers_may_be_spelled_as_any_number(spelled: Any) -> None:
    assert ids(spec(network__depth=spelled)) == ids(spec(network__depth=4))


def test_fractions_stand_wherever_a_number_may() -> None:
    sweep = loaded(
        spec(
            network__depth=["8/2", "16/2"],
            network__bias_std="1/64",
            network__gain={"linspace": ["1/2", "3/2", "6/2"]},
            data__samples="128/2",
            measure__fisher__samples="32/2",
            seeds="6/2",
            exclude=[{"gain": {"min": "4/3"}}, {"depth": "4/1"}],
            include=[{"gain": "1/3"}],
        )
    )
    found = {(r.network.depth, r.network.gain, r.seed) for r in sweep.runs()}  # type: ignore[union-attr]
    assert found == {(d, g, s) for d, g in ((8, 0.5), (8, 1.0), (4, 1 / 3), (8, 1 / 3)) for s in range(3)}


def test_large_whole_points_keep_every_bit() -> None:
    start = 2**60 + 1
    sweep = loaded(spec(seeds={"range": [start, start + 3, 1]}))
    assert [run.seed for run in sweep.runs()] == [start, start + 1, start + 2]


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (linspace, (0, 1, 0), "at least 1"),
        (linspace, (0, 1, 2.5), "whole number"),
        (linspace, (0, 1, True), "whole number"),
        (linspace, (0, 1, 10**7), "at most"),
        (linspace, (0, 1, 1), "equal end points"),
        (linspace, (True, 1, 2), "expected a number"),
        (linspace, ("a", 1, 2), "fraction"),
        (linspace, (0, float("nan"), 2), "finite"),
        (linspace, (0, float("inf"), 2), "finite"),
        (arithmetic_range, (0, 1, 0), "step is 0"),
        (arithmetic_range, (0, 1, -1), "empty"),
        (arithmetic_range, (1, 1, 1), "empty"),
        (arithmetic_range, (0, 1, 1e-300), "at most"),
        (logspace, (0, 1, 3), "positive"),
        (logspace, (1, -1, 3), "positive"),
        (exact, ("1/0",), "divides by 0"),
        (exact, (None,), "expected a number"),
    ],
)
def test_what_is_no_axis_is_refused(function: Any, arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        function(*arguments)
