"""The law of φ'²: its two sets of nodes, what an octave of variances shares, and the minimum that fixed points need."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosweep.theory.activations import activation
from isosweep.theory.jacobian_law import jacobian_law
from isosweep.theory.roots import bracketed_minimum
from isosweep.theory.slope_law import slope_law
from isosweep.theory.slope_path import slope_path

SMOOTH = ("tanh", "erf", "gelu", "silu", "elu", "softplus", "sin")


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("q", [1e-3, 0.7, 1.3, 12.0])
def test_the_real_axis_and_the_path_give_one_transform_off_the_support(name: str, q: float) -> None:
    law = slope_law(activation(name), q)
    on_path = replace(law, axis=None, masses=None)
    v = np.linspace(-7, 30, 60)
    for log_w in (math.log(law.sup) + np.logaddexp(0.0, v), math.log(law.sup) + v - 1j * math.pi):
        for one, other in zip(law.transform(log_w), on_path.transform(log_w), strict=True):
            assert np.abs(one / other - 1).max() < 1e-9


@pytest.mark.parametrize("name", SMOOTH)
def test_the_paths_weights_have_the_moments(name: str) -> None:
    for q in (0.999, 1.0, 1.4, 1.999):  # both ends of an octave, and the last of the one before
        law = slope_law(activation(name), q)
        powers = law.nodes[:, None] ** np.arange(1, 5)
        assert (law.weights @ powers).real == pytest.approx(law.moments[:4], rel=1e-9)
        assert law.axis is not None
        assert law.masses is not None
        assert law.masses @ law.axis == pytest.approx(law.moments[0], rel=1e-9)


def test_a_law_does_not_depend_on_those_asked_for_before() -> None:
    gelu = activation("gelu")
    before = slope_path(gelu, 1.2)
    slope_path.__globals__["_octave"].cache_clear()
    for q in (1.9, 0.6, 1.01):
        slope_path(gelu, q)
    after = slope_path(gelu, 1.2)
    assert np.array_equal(before.path_square, after.path_square)
    assert np.array_equal(before.weights, after.weights)


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("gain", [0.7, 1.0, 1.3])
def test_two_orthogonal_layers_of_a_leaky_rectifier_end_where_both_are_at_their_least(
    slope: float, gain: float
) -> None:
    """Two free projections of rank ½: the atoms' masses leave exactly nothing to atoms at either end."""
    law = jacobian_law(activation("leaky_relu", slope), 1.0, gain, 2, "orthogonal")
    assert law.lambda_max == pytest.approx(gain**4, rel=1e-12)
    assert law.lambda_min == pytest.approx((gain * slope) ** 4, rel=1e-9)
    assert law.integral(0) == pytest.approx(1.0, abs=1e-9)
    for k in (1, 2, 3):
        assert law.integral(k) == pytest.approx(law.moments[k - 1], rel=1e-9)


@given(
    place=st.floats(-3, 3),
    left=st.floats(0.1, 5),
    right=st.floats(0.1, 5),
    power=st.sampled_from([2, 4]),
    height=st.floats(-1, 1),
)
def test_a_minimum_is_found_between_its_brackets(
    place: float, left: float, right: float, power: int, height: float
) -> None:
    def f(x: float) -> float:
        return height + (x - place) ** power

    at, least = bracketed_minimum(f, place - left, place + right)
    assert least == f(at)
    assert abs(least - height) < 1e-14


def test_the_distribution_between_nodes_is_that_of_a_quarter_circle() -> None:
    """A single Gaussian matrix: ∫_0^s √(4 − r²)/π dr."""
    law = jacobian_law(activation("linear"), 1.0, 1.0, 1, "gaussian")
    s = np.linspace(0.01, 1.999, 400)
    below = (s * np.sqrt(4 - s * s) / 2 + 2 * np.arcsin(s / 2)) / math.pi
    assert np.abs(law.cdf(s * s) - below).max() < 1e-4
    assert np.sqrt(law.quantile(below)) == pytest.approx(s, rel=2e-3)


@pytest.mark.parametrize("ratio", [0.6, 0.75, 0.9])
def test_a_narrow_orthogonal_input_of_a_leaky_rectifier_has_an_atom_at_either_end(ratio: float) -> None:
    """Half of the units have either slope: in fewer dimensions than a layer has, more than half of them must meet."""
    slope, gain, width = 0.3, 1.2, 200
    law = jacobian_law(activation("leaky_relu", slope), 1.0, gain, 1, "orthogonal", ratio)
    inputs = round(ratio * width)
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((width, inputs)))
    slopes = np.repeat([1.0, slope], width // 2)
    values = np.linalg.eigvalsh(gain**2 / ratio * (q.T * slopes**2) @ q)
    for value, share in law.atoms:
        assert np.sum(np.abs(values - value) < 1e-9) == pytest.approx(share * inputs)
    assert len(law.atoms) == 2
    assert law.integral(0) == pytest.approx(1.0, abs=1e-7)
    for k in (1, 2, 3):
        assert law.integral(k) == pytest.approx(law.moments[k - 1], rel=1e-7)
    assert law.quantile([0.05, 1.0]) == pytest.approx([law.atoms[1][0], law.atoms[0][0]])
