"""The Jacobian's law: reference values, closed forms, its own moments, and plain matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from isosweep.theory.activations import ACTIVATIONS, activation
from isosweep.theory.critical_line import critical_at_variance
from isosweep.theory.finite_width import gaussian_log_growth, log_growth, lyapunov_exponents, zero_mass
from isosweep.theory.free_moments import inverse_s_series, product_moments
from isosweep.theory.jacobian_law import Init, JacobianLaw, NoDensity, jacobian_edge, jacobian_law, jacobian_variance
from isosweep.theory.large_depth import bernoulli_limit, smooth_limit
from isosweep.theory.slope_law import slope_law


@pytest.mark.parametrize(
    ("q", "variance", "s_max"),
    [
        (1e-4, "1.59840e-05", "1.003643"),
        (9e-4, "0.00128444", "1.032955"),
        (1 / 64, "0.337874", "1.610827"),
        (1 / 2, "59.848825", "12.794818"),
        (8.0, "551.83578", "38.712419"),
    ],
)
def test_tanh_at_depth_200_has_every_digit_of_the_reference(q: float, variance: str, s_max: str) -> None:
    tanh = activation("tanh")
    sigma_w = critical_at_variance(tanh, q).sigma_w
    found = jacobian_variance(tanh, q, sigma_w, 200, "orthogonal")
    assert found == pytest.approx(float(variance), rel=4e-6)
    assert f"{found:.{len(variance.split('.')[1])}f}" == variance or "e" in variance
    assert f"{math.sqrt(jacobian_edge(tanh, q, sigma_w, 200, 'orthogonal')):.6f}" == s_max


@pytest.mark.parametrize(("depth", "edge"), [(1, 4), (2, 6.75), (10, 28.53116706), (100, 273.18619677)])
def test_linear_gaussian_edges(depth: int, edge: float) -> None:
    assert jacobian_edge(activation("linear"), 1.0, 1.0, depth, "gaussian") == pytest.approx(edge, rel=2e-10)
    law = jacobian_law(activation("linear"), 1.0, 1.0, depth, "gaussian")
    for k in (1, 2, 3, 4):
        assert law.moments[k - 1] == pytest.approx(math.comb((depth + 1) * k, k) / (depth * k + 1), rel=1e-12)


def test_relu_orthogonal_edges_and_no_spread_of_linear_ones() -> None:
    relu = activation("relu")
    assert jacobian_edge(relu, 1.0, math.sqrt(2), 2, "orthogonal") == pytest.approx(4, rel=1e-12)
    assert jacobian_edge(relu, 1.0, math.sqrt(2), 10, "orthogonal") == pytest.approx(25.81174792, rel=1e-9)
    law = jacobian_law(activation("linear"), 1.0, 1.0, 50, "orthogonal")
    assert law.atoms == ((1.0, 1.0),)
    assert law.curve is None
    assert law.quantile([0.1, 0.9]).tolist() == [1.0, 1.0]


def test_hard_tanh_has_an_atom_while_the_layers_allow_one() -> None:
    hard = activation("hard_tanh")
    p = math.erf(1.0)
    sigma_w = critical_at_variance(hard, 0.5).sigma_w
    law = jacobian_law(hard, 0.5, sigma_w, 3, "orthogonal")
    assert law.atoms[0][0] == pytest.approx(p**-3)
    assert law.atoms[0][1] == pytest.approx(1 - 3 * (1 - p))
    assert law.zero_mass == pytest.approx(1 - p)
    deep = jacobian_law(hard, 0.5, sigma_w, 12, "orthogonal")
    assert deep.atoms == ()
    assert deep.lambda_max == pytest.approx((1 - p) / p * 12**12 / 11**11, rel=1e-12)


INITS: tuple[Init, Init] = ("orthogonal", "gaussian")
VARIANCES = (1e-4, 1 / 64, 0.1, 0.5, 2.0, 8.0, 64.0, 400.0)
CASES: list[tuple[str, float, int, Init, float]] = [
    (name, q, depth, init, 1.0)
    for name in ("tanh", "hard_tanh", "relu", "gelu", "softplus", "sin", "scaled_erf", "elu")
    for q in (1 / 64, 0.5, 4.0)
    for depth, init in ((3, "orthogonal"), (20, "orthogonal"), (200, "gaussian"))
] + [
    ("tanh", 1 / 64, 200, "orthogonal", 1.0),
    ("tanh", 1e-4, 200, "orthogonal", 1.0),
    ("linear", 1.0, 1, "gaussian", 1.0),
    ("relu", 1.0, 1, "gaussian", 1.0),
    ("relu", 1.0, 2, "orthogonal", 1.0),
    ("hard_tanh", 0.5, 2, "orthogonal", 1.0),
    ("tanh", 0.5, 1, "orthogonal", 1.0),
    ("tanh", 0.5, 5, "gaussian", 7.68),
    ("tanh", 0.5, 5, "gaussian", 0.3),
    ("tanh", 0.5, 5, "orthogonal", 0.5),
    ("relu", 0.5, 5, "gaussian", 2.0),
    ("relu", 0.5, 5, "orthogonal", 0.3),
    # an orthogonal layer wider than its input, φ' nearly constant: a narrow law far above its nominal lower end
    ("tanh", 1 / 64, 1, "orthogonal", 0.5),
    ("tanh", 1 / 64, 4, "orthogonal", 0.32),
    ("scaled_erf", 1 / 64, 20, "orthogonal", 0.98),
    # slopes down to e^−300, and an input slightly narrower than the layer
    ("erf", 8.0, 3, "orthogonal", 0.98),
    ("erf", 8.0, 5, "gaussian", 0.98),
    ("leaky_relu", 0.5, 2, "orthogonal", 1.0),
    ("leaky_relu", 0.5, 1, "gaussian", 1.0),  # two intervals with a gap between them
    ("leaky_relu", 0.5, 2, "gaussian", 1.0),
    ("leaky_relu", 0.5, 20, "gaussian", 1.0),
]


def _critical_law(name: str, q: float, depth: int, init: Init, ratio: float) -> JacobianLaw:
    phi = activation(name)
    sigma_w = 1 / math.sqrt(slope_law(phi, q).moments[0])
    return jacobian_law(phi, q, sigma_w, depth, init, ratio)


@pytest.mark.parametrize(("name", "q", "depth", "init", "ratio"), CASES)
def test_the_density_integrates_to_one_and_has_its_moments(
    name: str, q: float, depth: int, init: Init, ratio: float
) -> None:
    law = _critical_law(name, q, depth, init, ratio)
    assert law.integral(0) == pytest.approx(1, abs=1e-6)
    for k in (1, 2, 3):
        assert law.integral(k) == pytest.approx(law.moments[k - 1], rel=1e-6)
    slopes = slope_law(activation(name), q)
    sigma_w = 1 / math.sqrt(slopes.moments[0])
    assert law.variance == pytest.approx(
        jacobian_variance(activation(name), q, sigma_w, depth, init, ratio), rel=1e-9, abs=1e-13
    )


GRID = [(depth, init, q) for depth in (1, 2, 3, 8, 64) for init in INITS for q in VARIANCES]
# every depth with both initialisations, and every variance, once at least
SOME = [(1, "orthogonal", 400.0), (1, "gaussian", 64.0), (2, "orthogonal", 0.1), (2, "gaussian", 8.0)]
SOME += [(3, "orthogonal", 64.0), (3, "gaussian", 0.1), (8, "orthogonal", 2.0), (8, "gaussian", 1e-4)]
SOME += [(64, "orthogonal", 8.0), (64, "gaussian", 400.0), (2, "orthogonal", 0.5), (64, "orthogonal", 1 / 64)]


@pytest.mark.parametrize(
    "points", [pytest.param(GRID, marks=pytest.mark.slow, id="grid"), pytest.param(SOME, id="some")]
)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_density(name: str, points: list[tuple[int, Init, float]]) -> None:
    """From variances so small that φ is linear to such at which most φ'² are below what float64 holds: the law is
    whole, and its first moments are those of the series, which knows nothing of the density.
    """
    for depth, init, q in points:
        law = _critical_law(name, q, depth, init, 1.0)
        found = law.integral(0), law.integral(1) / law.moments[0], law.integral(2) / law.moments[1]
        assert found == pytest.approx((1, 1, 1), abs=1e-6), (depth, init, q)
        assert law.curve is None or np.all(law.curve.density >= 0)


def test_slopes_too_small_to_be_told_from_zero_are_counted_as_zero() -> None:
    """erf at q = 64: φ'² is below 1e-280 beyond h = 17.95, 2.24 standard deviations."""
    beyond = math.erfc(math.sqrt(math.log(4 / math.pi / 1e-280) / 2) / 8 / math.sqrt(2))
    assert slope_law(activation("erf"), 64.0).zero_mass == pytest.approx(beyond, rel=1e-6)
    assert _critical_law("erf", 64.0, 3, "orthogonal", 1.0).zero_mass == pytest.approx(beyond, abs=1e-2)
    assert slope_law(activation("gelu"), 64.0).zero_mass == pytest.approx(7.23e-4, rel=0.01)  # its left tail alone
    assert slope_law(activation("tanh"), 64.0).zero_mass == 0


def test_a_density_that_cannot_be_followed_is_refused_by_name() -> None:
    """A single orthogonal layer on an input slightly narrower than itself: the law's atom lies within its support."""
    with pytest.raises(NoDensity, match="no density for elu, orthogonal, depth 1"):
        _critical_law("elu", 0.5, 1, "orthogonal", 0.98)
    phi = activation("elu")
    assert jacobian_edge(phi, 0.5, 1 / math.sqrt(slope_law(phi, 0.5).moments[0]), 1, "orthogonal", 0.98) > 1


@pytest.mark.parametrize("ratio", [0.55, 0.75, 0.9, 0.95])
def test_lower_edge_between_two_atoms_is_that_of_two_free_projections(ratio: float) -> None:
    """One orthogonal layer of leaky_relu on a narrower input: φ'² = a² + (1 − a²)P with P of share ½ projects onto the
    positive units, and the product of free projections of shares α, β ends at α + β − 2αβ ± 2√(αβ(1 − α)(1 − β)).
    """
    law = jacobian_law(activation("leaky_relu"), 1.0, 1.0, 1, "orthogonal", ratio)
    lowest = 0.5 - math.sqrt(ratio * (1 - ratio))
    assert law.lambda_min == pytest.approx((1e-4 + (1 - 1e-4) * lowest) / ratio, rel=1e-6)


def test_a_gap_in_the_support_holds_no_values() -> None:
    leaky = activation("leaky_relu")
    law = jacobian_law(leaky, 1.0, 1.0, 1, "gaussian")
    values = np.concatenate([_spectrum_of_one_layer(leaky.phi_prime, 600, seed) for seed in range(2)])
    assert law.curve is not None
    at = np.exp(np.linspace(-16, math.log(law.lambda_max), 400))
    empty = at[(law.density(at) == 0) & (at > 1e-4) & (at < 0.9 * law.lambda_max)]
    assert len(empty) > 3  # half of the values lie below the gap
    assert law.cdf(empty) == pytest.approx(0.5, abs=1e-5)
    assert not np.any((values > empty.min() * 1.05) & (values < empty.max() / 1.05))
    below = law.cdf(np.sort(values))
    assert np.max(np.abs(below - (np.arange(len(values)) + 0.5) / len(values))) < 0.03


def _spectrum_of_one_layer(slope: Callable[[np.ndarray], np.ndarray], width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((width, width)) / math.sqrt(width)
    d = slope(rng.permutation(np.repeat([-1.0, 1.0], width // 2)))
    return np.linalg.svd(d[:, None] * w, compute_uv=False) ** 2


def test_quantiles_invert_the_distribution() -> None:
    law = _critical_law("tanh", 0.5, 20, "orthogonal", 1.0)
    p = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(law.cdf(law.quantile(p)), p, atol=1e-9)
    marchenko = jacobian_law(activation("linear"), 1.0, 1.0, 1, "gaussian")
    x = np.array([0.5, 1.0, 2.0, 3.5])
    exact = (2 * np.arcsin(np.sqrt(x) / 2) + np.sqrt(x * (4 - x)) / 2) / np.pi
    np.testing.assert_allclose(marchenko.cdf(x), exact, atol=2e-4)
    np.testing.assert_allclose(marchenko.density(x), np.sqrt((4 - x) / x) / (2 * np.pi), rtol=2e-3)
    hard = _critical_law("hard_tanh", 0.5, 3, "orthogonal", 1.0)
    assert hard.quantile(0.05) == 0
    assert hard.quantile(0.999) == pytest.approx(hard.lambda_max)


def test_a_user_function_gets_the_same_law() -> None:
    from isosweep.theory.activations import custom_activation

    mine = custom_activation(
        np.tanh, lambda x: np.cosh(x) ** -2.0, lambda x: -2 * np.tanh(x) * np.cosh(x) ** -2.0, odd=True, analytic=True
    )
    theirs = jacobian_law(activation("tanh"), 0.5, 1.3, 10, "orthogonal")
    ours = jacobian_law(mine, 0.5, 1.3, 10, "orthogonal")
    assert ours.lambda_max == pytest.approx(theirs.lambda_max, rel=1e-9)
    assert ours.integral(0) == pytest.approx(1, abs=1e-6)
    plain = custom_activation(np.tanh, lambda x: np.cosh(x) ** -2.0)
    with pytest.raises(ValueError, match="analytic"):
        slope_law(plain, 0.5)


def test_the_limits_of_large_depth() -> None:
    tanh, hard = activation("tanh"), activation("hard_tanh")
    misses = []
    for depth in (1000, 16000):
        q = 0.1 / math.sqrt(depth)  # μ_2/μ_1² − 1 is about 8q² for tanh
        law = slope_law(tanh, q)
        sigma_w = 1 / math.sqrt(law.moments[0])
        sigma_0 = math.sqrt(jacobian_variance(tanh, q, sigma_w, depth, "orthogonal"))
        misses.append(jacobian_edge(tanh, q, sigma_w, depth, "orthogonal") / smooth_limit(sigma_0)[1] - 1)
    assert abs(misses[1]) < 6e-3
    assert misses[0] / misses[1] == pytest.approx(4, rel=0.1)  # the approach is as 1/√L
    p = math.erf(1 / math.sqrt(2 * 0.5))
    depth = 4000
    wide = jacobian_edge(hard, 0.5, p**-0.5, depth, "orthogonal")
    assert wide == pytest.approx(bernoulli_limit(math.sqrt(depth * (1 - p) / p))[0], rel=1e-3)
    assert smooth_limit(0.0) == (1.0, 1.0)
    assert bernoulli_limit(0.5) == pytest.approx((math.exp(0.25), 0.75))


def test_series_of_a_known_product() -> None:
    marchenko = [math.comb(2 * k, k) / (k + 1) for k in range(1, 7)]
    np.testing.assert_allclose(inverse_s_series(marchenko, 6), [1, 1, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(product_moments(inverse_s_series(marchenko, 6), 6), marchenko)


def test_finite_width_laws() -> None:
    assert zero_mass(1000, 0.5, 20) == pytest.approx(0.527, abs=0.004)
    assert zero_mass(50, 0.5, 1) == pytest.approx(0.5)
    rng = np.random.default_rng(3)
    counts = rng.binomial(200, 0.84, size=(4000, 12)).min(1)
    assert zero_mass(200, 0.84, 12) == pytest.approx(1 - counts.mean() / 200, abs=2e-3)
    growth = gaussian_log_growth(30, 8)
    chi = rng.chisquare(30, size=(40000, 8)) / 30
    logs = np.log(chi).sum(1)
    assert growth.mean == pytest.approx(logs.mean(), abs=0.02)
    assert growth.variance == pytest.approx(logs.var(), rel=0.04)
    assert growth.exact
    relu = log_growth(slope_law(activation("relu"), 1.0), 100, 10, math.sqrt(2))
    assert relu.variance == pytest.approx(10 * 5 / 100)
    assert lyapunov_exponents(6).sum() == pytest.approx(6 * lyapunov_exponents(6).mean())
    assert np.all(np.diff(lyapunov_exponents(6)) < 0)


def _singular_values(name: str, q: float, depth: int, init: Init, width: int, seed: int) -> np.ndarray:
    """Squared singular values of a network at its fixed point, by plain numpy."""
    rng = np.random.default_rng(seed)
    phi = activation(name)
    point = critical_at_variance(phi, q)
    x = rng.standard_normal(width)
    x *= math.sqrt((q - point.sigma_b**2) / point.sigma_w**2 * width) / np.linalg.norm(x)
    jacobian = np.eye(width)
    for _ in range(depth):
        a = rng.standard_normal((width, width))
        if init == "orthogonal":
            o, r = np.linalg.qr(a)
            w = point.sigma_w * o * np.sign(np.diag(r))
        else:
            w = point.sigma_w * a / math.sqrt(width)
        h = w @ x + point.sigma_b * rng.standard_normal(width)
        jacobian = phi.phi_prime(h)[:, None] * (w @ jacobian)
        x = phi.phi(h)
    return np.linalg.svd(jacobian, compute_uv=False) ** 2


def _distance(name: str, q: float, depth: int, init: Init, width: int, seeds: int) -> float:
    """Kolmogorov and Smirnov's, on the non-zero continuous part."""
    phi = activation(name)
    law = jacobian_law(phi, q, critical_at_variance(phi, q).sigma_w, depth, init, width=width)
    values = np.concatenate([_singular_values(name, q, depth, init, width, s) for s in range(seeds)])
    for atom, _ in law.atoms:
        values = values[np.abs(values - atom) > 1e-9]
    values = np.sort(values[values > 1e-27 * values.max()])  # exact zeros come out of the SVD near 1e-32
    assert law.curve is not None
    below = (law.cdf(values) - law.zero_mass) / law.curve.mass
    steps = np.arange(len(values) + 1) / len(values)
    return float(max(np.max(np.abs(below - steps[:-1])), np.max(np.abs(below - steps[1:]))))


@pytest.mark.parametrize(
    ("name", "init", "limit"),
    [("tanh", "orthogonal", 0.04), ("hard_tanh", "gaussian", 0.04), ("relu", "orthogonal", 0.08)],
)
def test_a_small_network_follows_the_law(name: str, init: Init, limit: float) -> None:
    # relu's counts of active units, whose minimum over the layers is the rank, fluctuate most
    assert _distance(name, 0.5, 4, init, 200, 4) < limit


@pytest.mark.slow
@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "relu"])
def test_networks_of_width_1000_follow_the_law(name: str, init: Init) -> None:
    assert _distance(name, 0.5, 8, init, 1000, 4) < 0.015


@pytest.mark.slow
@pytest.mark.parametrize(("q", "low", "high"), [(1 / 64, 1.56, 1.65), (8.0, 2.5, 19.0)])
def test_where_finite_width_dominates_the_law_says_little(q: float, low: float, high: float) -> None:
    """tanh, width 400, depth 200: near the law's 1.61 at q* = 1/64, and nowhere near its 38.7 at 8."""
    for seed in range(2):
        assert low < math.sqrt(_singular_values("tanh", q, 200, "orthogonal", 400, seed)[0]) < high


def test_no_singular_value_is_above_the_gains_product() -> None:
    """Orthogonal weights and |φ'| ≤ 1."""
    for name, q, depth in (("tanh", 0.5, 4), ("hard_tanh", 8.0, 9), ("sin", 2.0, 30), ("relu", 1.0, 3)):
        phi = activation(name)
        assert jacobian_edge(phi, q, 1.3, depth, "orthogonal") <= 1.3 ** (2 * depth) * (1 + 1e-12)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="depth"):
        jacobian_law(activation("tanh"), 0.5, 1.0, 0, "orthogonal")
    with pytest.raises(ValueError, match="init"):
        jacobian_law(activation("tanh"), 0.5, 1.0, 2, "uniform")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="σ_w"):
        jacobian_law(activation("tanh"), 0.5, 0.0, 2, "gaussian")
    with pytest.raises(ValueError, match="variance"):
        slope_law(activation("tanh"), 0.0)
