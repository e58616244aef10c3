"""Two inputs: pair averages against two-dimensional quadrature, the correlation map, depth scales and recursions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isosweep.theory.activations import ACTIVATIONS, Activation, activation, custom_activation
from isosweep.theory.averages import second_moment, slope_moment
from isosweep.theory.correlation import (
    correlation_fixed_point,
    correlation_map,
    correlation_slope,
    pair_averages,
)
from isosweep.theory.critical_line import critical_at_bias, critical_at_variance
from isosweep.theory.depth_scale import depth_scales, phase
from isosweep.theory.mean_field import variance_fixed_point
from isosweep.theory.propagation import propagate
from isosweep.theory.quadrature import gaussian_grid


def _by_quadrature(phi: Activation, qu: float, qv: float, c: float) -> tuple[float, float]:
    """Iterated Gauss-Legendre, the inner integral split at the kinks as seen from each outer node."""
    breaks = tuple(k / math.sqrt(qu) for k in phi.kinks if k != 0)
    z, w = gaussian_grid(breaks)
    t, v = np.polynomial.legendre.leggauss(20)
    rest = math.sqrt(1 - c * c)
    value = slope = 0.0
    for zi, wi in zip(z, w, strict=True):
        if wi < 1e-22:
            continue
        own = [(k / math.sqrt(qv) - c * zi) / rest for k in (*phi.kinks, *range(-6, 7))]
        edges = np.unique([*np.linspace(-9.5, 9.5, 20), *own])
        edges = edges[np.abs(edges) <= 9.5]
        middle, radius = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        y = (middle[:, None] + radius[:, None] * t).ravel()
        wy = (radius[:, None] * v).ravel() * np.exp(-y * y / 2) / math.sqrt(2 * math.pi)
        h = math.sqrt(qv) * (c * zi + rest * y)
        x = np.array([math.sqrt(qu) * zi])
        value += wi * phi.phi(x)[0] * (wy @ phi.phi(h))
        slope += wi * phi.phi_prime(x)[0] * (wy @ phi.phi_prime(h))
    return float(value), float(slope)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("qu", "qv", "c"), [(0.5, 0.5, 0.3), (2.0, 2.0, 0.95), (1.0, 3.0, 0.6), (1.0, 1.0, -0.4)])
def test_pair_averages(name: str, qu: float, qv: float, c: float) -> None:
    value, slope = pair_averages(activation(name), qu, qv, c)
    expected = _by_quadrature(activation(name), qu, qv, c)
    assert float(value) == pytest.approx(expected[0], rel=1e-12, abs=1e-13)
    assert float(slope) == pytest.approx(expected[1], rel=1e-12, abs=1e-13)


def test_relu_reference_value() -> None:
    assert f"{float(pair_averages(activation('relu'), 1.0, 1.0, 0.5)[0]):.10f}" == "0.3044988905"


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("q", [1e-3, 0.8, 30.0])
def test_a_pair_of_equals_is_one_input(name: str, q: float) -> None:
    value, slope = pair_averages(activation(name), q, q, 1.0)
    assert float(value) == pytest.approx(second_moment(activation(name), q), rel=1e-11)
    assert float(slope) == pytest.approx(slope_moment(activation(name), q), rel=1e-11)


@pytest.mark.parametrize("name", ["tanh", "elu", "gelu", "silu", "softplus", "hard_tanh"])
def test_interpolated_coefficients_are_smooth_across_octaves(name: str) -> None:
    phi = activation(name)
    values = [float(pair_averages(phi, q, q, 0.7)[0]) for q in (2 - 1e-9, 2.0, 2 + 1e-9)]
    assert values[0] == pytest.approx(values[1], rel=1e-8)
    assert values[2] == pytest.approx(values[1], rel=1e-8)


def test_a_user_function_with_kinks_elsewhere() -> None:
    shifted = custom_activation(
        lambda x: np.maximum(x - 0.5, 0), lambda x: (x > 0.5).astype(float), kinks=(0.5,), piecewise_linear=True
    )
    value, slope = pair_averages(shifted, 1.0, 1.0, 0.6)
    expected = _by_quadrature(shifted, 1.0, 1.0, 0.6)
    assert (float(value), float(slope)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "elu", "erf"])
@pytest.mark.parametrize("sigma_w", [0.9, 1.4, 2.5])
def test_the_fixed_point_is_fixed_and_attracts(name: str, sigma_w: float) -> None:
    phi = activation(name)
    fixed = variance_fixed_point(phi, sigma_w, 0.3)
    if fixed.q_star is None or not 0 < fixed.q_star < math.inf:
        pytest.skip(fixed.explain())
    c = correlation_fixed_point(phi, fixed.q_star, sigma_w, 0.3)
    assert float(correlation_map(phi, fixed.q_star, c, sigma_w, 0.3)) == pytest.approx(c, abs=1e-12)
    assert float(correlation_slope(phi, fixed.q_star, c, sigma_w)) < 1 + 1e-9
    step = 1e-5
    if c < 1:
        ends = correlation_map(phi, fixed.q_star, [c - step, c + step], sigma_w, 0.3)
        numeric = float(ends[1] - ends[0]) / (2 * step)
        assert float(correlation_slope(phi, fixed.q_star, c, sigma_w)) == pytest.approx(numeric, rel=1e-7)


def test_depth_scales_of_the_reference() -> None:
    scales = depth_scales(activation("tanh"), 0.31531647748, math.sqrt(1.3), math.sqrt(0.05))
    assert scales.c_star == 1
    assert f"{scales.xi_q:.8f}" == "1.78523663"
    assert f"{scales.xi_c:.8f}" == "7.83406927"
    assert scales.phase == "ordered"
    point = critical_at_variance(activation("tanh"), 0.5)
    critical = depth_scales(activation("tanh"), 0.5, point.sigma_w, point.sigma_b)
    assert critical.phase == "critical"
    assert critical.xi_c == math.inf
    assert critical.xi_grad == math.inf
    assert phase(1.01) == "chaotic"


def test_the_recursion_decays_at_the_predicted_rates() -> None:
    tanh, sigma_w, sigma_b = activation("tanh"), math.sqrt(2.5), 0.3
    q = variance_fixed_point(tanh, sigma_w, sigma_b).q_star
    assert q is not None
    scales = depth_scales(tanh, q, sigma_w, sigma_b)
    assert scales.phase == "chaotic"
    start = (q - sigma_b**2) / sigma_w**2
    signal = propagate(tanh, sigma_w, sigma_b, 120, start, 0.0)
    gaps = np.abs(signal.correlation - scales.c_star)
    rate = -np.polyfit(np.arange(60, 110), np.log(gaps[60:110]), 1)[0]
    assert 1 / rate == pytest.approx(scales.xi_c, rel=0.01)
    assert signal.q == pytest.approx(np.full(121, q), rel=1e-12)
    off = propagate(tanh, sigma_w, sigma_b, 30, 1.0, 0.0)
    gaps = np.abs(off.q - q)
    assert -1 / np.polyfit(np.arange(4, 10), np.log(gaps[4:10]), 1)[0] == pytest.approx(scales.xi_q, rel=0.05)


def test_simulated_layers_follow_the_recursion() -> None:
    rng = np.random.default_rng(0)
    width, depth = 1500, 5
    sigma_w, sigma_b = 1.6, 0.3
    x = rng.standard_normal((2, width))
    x[1] = 0.6 * x[0] + 0.8 * x[1]
    x /= np.linalg.norm(x, axis=1, keepdims=True) / math.sqrt(width)
    signal = propagate(activation("tanh"), sigma_w, sigma_b, depth, 1.0, float(x[0] @ x[1]) / width)
    for layer in range(depth):
        w = rng.standard_normal((width, width)) * sigma_w / math.sqrt(width)
        h = x @ w.T + sigma_b * rng.standard_normal(width)
        assert np.mean(h**2) == pytest.approx(signal.q[layer], rel=0.1)
        assert np.mean(h[0] * h[1]) / np.mean(h**2) == pytest.approx(signal.correlation[layer], abs=0.08)
        x = np.tanh(h)


def test_what_cannot_be_followed_is_said() -> None:
    relu = activation("relu")
    with pytest.raises(OverflowError, match="layer"):
        propagate(relu, 1e30, 0.0, 20)
    with pytest.raises(ValueError, match="depth"):
        propagate(relu, 1.0, 0.0, 0)
    with pytest.raises(ValueError, match="mean square"):
        propagate(relu, 1.0, 0.0, 2, 0.0)
    with pytest.raises(ValueError, match="variances"):
        pair_averages(relu, 0.0, 1.0, 0.1)
    point = critical_at_bias(activation("tanh"), 0.1)
    with pytest.raises(ValueError, match="fixed point"):
        depth_scales(activation("tanh"), math.inf, point.sigma_w, 0.1)
