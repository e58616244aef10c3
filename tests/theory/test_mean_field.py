"""The variance map, its fixed points and the critical line, against the reference values and against each other."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from isosweep.theory.activations import ACTIVATIONS, activation, custom_activation
from isosweep.theory.averages import (
    NotSquareIntegrableError,
    QuadratureError,
    bias_gap,
    second_moment,
    second_moment_slope,
    slope_moment,
)
from isosweep.theory.critical_line import NoCriticalPoint, critical_at_bias, critical_at_variance
from isosweep.theory.mean_field import gradient_multiplier, variance_fixed_point, variance_map

VARIANCES = (1e-6, 1e-3, 0.1, 1.0, 7.0, 300.0)


@pytest.mark.parametrize(
    ("q", "sigma_w", "sigma_b", "v"),
    [
        (1e-4, "1.000099980", "1.154354292e-06", "9.998000566e-05"),
        (9e-4, "1.000898386", "3.109309347e-05", "0.0008983841175"),
        (1 / 64, "1.015163785", "0.002156694987", "0.01515718289"),
        (1 / 2, "1.299220967", "0.1950415369", "0.2736763079"),
        (8.0, "2.328707290", "2.008880379", "0.7310509074"),
    ],
)
def test_tanh_critical_line_has_every_digit_of_the_reference(q: float, sigma_w: str, sigma_b: str, v: str) -> None:
    point = critical_at_variance(activation("tanh"), q)
    assert f"{point.sigma_w:.9f}" == sigma_w
    assert f"{point.sigma_b:.10g}" == sigma_b
    assert f"{second_moment(activation('tanh'), q):.10g}" == v
    assert point.stable


def test_tanh_at_a_given_bias() -> None:
    point = critical_at_bias(activation("tanh"), math.sqrt(0.05))
    assert f"{point.sigma_w**2:.10f}" == "1.7609546396"
    assert point.q_star is not None
    assert f"{point.q_star:.10f}" == "0.5700478816"


def test_tanh_off_the_line() -> None:
    tanh = activation("tanh")
    fixed = variance_fixed_point(tanh, math.sqrt(1.3), math.sqrt(0.05))
    assert fixed.kind == "point"
    assert fixed.q_star is not None
    assert f"{fixed.q_star:.10f}" == "0.3153164775"
    assert f"{gradient_multiplier(tanh, fixed.q_star, math.sqrt(1.3)):.10f}" == "0.8801635099"
    assert f"{-1 / math.log(1.3 * second_moment_slope(tanh, fixed.q_star)):.8f}" == "1.78523663"


def test_hard_tanh_at_one_half() -> None:
    hard = activation("hard_tanh")
    point = critical_at_variance(hard, 0.5)
    assert f"{slope_moment(hard, 0.5):.10f}" == "0.8427007929"
    assert f"{second_moment(hard, 0.5):.10f}" == "0.3710958548"
    assert f"{point.sigma_w**2:.10f}" == "1.1866608034"
    assert f"{point.sigma_b**2:.10f}" == "0.0596350948"


def test_scaled_erf_critical_gain() -> None:
    for q in VARIANCES:
        assert critical_at_variance(activation("scaled_erf"), q).sigma_w ** 2 == pytest.approx(
            math.sqrt(1 + math.pi * q), rel=1e-14
        )


@pytest.mark.parametrize("name", ["linear", "relu", "leaky_relu", "hard_tanh", "erf", "scaled_erf", "sin"])
@pytest.mark.parametrize("q", VARIANCES)
def test_closed_forms_agree_with_quadrature(name: str, q: float) -> None:
    if name == "sin" and q > 100:
        pytest.skip("cos⁶ at this variance oscillates faster than the grid; theory uses the closed form alone")
    phi = activation(name)
    assert second_moment(phi, q) == pytest.approx(second_moment(phi, q, method="quadrature"), rel=3e-13)
    for k in (1, 2, 3):
        assert slope_moment(phi, q, k) == pytest.approx(slope_moment(phi, q, k, method="quadrature"), rel=3e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("q", [0.01, 0.7, 20.0])
def test_gap_and_slope_of_the_map(name: str, q: float) -> None:
    phi = activation(name)
    assert bias_gap(phi, q) == pytest.approx(q * slope_moment(phi, q) - second_moment(phi, q), abs=1e-13 * q)
    step = 1e-4 * q
    numeric = (second_moment(phi, q + step) - second_moment(phi, q - step)) / (2 * step)
    assert second_moment_slope(phi, q) == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("q", [1e-10, 1e-7, 1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("name", ["tanh", "scaled_erf", "sin", "hard_tanh"])
def test_small_variances_keep_the_digits_of_the_bias(name: str, q: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        Q = mpmath.mpf(q)
        if name == "sin":
            gap = (Q * (1 + mpmath.exp(-2 * Q)) - (1 - mpmath.exp(-2 * Q))) / 2
        elif name == "scaled_erf":
            t = mpmath.pi * Q / 2
            gap = Q / mpmath.sqrt(1 + mpmath.pi * Q) - 2 / mpmath.pi * mpmath.asin(t / (1 + t))
        elif name == "hard_tanh":
            gap = mpmath.sqrt(2 * Q / mpmath.pi) * mpmath.exp(-1 / (2 * Q)) - mpmath.erfc(1 / mpmath.sqrt(2 * Q))
        else:
            points = [-14, -6, -2, 0, 2, 6, 14]

            def mean(f: object) -> object:
                return mpmath.quad(lambda z: f(mpmath.sqrt(Q) * z) * mpmath.npdf(z), points)  # type: ignore[operator]

            gap = Q * mean(lambda h: mpmath.sech(h) ** 4) - mean(lambda h: mpmath.tanh(h) ** 2)
        expected = float(gap)
    assert bias_gap(activation(name), q) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_every_kind_of_fixed_point_is_named() -> None:
    def kind(name: str, sigma_w: float, sigma_b: float) -> tuple[str, float | None]:
        fixed = variance_fixed_point(activation(name), sigma_w, sigma_b)
        return fixed.kind, fixed.q_star

    assert kind("tanh", 0.9, 0.0) == ("zero", 0.0)
    assert kind("tanh", 1.0, 0.0) == ("zero", 0.0)
    assert kind("tanh", 1.5, 0.0)[0] == "point"
    assert kind("relu", math.sqrt(2), 0.0) == ("every", None)
    assert kind("relu", 1.5, 0.0) == ("infinite", math.inf)
    assert kind("relu", math.sqrt(2), 0.1) == ("infinite", math.inf)
    assert kind("relu", 1.2, 0.1) == ("point", pytest.approx(0.01 / 0.28))
    assert kind("relu", 1.2, 0.0) == ("zero", 0.0)
    assert kind("linear", 1.0, 0.0) == ("every", None)
    assert kind("silu", 1.9, 0.0) == ("several", None)
    assert kind("softplus", 2.0, 0.1) == ("infinite", math.inf)
    assert kind("tanh", 0.0, 0.5) == ("point", 0.25)
    assert kind("tanh", 0.0, 0.0) == ("zero", 0.0)


@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "erf", "elu", "gelu", "softplus", "sin"])
@pytest.mark.parametrize("sigma_b", [0.01, 0.3])
def test_a_point_is_fixed_and_iteration_reaches_it(name: str, sigma_b: float) -> None:
    phi = activation(name)
    fixed = variance_fixed_point(phi, 1.1, sigma_b)
    assert fixed.kind == "point"
    q = 2.0
    for _ in range(400):
        q = variance_map(phi, q, 1.1, sigma_b)
    assert q == pytest.approx(fixed.q_star, rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "erf", "scaled_erf", "elu", "gelu", "silu", "sin"])
@pytest.mark.parametrize("sigma_b", [1e-4, 0.1, 0.9])
def test_the_two_ways_onto_the_line_agree(name: str, sigma_b: float) -> None:
    phi = activation(name)
    try:
        point = critical_at_bias(phi, sigma_b)
    except NoCriticalPoint:
        pytest.skip("no such point")
    assert point.sigma_b == sigma_b
    assert point.q_star is not None
    assert gradient_multiplier(phi, point.q_star, point.sigma_w) == pytest.approx(1, abs=1e-14)
    assert variance_map(phi, point.q_star, point.sigma_w, sigma_b) == pytest.approx(point.q_star, rel=1e-12)
    again = critical_at_variance(phi, point.q_star)
    assert again.sigma_w == pytest.approx(point.sigma_w, rel=1e-15)
    assert again.sigma_b == pytest.approx(sigma_b, rel=1e-9)


def test_special_points_of_the_line() -> None:
    at = critical_at_bias
    assert (at(activation("tanh"), 0.0).sigma_w, at(activation("tanh"), 0.0).q_star) == (1.0, 0.0)
    assert (at(activation("linear"), 0.0).sigma_w, at(activation("linear"), 0.0).every_q) == (1.0, True)
    relu = at(activation("relu"), 0.0)
    assert (relu.sigma_w, relu.sigma_b, relu.q_star, relu.every_q) == (math.sqrt(2), 0.0, None, True)
    assert critical_at_variance(activation("relu"), 3.0).q_star == 3.0
    leaky = critical_at_variance(activation("leaky_relu", 0.2), 1.0)
    assert leaky.sigma_w**2 == pytest.approx(2 / 1.04)
    assert leaky.sigma_b == 0.0
    # unstable in q: THEORY's slopes up to 1.10
    gelu = [critical_at_variance(activation("gelu"), q).slope for q in np.geomspace(0.1, 2, 20)]
    silu = [critical_at_variance(activation("silu"), q).slope for q in np.geomspace(0.1, 8, 20)]
    assert 1.08 < max(gelu) < 1.11
    assert 1.09 < max(silu) < 1.11
    assert not critical_at_variance(activation("gelu"), 0.7).stable


def test_what_is_refused_says_why() -> None:
    with pytest.raises(NoCriticalPoint, match=r"relu with σ_b = 0\.1 has no critical point.*only grows"):
        critical_at_bias(activation("relu"), 0.1)
    with pytest.raises(NoCriticalPoint, match=r"softplus has no critical point at q\* = 0\.5.*σ_b² = -.*negative"):
        critical_at_variance(activation("softplus"), 0.5)
    with pytest.raises(NoCriticalPoint, match="softplus"):
        critical_at_bias(activation("softplus"), 0.1)
    with pytest.raises(ValueError, match=r"q\* must be"):
        critical_at_variance(activation("tanh"), -1.0)
    with pytest.raises(ValueError, match="there are linear"):
        activation("swish")
    step = custom_activation(np.sign, np.zeros_like, discontinuities=(0.0,), odd=True)
    with pytest.raises(NoCriticalPoint, match="discontinuous"):
        critical_at_variance(step, 1.0)
    assert slope_moment(step, 1.0) == math.inf
    for phi, slope in ((lambda x: np.exp(x**2), lambda x: 2 * x * np.exp(x**2)), (lambda x: 1 / x, lambda x: -(x**-2))):
        with pytest.raises(QuadratureError, match=r"square-integrable|not finite"):
            second_moment(custom_activation(phi, slope), 1.0)
    assert second_moment(custom_activation(lambda x: np.exp(x**2 / 8), lambda x: x), 1.0) == pytest.approx(2**0.5)
    assert issubclass(NotSquareIntegrableError, ValueError)


def test_user_functions_get_the_same_numbers_as_named_ones() -> None:
    mine = custom_activation(np.tanh, lambda x: np.cosh(x) ** -2.0, odd=True)
    for q in (1e-3, 0.5, 8.0):
        ours, theirs = critical_at_variance(mine, q), critical_at_variance(activation("tanh"), q)
        assert ours.sigma_w == pytest.approx(theirs.sigma_w, rel=1e-13)
        assert ours.sigma_b == pytest.approx(theirs.sigma_b, rel=1e-9)
    shifted = custom_activation(
        lambda x: np.maximum(x - 1, 0), lambda x: (x > 1).astype(float), kinks=(1.0,), piecewise_linear=True
    )
    tail = math.erfc(1 / math.sqrt(2)) / 2
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert second_moment(shifted, 1.0) == pytest.approx(2 * tail - density, rel=1e-13)
    assert shifted.slope_jumps == (1.0,)
    with pytest.raises(QuadratureError, match="kink"):
        second_moment(custom_activation(lambda x: np.maximum(x - 1.03, 0), lambda x: (x > 1.03) * 1.0), 1.0)


def test_the_critical_line_imports_no_scipy_and_no_torch() -> None:
    code = (
        "import sys; from isosweep.theory.critical_line import critical_at_bias; "
        "from isosweep.theory.activations import activation; critical_at_bias(activation('tanh'), 0.1); "
        "print([m for m in sys.modules if m.split('.')[0] in ('scipy', 'torch', 'pandas')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
