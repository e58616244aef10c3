"""The Fisher laws: Karakida's example, softmax, infinite-width kernels, the recursion of Hayase & Karakida."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from isosweep.theory.activations import activation
from isosweep.theory.averages import second_moment, slope_moment
from isosweep.theory.critical_line import critical_at_bias, critical_at_variance
from isosweep.theory.fisher_sums import layer_sums, measured_fisher
from isosweep.theory.hayase_karakida import conditional_fisher, network_conditional_fisher
from isosweep.theory.karakida import fisher_growth, karakida, kernel_ratio
from isosweep.theory.kernels import infinite_width
from isosweep.theory.network import Network
from isosweep.theory.softmax_fisher import (
    drawn_probabilities,
    expected_softmax,
    softmax_fisher,
    softmax_lambda_max,
    softmax_spectrum,
)


def _fisher_dual(
    depth: int, width: int, inputs: int, outputs: int, samples: int, sigma_w: float, sigma_b: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The dual matrix of a tanh network (Gaussian likelihood), its logits and its inputs, by plain numpy."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, inputs))
    sizes = [inputs] + [width] * depth + [outputs]
    weights = [rng.standard_normal((b, a)) * sigma_w / math.sqrt(a) for a, b in pairwise(sizes)]
    states, slopes = [x], []
    for w in weights[:-1]:
        h = states[-1] @ w.T + sigma_b * rng.standard_normal(len(w))
        slopes.append(1 - np.tanh(h) ** 2)
        states.append(np.tanh(h))
    logits = states[-1] @ weights[-1].T + sigma_b * rng.standard_normal(outputs)
    back = np.broadcast_to(np.eye(outputs), (samples, outputs, outputs))
    dual = np.zeros((samples * outputs, samples * outputs))
    for level in range(depth, -1, -1):
        flat = back.reshape(samples * outputs, -1)
        dual += np.kron(states[level] @ states[level].T + 1, np.ones((outputs, outputs))) * (flat @ flat.T)
        if level:
            back = (back @ weights[level]) * slopes[level - 1][:, None, :]
    return dual / samples, logits, x


def test_the_example_of_karakida() -> None:
    law = karakida(Network(activation("tanh"), math.sqrt(3), 0.8, 2, 1000, samples=100, outputs=2))
    # κ_1 from mpmath with 20 digits; 0.95550311 is 120-point Gauss-Hermite, unconverged for tanh at q = 3.64
    assert law.kappa_1 == pytest.approx(0.95552190418283568, rel=1e-12)
    assert law.kappa_1 == pytest.approx(0.95550311, rel=3e-5)
    assert law.kappa_2 == pytest.approx(0.11861531, rel=1e-6)
    assert law.lambda_max == pytest.approx(253.968, abs=2e-3)
    assert law.mean == pytest.approx(law.kappa_1 * 2 / 1000)
    assert law.second_moment == pytest.approx(4 * (0.99 * law.kappa_2**2 + 0.01 * law.kappa_1**2))
    assert law.learning_rate_max == pytest.approx(2 / law.lambda_max)


def test_deep_kernel_ratios() -> None:
    tanh = activation("tanh")
    point = critical_at_bias(tanh, math.sqrt(0.05))
    assert point.q_star is not None
    start = (point.q_star - point.sigma_b**2) / point.sigma_w**2
    assert f"{kernel_ratio(Network(tanh, point.sigma_w, point.sigma_b, 100, 1, mean_square=start)):.6f}" == "0.311026"
    assert f"{kernel_ratio(Network(activation('relu'), math.sqrt(2), 0.0, 100, 1)):.6f}" == "0.272496"
    assert kernel_ratio(Network(tanh, point.sigma_w, point.sigma_b, 1500, 1, mean_square=start)) == pytest.approx(
        1 / 3, abs=4e-3
    )
    assert kernel_ratio(Network(activation("relu"), math.sqrt(2), 0.0, 3000, 1)) == pytest.approx(1 / 4, abs=2e-3)


def test_lambda_max_grows_in_proportion_to_the_depth_at_criticality() -> None:
    grown = fisher_growth(
        Network(activation("relu"), math.sqrt(2), 0.0, 1, 100, samples=50, outputs=10), [400, 800, 1600]
    )
    assert grown[1] / grown[0] == pytest.approx(2, rel=0.05)
    assert grown[2] / grown[1] == pytest.approx(2, rel=0.03)


def test_deep_linear_orthogonal_kernel_is_exact() -> None:
    x = np.random.default_rng(1).standard_normal((1, 8))
    square = float(np.sum(x**2))
    kernels = infinite_width(activation("linear"), x @ x.T / 8, 1.0, 0.0, 4, 8, 8)
    assert kernels.ntk[0, 0] == pytest.approx(5 * (square + 1), rel=1e-13)


def test_kernels_and_softmax_against_a_network() -> None:
    outputs, samples = 4, 40
    dual, logits, x = _fisher_dual(3, 600, 200, outputs, samples, math.sqrt(3), 0.8, 0)
    law = karakida(Network(activation("tanh"), math.sqrt(3), 0.8, 3, 600, samples=samples, outputs=outputs, inputs=200))
    kernels = infinite_width(activation("tanh"), x @ x.T / 200, math.sqrt(3), 0.8, 3, 600, 200)
    top = np.linalg.eigvalsh(dual)[::-1][:outputs].mean()
    assert top == pytest.approx(kernels.fisher_eigenvalues()[0], rel=0.08)
    assert top == pytest.approx(law.lambda_max, rel=0.08)
    assert np.trace(dual) == pytest.approx(outputs * kernels.fisher_eigenvalues().sum(), rel=0.03)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    root = np.sqrt(p)[:, :, None] * np.eye(outputs) - np.sqrt(p)[:, :, None] * p[:, None, :]
    weighted = np.einsum("iab,ibjc,jdc->iajd", root, dual.reshape(samples, outputs, samples, outputs), root).reshape(
        dual.shape
    )
    spectrum = softmax_spectrum(p, law.kappa_1, law.kappa_2, law.alpha * 600)
    assert np.linalg.eigvalsh(weighted)[-1] == pytest.approx(spectrum[0], rel=0.08)
    assert softmax_lambda_max(p, law.kappa_1, law.kappa_2, law.alpha * 600) == pytest.approx(spectrum[0], rel=1e-9)


@pytest.mark.slow
def test_width_1000_within_the_stated_percentages() -> None:
    outputs, samples = 10, 60
    law = karakida(Network(activation("tanh"), math.sqrt(3), 0.8, 2, 1000, samples=samples, outputs=outputs))
    tops, ratios = [], []
    for seed in range(5):
        dual, _, x = _fisher_dual(2, 1000, 1000, outputs, samples, math.sqrt(3), 0.8, seed)
        tops.append(np.linalg.eigvalsh(dual)[::-1][:outputs].mean())
        kernels = infinite_width(activation("tanh"), x @ x.T / 1000, math.sqrt(3), 0.8, 2, 1000, 1000)
        ratios.append(tops[-1] / kernels.fisher_eigenvalues()[0])
    assert np.mean(tops) == pytest.approx(law.lambda_max, rel=0.03)
    assert np.all(np.abs(np.array(ratios) - 1) < 0.05)


def test_kernels_for_every_way_of_averaging_agree_with_the_recursion() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 50))
    for name in ("tanh", "relu", "hard_tanh", "erf", "elu"):
        phi = activation(name)
        kernels = infinite_width(phi, x @ x.T / 50, 1.3, 0.2, 4, 70, 50)
        one = karakida(
            Network(phi, 1.3, 0.2, 4, 70, samples=1, outputs=1, inputs=50, mean_square=float(x[0] @ x[0]) / 50)
        )
        weights_only = one.kappa_1 * one.alpha * 70
        biases = kernels.ntk[0, 0] - weights_only
        assert 1 < biases < 30  # one unit per layer's back-propagated norm
        assert np.linalg.eigvalsh(kernels.ntk)[0] > 0


def test_softmax_of_drawn_logits() -> None:
    p = drawn_probabilities(1.5, 0.5, 30, 10)
    assert p.sum(-1) == pytest.approx(np.ones(p.shape[:2]))
    found = softmax_fisher(Network(activation("tanh"), 1.5, 0.3, 4, 500, samples=50, outputs=10))
    again = softmax_fisher.__wrapped__(Network(activation("tanh"), 1.5, 0.3, 4, 500, samples=50, outputs=10))
    assert found == again
    assert 0 < found.mean < found.lambda_max
    assert found.spread < found.lambda_max


@pytest.mark.parametrize(
    ("pair", "variance", "covariance", "samples"),
    [(0.3, 1.0, 0.4, 60), (0.12, 3.6, 0.6, 100), (0.5, 0.5, 0.45, 200), (0.3, 20.0, 15.0, 64)],
)
def test_the_expected_softmax_is_that_of_many_draws(
    pair: float, variance: float, covariance: float, samples: int
) -> None:
    """Of independent logits of all samples, by each draw's whole matrix."""
    rng, tops = np.random.default_rng(1), []
    for _ in range(400):
        logits = math.sqrt(covariance) * rng.standard_normal(10)
        logits = logits + math.sqrt(variance - covariance) * rng.standard_normal((samples, 10))
        p = np.exp(logits - logits.max(1, keepdims=True))
        tops.append(softmax_lambda_max(p / p.sum(1, keepdims=True), 1.0, pair, 1.0))
    found = expected_softmax(1.0, pair, variance, covariance, samples, 10)
    error = np.std(tops, ddof=1) / math.sqrt(len(tops))
    assert found.lambda_max == pytest.approx(np.mean(tops), rel=0.05, abs=2 * error)
    assert found.spread == pytest.approx(np.std(tops, ddof=1), rel=0.4)


def test_the_expected_softmax_of_a_hundred_classes() -> None:
    rng = np.random.default_rng(2)
    logits = math.sqrt(0.4) * rng.standard_normal((40, 1, 100)) + math.sqrt(0.6) * rng.standard_normal((40, 40, 100))
    p = np.exp(logits)
    p /= p.sum(-1, keepdims=True)
    tops = np.array([softmax_lambda_max(one, 1.0, 0.3, 1.0) for one in p])
    found = expected_softmax(1.0, 0.3, 1.0, 0.4, 40, 100)
    assert found.lambda_max == pytest.approx(tops.mean(), rel=0.1)


def test_the_softmax_spectrum_of_one_kernel_is_that_of_the_mean_hessian() -> None:
    """Where all inputs have the same gradients F is a multiple of the mean of H_i = diag(p_i) − p_ip_iᵀ."""
    p = drawn_probabilities(1.5, 0.7, 20, 6)[0]
    hessian = np.mean([np.diag(row) - np.outer(row, row) for row in p], 0)
    expected = np.linalg.eigvalsh(hessian)[::-1] * 3.0
    found = softmax_spectrum(p, 1.0, 1.0, 3.0)
    np.testing.assert_allclose(found[:6], expected, atol=1e-12)
    np.testing.assert_allclose(found[6:], 0, atol=1e-12)
    assert softmax_lambda_max(p, 1.0, 1.0, 3.0) == pytest.approx(expected[0], rel=1e-10)


@pytest.mark.parametrize("variance", [0.0, 1e-12, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("kappa_2", [0.0, 0.1, 1.0])
def test_lanczos_of_the_softmax_matrix_ends_where_its_space_does(variance: float, kappa_2: float) -> None:
    # uniform probabilities leave few distinct eigenvalues: the space is exhausted after two or three steps
    for samples, outputs in ((1, 10), (64, 10), (7, 3)):
        p = drawn_probabilities(variance, variance / 2, samples, outputs)[0]
        full = softmax_spectrum(p, 1.0, kappa_2, 1.0)[0]
        # without κ_2 all n(C − 1) eigenvalues may lie close together
        assert softmax_lambda_max(p, 1.0, kappa_2, 1.0) == pytest.approx(full, rel=1e-6 if kappa_2 else 1e-4)


def test_where_the_signal_dies_the_biases_of_the_last_layers_remain() -> None:
    # tanh at 0.8, far below criticality: x^l → 0, φ' → 1, so T_1 = T_2 = Σ 0.64^k = 1/(1 − 0.64), and p = 1/C
    found = measured_fisher(
        Network(activation("tanh"), 0.8, 0.0, 64, 64, samples=64, outputs=10, inputs=64, likelihood="categorical")
    )
    assert found.lambda_max == pytest.approx(1 / (1 - 0.64) / 10, rel=1e-3)
    assert found.trace == pytest.approx(0.9 / (1 - 0.64), rel=1e-3)
    assert found.reach < 3


def test_measured_sums_are_karakidas_to_order_one_over_the_width() -> None:
    gaps = []
    for width in (1000, 8000):
        law = karakida(Network(activation("tanh"), math.sqrt(3), 0.8, 2, width, samples=100, outputs=2))
        found = measured_fisher(
            Network(
                activation("tanh"),
                math.sqrt(3),
                0.8,
                2,
                width,
                samples=100,
                outputs=2,
                inputs=width,
                likelihood="gaussian",
            )
        )
        sums = layer_sums(Network(activation("tanh"), math.sqrt(3), 0.8, 2, width, outputs=2, inputs=width))
        assert sums.parameters == width * (width + 1) * 2 + (width + 1) * 2
        assert found.trace == pytest.approx(2 * sums.own)
        gaps.append(found.lambda_max / law.lambda_max - 1)
    assert 0 < gaps[0] < 0.01
    assert gaps[0] / gaps[1] == pytest.approx(8, rel=1e-6)


def test_uncorrelated_inputs_of_an_odd_activation_have_no_outlier() -> None:
    def outlier(correlation: float, sigma_b: float) -> bool:
        return measured_fisher(
            Network(
                activation("tanh"),
                1.3,
                sigma_b,
                4,
                200,
                samples=64,
                outputs=10,
                inputs=100,
                likelihood="gaussian",
                correlation=correlation,
            )
        ).outlier

    assert not outlier(0.0, 0.0)
    assert outlier(0.5, 0.0)
    assert outlier(0.0, 0.5)


def test_dynamical_isometry_of_hard_tanh() -> None:
    hard = activation("hard_tanh")
    point = critical_at_variance(hard, 0.5)
    v, p = second_moment(hard, 0.5), slope_moment(hard, 0.5)
    closed = {length: sum(v * point.sigma_w ** (2 * k) for k in range(length)) for length in (3, 6, 12)}
    assert f"{closed[12]:.2f}" == "13.51"
    for length in (3, 6):
        law = conditional_fisher((v,) * length, (p,) * (length - 1), point.sigma_w)
        assert law.isometric
        assert law.lambda_max == pytest.approx(closed[length], rel=1e-12)
        assert law.top_atom == pytest.approx(1 - (length - 1) * (1 - p))
        assert law.integral(0) == pytest.approx(1, abs=1e-6)
        assert law.integral(1) == pytest.approx(law.mean, rel=1e-6)
    deep = conditional_fisher((v,) * 12, (p,) * 11, point.sigma_w)
    assert not deep.isometric
    assert deep.lambda_max == pytest.approx(12.35, rel=0.02)
    assert deep.integral(0) == pytest.approx(1, abs=1e-5)
    start = (0.5 - point.sigma_b**2) / point.sigma_w**2
    network = network_conditional_fisher(hard, point.sigma_w, point.sigma_b, 6, start)
    assert network.lambda_max == pytest.approx(closed[6], rel=1e-9)
    with pytest.raises(ValueError, match="φ' of 0 or 1"):
        network_conditional_fisher(activation("tanh"), 1.0, 0.1, 3)


def test_the_recursion_against_matrices() -> None:
    rng = np.random.default_rng(0)
    width, v, p, sigma_w = 500, 0.371, 0.8427, 1.0893
    matrix = v * np.eye(width)
    for _ in range(5):
        kept = (rng.random(width) < p).astype(float)
        q, r = np.linalg.qr(rng.standard_normal((width, width)))
        q = q * np.sign(np.diag(r))
        matrix = v * np.eye(width) + sigma_w**2 * q @ (kept[:, None] * matrix * kept) @ q.T
    law = conditional_fisher((v,) * 6, (p,) * 5, sigma_w)
    values = np.linalg.eigvalsh(matrix)
    assert values[-1] == pytest.approx(law.lambda_max, rel=1e-9)
    assert np.mean(values > law.lambda_max - 1e-9) == pytest.approx(law.top_atom, abs=0.1)
    assert values.mean() == pytest.approx(law.mean, rel=0.05)
    assert np.mean(values**2) == pytest.approx(law.integral(2), rel=0.08)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        karakida(Network(activation("tanh"), 1.0, 0.1, 2, 10, samples=0, outputs=1))
    with pytest.raises(ValueError, match="depth"):
        karakida(Network(activation("tanh"), 1.0, 0.1, 0, 10, samples=1, outputs=1))
    with pytest.raises(ValueError, match="square"):
        infinite_width(activation("tanh"), np.ones((2, 3)), 1.0, 0.1, 2, 10, 5)
    with pytest.raises(ValueError, match="masses"):
        conditional_fisher((1.0, 1.0), (0.5, 0.5), 1.0)
