"""Theory against isosweep's own measurements: `isosweep.load` → `isosweep.execute`, laws read through the public API.

The slow tests are at width 1000 with the tolerances that theory promises there; each has a quick sibling at width 200,
whose tolerance is √5 times as wide, because what is left out fluctuates as 1/√width.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import isosweep
from isosweep.measurement.measurement import Measurement
from isosweep.sweep.settings import NetworkSettings, Run
from isosweep.tables.theory import theory_row
from isosweep.theory.activations import activation
from isosweep.theory.depth_scale import depth_scales
from isosweep.theory.finite_width import log_growth, zero_mass
from isosweep.theory.fisher_sums import layer_sums
from isosweep.theory.jacobian_law import JacobianLaw
from isosweep.theory.karakida import karakida
from isosweep.theory.kernels import infinite_width
from isosweep.theory.mean_field import variance_fixed_point
from isosweep.theory.network import Network
from isosweep.theory.predict import predicted_law
from isosweep.theory.propagation import propagate
from isosweep.theory.slope_law import slope_law
from isosweep.theory.softmax_fisher import softmax_lambda_max

SAMPLES, CLASSES = 60, 10

WIDTHS = [pytest.param(1000, marks=pytest.mark.slow), 200]
LAWS = [(name, init) for name in ("tanh", "hard_tanh", "relu") for init in ("orthogonal", "gaussian")]
LAWS.append(("linear", "gaussian"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


@lru_cache(maxsize=64)
def _runs(folder: Path, network: str, data: str, measure: str, seeds: int) -> tuple[Run, ...]:
    path = folder / "sweep.yaml"
    path.write_text(f"name: t\nnetwork: {{{network}}}\ndata: {{{data}}}\nmeasure: {{{measure}}}\nseeds: {seeds}\n")
    return tuple(isosweep.load(path).runs())


@lru_cache(maxsize=64)
def _measured(folder: Path, network: str, data: str, measure: str, seeds: int) -> tuple[Measurement, ...]:
    return tuple(isosweep.execute(run) for run in _runs(folder, network, data, measure, seeds))


def _gaussian(width: int) -> str:
    return f"name: gaussian, samples: 64, inputs: {width}, classes: {CLASSES}, scale: fixed_point"


def _within(width: int, promised: float) -> float:
    """A tolerance promised at width 1000, at another."""
    return promised * math.sqrt(1000 / width)


# --- the Jacobian's spectrum

DEPTH, SEEDS, Q = 8, 4, 0.5


def _jacobian(folder: Path, name: str, init: str, width: int) -> tuple[JacobianLaw, np.ndarray]:
    """The law and (SEEDS, width) ln λ measured."""
    network = f"depth: {DEPTH}, width: {width}, activation: {name}, init: {init}, gain: critical, q_star: {Q}"
    setting = (folder, network, _gaussian(width), "jacobian: {samples: 1}", SEEDS)
    settings = _runs(*setting)[0].network
    assert isinstance(settings, NetworkSettings)
    assert settings.gain is not None
    assert init in ("orthogonal", "gaussian")
    law = predicted_law(
        Network(
            activation(name),
            settings.gain,
            settings.bias_std or 0.0,
            DEPTH,
            width,
            "orthogonal" if init == "orthogonal" else "gaussian",
            Q,
        ),
        finite_width=True,
    )
    assert law is not None
    return law, np.array([2 * m.jacobian[0].log_singular_values for m in _measured(*setting)])


def _distance(law: JacobianLaw, logs: np.ndarray) -> float:
    """Kolmogorov and Smirnov's, on the non-zero continuous part: values within 1e-9 of an atom belong to it."""
    values = np.exp(np.sort(logs[~np.isneginf(logs)]))
    for atom, _ in law.atoms:
        values = values[np.abs(values - atom) > 1e-9]
    assert law.curve is not None
    assert len(values) == pytest.approx(law.curve.mass * logs.size, rel=0.05)
    below = (law.cdf(values) - law.zero_mass) / law.curve.mass
    steps = np.arange(len(values) + 1) / len(values)
    return float(max(np.max(np.abs(below - steps[:-1])), np.max(np.abs(below - steps[1:]))))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "init"), LAWS)
def test_singular_values_follow_the_law(folder: Path, name: str, init: str, width: int) -> None:
    law, logs = _jacobian(folder, name, init, width)
    assert _distance(law, logs) < _within(width, 0.015)


@pytest.mark.parametrize("width", [200])
def test_the_distance_tells_one_law_from_another(folder: Path, width: int) -> None:
    tanh, _ = _jacobian(folder, "tanh", "orthogonal", width)
    _, gaussian = _jacobian(folder, "tanh", "gaussian", width)
    assert _distance(tanh, gaussian) > 5 * _within(width, 0.015)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "init"), [law for law in LAWS if law[0] in ("relu", "hard_tanh")])
def test_exact_zeros_are_as_many_as_the_smallest_layer_leaves(folder: Path, name: str, init: str, width: int) -> None:
    _, logs = _jacobian(folder, name, init, width)
    active = 1 - slope_law(activation(name), Q).zero_mass
    expected = zero_mass(width, active, DEPTH)
    # the spread of the smallest of L binomial counts, by drawing them; three standard errors of the seeds' mean
    counts = np.random.default_rng(0).binomial(width, active, (20000, DEPTH)).min(1) / width
    assert np.isneginf(logs).mean() == pytest.approx(expected, abs=3 * counts.std() / math.sqrt(SEEDS))
    assert expected > 1 - active + counts.std()  # not the wide limit's 1 − p


def test_an_atom_has_its_share_of_the_values(folder: Path) -> None:
    """hard_tanh, orthogonal, three layers: 1 − L(1 − p) of the singular values are σ_w^L exactly."""
    width = 300
    network = f"depth: 3, width: {width}, activation: hard_tanh, init: orthogonal, gain: critical, q_star: {Q}"
    setting = (folder, network, _gaussian(width), "jacobian: {samples: 1}", SEEDS)
    settings = _runs(*setting)[0].network
    assert isinstance(settings, NetworkSettings)
    assert settings.gain is not None
    law = predicted_law(
        Network(activation("hard_tanh"), settings.gain, settings.bias_std or 0.0, 3, width, q_star=Q), True
    )
    assert law is not None
    ((value, share),) = law.atoms
    found = np.exp([2 * m.jacobian[0].log_singular_values for m in _measured(*setting)])
    within = np.mean(np.abs(found - value) < 1e-9)
    # the sum of three binomial counts, over four seeds
    p = 1 - slope_law(activation("hard_tanh"), Q).zero_mass
    assert within == pytest.approx(share, abs=3 * math.sqrt(3 * p * (1 - p) / width / SEEDS))
    assert np.all(found < value + 1e-9)


# --- the Fisher matrix

FISHER = f"fisher: {{samples: {SAMPLES}, likelihood: gaussian}}"
NETWORKS = {
    "tanh": "activation: tanh, gain: 1.7320508075688772, bias_std: 0.8",
    "hard_tanh": "activation: hard_tanh, gain: 1.5, bias_std: 0.5",
    "relu": "activation: relu, gain: 1.4142135623730951, bias_std: 0.1",
}


def _sampling(name: str, init: str, depth: int, width: int, seeds: int) -> float:
    """The standard error of a mean over seeds, from the variance of ln‖Ju‖² (at variance 1)."""
    law = slope_law(activation(name), 1.0)
    return math.sqrt(log_growth(law, width, depth, 1.0, init).variance / seeds)


def _unit(width: int) -> str:
    return f"name: gaussian, samples: {SAMPLES}, inputs: {width}, classes: {CLASSES}"


def _tops(measured: tuple[Measurement, ...]) -> np.ndarray:
    """(seeds) means of the C largest eigenvalues."""
    found = []
    for m in measured:
        eigenvalues = m.fisher[0].eigenvalues
        assert eigenvalues is not None
        found.append(eigenvalues[:CLASSES].mean())
    return np.array(found)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_largest_fisher_eigenvalues(folder: Path, name: str, init: str, width: int) -> None:
    setting = (folder, f"depth: 2, width: {width}, init: {init}, {NETWORKS[name]}", _unit(width), FISHER, 5)
    run, measured = _runs(*setting)[0], _measured(*setting)
    settings = run.network
    assert isinstance(settings, NetworkSettings)
    assert settings.gain is not None
    assert settings.bias_std is not None
    law = karakida(
        Network(activation(name), settings.gain, settings.bias_std, 2, width, samples=SAMPLES, outputs=CLASSES)
    )
    tops = _tops(measured)
    tolerance = _within(width, 0.03)
    if width < 1000 or name == "relu":  # five seeds leave more than that to chance
        tolerance += _sampling(name, init, 2, width, 5)
    assert tops.mean() == pytest.approx(law.lambda_max, rel=tolerance)
    columns = theory_row(run, {})
    assert tops.mean() == pytest.approx(columns["theory_fisher_lambda_max"], rel=tolerance)
    traces = [m.fisher[0].trace for m in measured]
    assert np.mean(traces) == pytest.approx(columns["theory_fisher_trace"], rel=tolerance)
    # the C-fold eigenvalue splits: the largest lies above the mean of the C, by no more than a Wishart matrix's edge
    largest = np.array([m.fisher[0].lambda_max for m in measured])
    assert np.all(largest > tops)
    assert np.all(largest < tops * (1 + math.sqrt(CLASSES / width)) ** 2)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_largest_softmax_eigenvalue(folder: Path, name: str, init: str, width: int) -> None:
    """Given the network's own class probabilities, which at initialisation are one draw."""
    setting = (
        folder,
        f"depth: 2, width: {width}, init: {init}, {NETWORKS[name]}",
        _unit(width),
        f"fisher: {{samples: {SAMPLES}, likelihood: categorical}}",
        5,
    )
    ratios, columns = [], []
    for run, measured in zip(_runs(*setting), _measured(*setting), strict=True):
        settings = run.network
        assert isinstance(settings, NetworkSettings)
        assert settings.gain is not None
        assert settings.bias_std is not None
        network, inputs, _ = isosweep.realize(run)
        p = network(inputs[:SAMPLES]).softmax(1).detach().numpy()
        sums = layer_sums(Network(activation(name), settings.gain, settings.bias_std, 2, width, outputs=CLASSES))
        ratios.append(measured.fisher[0].lambda_max / softmax_lambda_max(p, sums.own, sums.pair, 1.0))
        columns.append(measured.fisher[0].lambda_max / theory_row(run, {})["theory_fisher_lambda_max"])
    tolerance = _within(width, 0.05)
    if width < 1000:  # the outputs' gradients are not orthogonal: √(C/N)
        tolerance += math.sqrt(CLASSES / width)
    assert np.mean(ratios) == pytest.approx(1, abs=tolerance)
    # the column does not know the draw: beside the seeds' spread
    assert abs(np.mean(columns) - 1) < tolerance + 2 * np.std(columns, ddof=1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernel_on_the_runs_own_inputs(folder: Path, name: str, init: str, width: int) -> None:
    """Digits: correlated inputs of unequal norm, narrower than the layers."""
    setting = (
        folder,
        f"depth: 2, width: {width}, init: {init}, {NETWORKS[name]}",
        f"name: digits, samples: {SAMPLES}",
        FISHER,
        5,
    )
    ratios = []
    for run, top in zip(_runs(*setting), _tops(_measured(*setting)), strict=True):
        settings = run.network
        assert isinstance(settings, NetworkSettings)
        assert settings.gain is not None
        assert settings.bias_std is not None
        x = isosweep.realize(run).inputs[:SAMPLES].numpy()
        kernels = infinite_width(
            activation(name), x @ x.T / x.shape[1], settings.gain, settings.bias_std, 2, width, x.shape[1]
        )
        ratios.append(top / kernels.fisher_eigenvalues()[0])
    tolerance = _within(width, 0.05)
    if width < 1000 or name == "relu":
        tolerance += _sampling(name, init, 2, width, 5)
    assert np.mean(ratios) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("likelihood", ["gaussian", "categorical"])
@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
@pytest.mark.parametrize("name", ["tanh", pytest.param("hard_tanh", marks=pytest.mark.slow)])
def test_narrow_deep_networks_whose_signal_dies(folder: Path, name: str, init: str, likelihood: str) -> None:
    """Gain 0.8, depth 64, width 64, on digits: what is left is the biases of the last layers."""
    setting = (
        folder,
        f"depth: 64, width: 64, init: {init}, activation: {name}, gain: 0.8",
        "name: digits, samples: 64",
        f"fisher: {{samples: 64, likelihood: {likelihood}}}",
        4,
    )
    run, measured = _runs(*setting)[0], _measured(*setting)
    columns = theory_row(run, dict(measured[0].scalars))
    share = 1.0 if likelihood == "gaussian" else 1 / CLASSES
    geometric = 1 / (1 - 0.64)  # Σ q̃^l over the layers from the last
    assert columns["theory_fisher_lambda_max"] == pytest.approx(geometric * share, rel=1e-6)
    found = np.array([m.fisher[0].lambda_max for m in measured])
    if init == "orthogonal":
        assert found == pytest.approx(columns["theory_fisher_lambda_max"], rel=1e-3)
    else:  # the back-propagated vectors of the C outputs split: about (1 + √(C/N))² a layer, over the last three
        assert columns["theory_fisher_lambda_max"] < found.mean() < 3 * columns["theory_fisher_lambda_max"]
    traces = np.array([m.fisher[0].trace for m in measured])
    tolerance = 1e-3 if init == "orthogonal" else 0.15
    assert traces.mean() == pytest.approx(columns["theory_fisher_trace"], rel=tolerance)


# --- signals


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "gain", "bias"), [("tanh", 1.2, 0.4), ("hard_tanh", 0.9, 0.5), ("relu", 1.2, 0.3)])
def test_the_fitted_depth_scale_of_correlations(folder: Path, name: str, gain: float, bias: float, width: int) -> None:
    """Ordered phase: 1 − c^l falls as e^{−l/ξ_c}; the slope of its logarithm over the last layers, mean of 8 seeds."""
    seeds, depth, first = 8, 20, 10
    setting = (
        folder,
        f"depth: {depth}, width: {width}, init: orthogonal, activation: {name}, gain: {gain}, bias_std: {bias}",
        _unit(width),
        "fisher: {samples: 40, likelihood: gaussian}",
        seeds,
    )
    phi = activation(name)
    q = variance_fixed_point(phi, gain, bias).q_star
    assert q is not None
    scales = depth_scales(phi, q, gain, bias)
    assert scales.c_star == pytest.approx(1, abs=1e-9)
    layers = np.arange(first, depth)
    fitted = []
    for m in _measured(*setting):
        c = np.array([layer.correlation for layer in m.layers])
        fitted.append(-1 / np.polyfit(layers, np.log(1 - c[layers]), 1)[0])
    assert np.mean(fitted) == pytest.approx(scales.xi_c, rel=_within(width, 0.05))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("gain", "bias"), [(1.2, 0.4), (1.8, 0.3)])
def test_variances_and_correlations_of_every_layer(folder: Path, gain: float, bias: float, width: int) -> None:
    setting = (
        folder,
        f"depth: 8, width: {width}, init: gaussian, activation: tanh, gain: {gain}, bias_std: {bias}",
        _unit(width),
        "fisher: {samples: 40, likelihood: gaussian}",
        4,
    )
    signal = propagate(activation("tanh"), gain, bias, 8)
    measured = _measured(*setting)
    q = np.mean([[layer.q for layer in m.layers[:-1]] for m in measured], 0)
    c = np.mean([[layer.correlation for layer in m.layers[:-1]] for m in measured], 0)
    # a mean of h² over N units, of which 4 seeds are drawn: three standard errors
    np.testing.assert_allclose(q, signal.q[:-1], rtol=3 * math.sqrt(2 / width / 4))
    np.testing.assert_allclose(c, signal.correlation[:-1], atol=_within(width, 0.02))


# --- the shipped sweep

THEORY_CHECK = Path(__file__).parent.parent / "sweeps" / "theory-check.yaml"


def test_every_run_of_the_shipped_check_has_its_prediction() -> None:
    runs = isosweep.load(THEORY_CHECK).runs()
    assert len(runs) == 135
    for run in runs:
        row = theory_row(run, {})
        assert row["theory_jacobian_s_max"] is not None
        assert row["theory_fisher_trace"] is not None
        network = run.network
        assert isinstance(network, NetworkSettings)
        assert network.depth <= 0.02 * network.width
        # linear without biases, on uncorrelated inputs: no outlier
        assert (row["theory_fisher_lambda_max"] is None) == (network.activation == "linear")
