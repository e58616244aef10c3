"""Laws of networks whose layers have variances of their own: against matrices, against themselves, in the columns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.theory.activations import activation, custom_activation
from isosweep.theory.columns import theory_columns
from isosweep.theory.finite_width import active_shares, zero_mass
from isosweep.theory.free_moments import product_moments
from isosweep.theory.jacobian_law import Init, JacobianLaw, jacobian_edge, jacobian_law, jacobian_variance
from isosweep.theory.jacobian_relation import relation_of
from isosweep.theory.network import Network
from isosweep.theory.propagation import propagate
from isosweep.theory.run_jacobian import layer_variances, run_law
from isosweep.theory.slope_law import slope_law
from isosweep.theory.variance_rule import variance_rule

CHAINS: list[tuple[str, float, float, float, int, Init, float]] = [
    # φ, σ_w, σ_b, |x|²/N_0, L, init, N_0/N: started far from q* on either side
    ("tanh", 1.3, 0.2, 1.0, 30, "orthogonal", 1.0),
    ("tanh", 1.9, 0.1, 0.05, 8, "gaussian", 1.0),
    ("tanh", 1.2, 0.1, 4.0, 6, "gaussian", 3.0),
    ("tanh", 1.2, 0.1, 4.0, 6, "orthogonal", 0.4),
    ("tanh", 0.8, 0.0, 1.0, 30, "orthogonal", 1.0),  # dies out
    ("hard_tanh", 1.2, 0.1, 4.0, 12, "orthogonal", 1.0),
    ("hard_tanh", 1.2, 0.1, 0.3, 5, "gaussian", 1.0),
    ("gelu", 1.5, 0.1, 1.0, 10, "orthogonal", 1.0),
    ("silu", 1.5, 0.1, 2.0, 6, "gaussian", 1.0),
    ("softplus", 1.2, 0.1, 1.0, 10, "orthogonal", 1.0),
    ("elu", 1.2, 0.1, 3.0, 10, "gaussian", 1.0),
    ("sin", 1.5, 0.1, 1.0, 10, "orthogonal", 1.0),
    ("scaled_erf", 1.4, 0.3, 3.0, 20, "orthogonal", 1.0),
]


def _chain(name: str, sigma_w: float, sigma_b: float, square: float, depth: int) -> tuple[float, ...]:
    return tuple(propagate(activation(name), sigma_w, sigma_b, depth, square).q[:depth].tolist())


@pytest.mark.parametrize(("name", "sigma_w", "sigma_b", "square", "depth", "init", "ratio"), CHAINS)
def test_the_density_has_the_moments_of_all_layers(
    name: str, sigma_w: float, sigma_b: float, square: float, depth: int, init: Init, ratio: float
) -> None:
    phi, q = activation(name), _chain(name, sigma_w, sigma_b, square, depth)
    law = jacobian_law(phi, q, sigma_w, depth, init, ratio)
    assert law.integral(0) == pytest.approx(1, abs=1e-6)
    # every layer's own law of φ'², no rule in between
    laws = [slope_law(phi, variance) for variance in q]
    exact = product_moments(relation_of(laws, [1.0] * depth, sigma_w, depth, init, ratio).series(3), 3)
    for k in (1, 2, 3):
        assert law.integral(k) == pytest.approx(exact[k - 1] / min(1.0, ratio), rel=3e-6)
    assert law.variance == pytest.approx(jacobian_variance(phi, q, sigma_w, depth, init, ratio), rel=1e-7)
    assert law.lambda_max == pytest.approx(jacobian_edge(phi, q, sigma_w, depth, init, ratio), rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "hard_tanh", "elu"])
@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
def test_equal_variances_have_the_law_of_one(name: str, init: Init) -> None:
    phi = activation(name)
    one, same = jacobian_law(phi, 0.7, 1.2, 6, init), jacobian_law(phi, (0.7,) * 6, 1.2, 6, init)
    assert same.lambda_max == pytest.approx(one.lambda_max, rel=1e-12)
    p = np.linspace(0.3, 0.95, 20)
    np.testing.assert_allclose(same.quantile(p), one.quantile(p), rtol=1e-6)


def test_nearly_equal_variances_have_nearly_that_law() -> None:
    phi = activation("tanh")
    q = tuple(0.5 * (1 + 1e-4 * math.sin(k)) for k in range(20))
    mean = sum(q) / 20
    assert jacobian_edge(phi, q, 1.3, 20, "orthogonal") == pytest.approx(
        jacobian_edge(phi, mean, 1.3, 20, "orthogonal"), rel=1e-7
    )


@pytest.mark.parametrize("order", [(0.2, 0.9, 3.0), (3.0, 0.2, 0.9), (0.9, 3.0, 0.2)])
def test_square_layers_commute(order: tuple[float, ...]) -> None:
    phi = activation("tanh")
    assert jacobian_edge(phi, order, 1.4, 3, "gaussian") == pytest.approx(
        jacobian_edge(phi, (0.2, 0.9, 3.0), 1.4, 3, "gaussian"), rel=1e-12
    )


def _singular_values(
    name: str, sigma_w: float, sigma_b: float, square: float, depth: int, init: Init, width: int, seed: int
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Squared singular values by plain numpy, and the layers' shares of active units."""
    rng = np.random.default_rng(seed)
    phi = activation(name)
    x = rng.standard_normal(width)
    x *= math.sqrt(square * width) / np.linalg.norm(x)
    jacobian, active = np.eye(width), []
    for _ in range(depth):
        a = rng.standard_normal((width, width))
        if init == "orthogonal":
            o, r = np.linalg.qr(a)
            w = sigma_w * o * np.sign(np.diag(r))
        else:
            w = sigma_w * a / math.sqrt(width)
        h = w @ x + sigma_b * rng.standard_normal(width)
        slope = phi.phi_prime(h)
        active.append(float(np.mean(slope != 0)))
        jacobian = slope[:, None] * (w @ jacobian)
        x = phi.phi(h)
    return np.linalg.svd(jacobian, compute_uv=False) ** 2, tuple(active)


def _distance(laws: list[JacobianLaw], spectra: list[np.ndarray]) -> float:
    """Kolmogorov and Smirnov's, of the pooled non-zero continuous parts against the laws' mixture."""
    kept = []
    for law, values in zip(laws, spectra, strict=True):
        for atom, _ in law.atoms:
            values = values[np.abs(values - atom) > 1e-9]
        kept.append(values[values > 1e-27 * values.max()])
    pooled = np.sort(np.concatenate(kept))
    below = np.zeros(len(pooled))
    for law in laws:
        assert law.curve is not None
        parts = law.cdf(pooled) - law.zero_mass
        for atom, share in law.atoms:
            parts = parts - np.where(pooled >= atom, share, 0.0)
        below += parts
    below /= sum(law.curve.mass for law in laws if law.curve is not None)
    steps = np.arange(len(pooled) + 1) / len(pooled)
    return float(max(np.max(np.abs(below - steps[:-1])), np.max(np.abs(below - steps[1:]))))


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b", "square", "init"),
    [
        ("tanh", 1.9, 0.1, 0.05, "orthogonal"),
        ("tanh", 1.2, 0.1, 6.0, "gaussian"),
        ("gelu", 1.3, 0.1, 3.0, "orthogonal"),
        ("hard_tanh", 1.1, 0.1, 2.0, "gaussian"),
    ],
)
def test_a_network_far_from_its_fixed_point_follows_its_own_law(
    name: str, sigma_w: float, sigma_b: float, square: float, init: Init
) -> None:
    phi = activation(name)
    network = Network(phi, sigma_w, sigma_b, 4, 240, init, mean_square=square)
    q = layer_variances(network)
    assert isinstance(q, tuple)
    spectra = [_singular_values(name, sigma_w, sigma_b, square, 4, init, 240, seed)[0] for seed in range(4)]
    own = _distance([run_law(network, finite_width=True)] * 4, spectra)
    at_fixed_point = _distance([jacobian_law(phi, q[-1], sigma_w, 4, init, width=240)] * 4, spectra)
    assert own < 0.04
    assert at_fixed_point > 1.5 * own


@pytest.mark.parametrize(("init", "depth"), [("orthogonal", 2), ("orthogonal", 3), ("gaussian", 3), ("orthogonal", 8)])
def test_relu_given_its_own_counts_of_active_units(init: Init, depth: int) -> None:
    """What a single network's law differs by from the expected one is its counts: given them, it is rigid."""
    relu, sigma_w, width = activation("relu"), math.sqrt(2), 200
    own, expected, spectra = [], [], []
    for seed in range(4):
        values, active = _singular_values("relu", sigma_w, 0.0, 1.0, depth, init, width, seed)
        spectra.append(values)
        own.append(jacobian_law(relu, 1.0, sigma_w, depth, init, active=active))
        expected.append(jacobian_law(relu, 1.0, sigma_w, depth, init, width=width))
        assert np.mean(values < 1e-27 * values.max()) == pytest.approx(own[-1].zero_mass, abs=1e-9)
    assert _distance(own, spectra) < 0.02
    single = [_distance([law], [values]) for law, values in zip(own, spectra, strict=True)]
    assert np.mean(single) < np.mean([_distance([law], [s]) for law, s in zip(expected, spectra, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize("depth", [3, 8])
def test_relu_of_width_1000_given_its_own_counts(depth: int) -> None:
    relu, sigma_w = activation("relu"), math.sqrt(2)
    laws, spectra = [], []
    for seed in range(4):
        values, active = _singular_values("relu", sigma_w, 0.0, 1.0, depth, "orthogonal", 1000, seed)
        spectra.append(values)
        laws.append(jacobian_law(relu, 1.0, sigma_w, depth, "orthogonal", active=active))
    assert _distance(laws, spectra) < 0.006


def test_the_expected_law_is_the_mean_over_networks_to_order_one_over_the_width() -> None:
    """Over many draws of the counts the mean distribution is the one at the expected order statistics, ever more so."""
    relu, rng, gaps = activation("relu"), np.random.default_rng(0), []
    for width in (250, 4000):
        expected = jacobian_law(relu, 1.0, math.sqrt(2), 3, "orthogonal", width=width)
        at = np.exp(np.linspace(-9, math.log(expected.lambda_max), 200))
        draws = rng.binomial(width, 0.5, (60, 3)) / width
        mean = np.mean(
            [jacobian_law(relu, 1.0, math.sqrt(2), 3, "orthogonal", active=tuple(d)).cdf(at) for d in draws.tolist()], 0
        )
        gaps.append(float(np.max(np.abs(mean - expected.cdf(at)))))
    assert gaps[0] < 0.015
    assert gaps[1] < 0.4 * gaps[0]


def test_columns_of_a_run_away_from_its_fixed_point() -> None:
    network = Network(activation("tanh"), 1.9, 0.1, 6, 500, mean_square=0.05, outputs=10)
    row = theory_columns(network)
    q = layer_variances(network)
    assert isinstance(q, tuple)
    assert row["theory_jacobian_s_max"] == pytest.approx(
        math.sqrt(jacobian_edge(network.activation, q, 1.9, 6, "orthogonal"))
    )
    top = [math.sqrt(_singular_values("tanh", 1.9, 0.1, 0.05, 6, "orthogonal", 500, seed)[0][0]) for seed in range(4)]
    assert np.mean(top) == pytest.approx(row["theory_jacobian_s_max"], rel=0.05)
    fixed = theory_columns(replace(network, mean_square=0.33))
    assert abs(float(fixed["theory_jacobian_s_max"] or 0) / float(row["theory_jacobian_s_max"] or 1) - 1) > 0.05


def test_the_counts_of_layers_that_differ() -> None:
    active = (0.5, 0.6, 0.62)
    counts = np.sort(np.random.default_rng(0).binomial(200, active, (100_000, 3)), 1).mean(0) / 200
    np.testing.assert_allclose(active_shares(200, active, 3), counts, atol=3e-4)
    assert zero_mass(200, active, 3) == pytest.approx(1 - counts[0], abs=3e-4)
    np.testing.assert_allclose(active_shares(200, (0.5,) * 5, 5), active_shares(200, 0.5, 5), rtol=1e-12)
    nearly = (0.5, 0.5, 0.5 + 1e-13)
    np.testing.assert_allclose(active_shares(200, nearly, 3), active_shares(200, 0.5, 3), rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-8, 1e4), min_size=1, max_size=40))
def test_a_rule_has_the_sums_of_what_it_stands_for(variances: list[float]) -> None:
    rule = variance_rule(variances)
    assert sum(count for _, count in rule) == pytest.approx(len(variances), rel=1e-9)
    assert all(min(variances) * (1 - 1e-9) <= q <= max(variances) * (1 + 1e-9) for q, _ in rule)
    assert len(rule) <= len(variances)

    def smooth(q: float) -> float:
        return math.log1p(q) / (1 + q)

    exact = sum(smooth(q) for q in variances)
    assert sum(count * smooth(q) for q, count in rule) == pytest.approx(exact, rel=2e-3, abs=2e-3)


def test_what_is_refused() -> None:
    tanh, relu = activation("tanh"), activation("relu")
    with pytest.raises(ValueError, match="as many variances"):
        jacobian_law(tanh, (0.5, 0.6), 1.3, 3, "orthogonal")
    with pytest.raises(ValueError, match="shares of active units"):
        jacobian_law(tanh, 0.5, 1.3, 2, "orthogonal", active=(0.5, 0.5))
    with pytest.raises(ValueError, match="as many shares"):
        jacobian_law(relu, 1.0, 1.4, 3, "orthogonal", active=(0.5, 0.5))
    with pytest.raises(ValueError, match="above 0"):
        variance_rule([0.5, 0.0])
    with pytest.raises(ValueError, match="no layers"):
        variance_rule([])
    with pytest.raises(ValueError, match="as many probabilities"):
        zero_mass(100, (0.5, 0.4), 3)


def test_a_piecewise_linear_function_of_ones_own_with_three_slopes() -> None:
    """Neither homogeneous nor of slopes 0 and 1: its atoms' masses follow each layer's variance."""
    mine = custom_activation(
        lambda x: np.where(np.abs(x) < 1, x, np.sign(x) * (1 + (np.abs(x) - 1) / 2)),
        lambda x: np.where(np.abs(x) < 1, 1.0, 0.5),
        kinks=(-1.0, 1.0),
        odd=True,
        piecewise_linear=True,
    )
    q = (0.3, 1.0, 2.5)
    variance = jacobian_variance(mine, q, 1.1, 3, "gaussian")
    each = [slope_law(mine, v).moments for v in q]
    mean = math.prod(1.1**2 * m[0] for m in each)
    assert variance == pytest.approx(mean**2 * (sum(m[1] / m[0] ** 2 - 1 for m in each) + 3), rel=1e-5)
