"""The whole prediction: its fields, its notes, what it refuses, its columns and its speed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isosweep.theory.activations import ACTIVATIONS, activation, custom_activation
from isosweep.theory.columns import COLUMNS, residual, theory_columns
from isosweep.theory.critical_line import NoCriticalPoint
from isosweep.theory.jacobian_law import jacobian_edge
from isosweep.theory.network import Network
from isosweep.theory.predict import predict, predict_network, predicted_law
from isosweep.theory.slope_law import slope_law

FIELDS = [
    "sigma_w",
    "sigma_b",
    "q_star",
    "chi",
    "c_star",
    "xi_q",
    "xi_c",
    "xi_grad",
    "phase",
    "jacobian_variance",
    "jacobian_s_max",
    "fisher_mean",
    "fisher_lambda_max",
    "kappa_1",
    "kappa_2",
    "learning_rate_max",
    "run_fisher_lambda_max",
    "run_fisher_trace",
    "run_fisher_lambda_max_split",
    "run_fisher_lambda_max_spread",
    "run_jacobian_variance",
    "run_jacobian_s_max",
    "notes",
]


def test_the_fields_of_the_command() -> None:
    p = predict("tanh", q_star=1 / 64, depth=200, width=400)
    fields = p.as_dict()
    assert list(fields) == FIELDS
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert f"{p.sigma_w:.9f}" == "1.015163785"
    assert f"{p.jacobian_s_max:.6f}" == "1.610827"
    assert f"{p.jacobian_variance:.6f}" == "0.337874"
    assert p.phase == "critical"
    assert p.xi_c is None
    assert "xi_c is infinite" in p.notes


def test_karakida_through_predict() -> None:
    p = predict("tanh", sigma_w=math.sqrt(3), sigma_b=0.8, depth=2, width=1000, samples=100, outputs=2)
    assert p.fisher_lambda_max == pytest.approx(253.968, abs=2e-3)
    assert p.learning_rate_max == pytest.approx(2 / 253.968, rel=1e-5)
    assert p.run_fisher_lambda_max == pytest.approx(255.8517, abs=1e-3)  # biases counted: 0.7 % more
    assert not any("fisher_lambda_max" in n for n in p.notes)
    softmax = predict(
        "tanh", sigma_w=math.sqrt(3), sigma_b=0.8, depth=2, width=1000, outputs=2, likelihood="categorical"
    )
    assert softmax.fisher_lambda_max is not None
    assert softmax.fisher_lambda_max < 253.968 / 2  # λ_max of the output's Hessian is at most ½


@pytest.mark.parametrize(
    ("name", "gain", "bias", "word"),
    [
        ("relu", math.sqrt(2), 0.0, "every variance"),
        ("relu", 1.5, 0.0, "without bound"),
        ("relu", 1.2, 0.0, "shrinks to 0"),
        ("tanh", 0.9, 0.0, "shrinks to 0"),
        ("silu", 1.9, 0.0, "several fixed points"),
        ("softplus", 2.0, 0.0, "without bound"),
    ],
)
def test_no_single_fixed_point_is_said(name: str, gain: float, bias: float, word: str) -> None:
    p = predict(name, sigma_w=gain, sigma_b=bias, depth=6, width=300)
    assert any(word in note for note in p.notes)
    assert p.q_star in (None, 0.0)
    assert all(v is None or isinstance(v, str | tuple) or math.isfinite(v) for v in vars(p).values())


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("gain", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("likelihood", ["gaussian", "categorical"])
def test_every_activation_gets_finite_numbers_or_a_note(name: str, gain: float, likelihood: str) -> None:
    p = predict(name, sigma_w=gain, sigma_b=0.2, depth=5, width=100, init="gaussian", likelihood=likelihood)  # type: ignore[arg-type]
    values = [v for v in vars(p).values() if isinstance(v, float)]
    assert np.all(np.isfinite(values))
    assert p.notes or None not in vars(p).values()


def test_notes_on_what_holds_only_in_the_limit() -> None:
    assert any("finite width dominates" in n for n in predict("tanh", q_star=8.0, depth=200, width=400).notes)
    assert any("unstable" in n for n in predict("gelu", q_star=0.5, depth=20, width=400).notes)
    assert any("κ_2 is 0" in n for n in predict("tanh", sigma_w=1.2, depth=4, width=100).notes)
    deep = predict("tanh", q_star=1 / 64, depth=200, width=400)
    assert any("of the weights alone" in n for n in deep.notes)
    assert deep.run_fisher_lambda_max is not None
    assert deep.fisher_lambda_max is not None
    assert deep.run_fisher_lambda_max > 5 * deep.fisher_lambda_max
    step = custom_activation(np.sign, np.zeros_like, discontinuities=(0.0,), odd=True)
    p = predict(step, sigma_w=1.0, depth=4, width=100)
    assert p.chi is None
    assert p.q_star == pytest.approx(1.0)
    assert any("discontinuous" in n for n in p.notes)
    saturated = predict("relu", sigma_w=2.0, depth=64, width=256, likelihood="categorical")
    assert saturated.learning_rate_max is None
    assert any("saturated" in n for n in saturated.notes)
    huge = predict("relu", sigma_w=1e30, depth=50, width=100)
    assert huge.fisher_lambda_max is None
    assert huge.notes


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="either the gain"):
        predict("tanh", depth=2, width=10)
    with pytest.raises(ValueError, match="either the gain"):
        predict("tanh", depth=2, width=10, sigma_w=1.0, q_star=0.5)
    with pytest.raises(ValueError, match="depth"):
        predict("tanh", depth=0, width=10, sigma_w=1.0)
    with pytest.raises(ValueError, match=r"q\* must be"):
        predict("tanh", depth=2, width=10, q_star=-0.5)
    with pytest.raises(NoCriticalPoint, match="negative"):
        predict("softplus", depth=2, width=10, q_star=0.5)
    with pytest.raises(ValueError, match="likelihood"):
        predict("tanh", depth=2, width=10, sigma_w=1.0, likelihood="poisson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"square-integrable|not finite"):
        predict(custom_activation(lambda x: np.exp(x**2), lambda x: x), depth=2, width=10, sigma_w=1.0)
    with pytest.raises(ValueError, match="σ_w"):
        predict("tanh", depth=2, width=10, sigma_w=-1.0)


def _columns(**changes: Any) -> dict[str, float | str | None]:
    network = Network(activation("tanh"), 1.3, 0.2, 6, 500, samples=50, outputs=10, likelihood="categorical")
    return theory_columns(replace(network, **changes))


def test_columns_of_a_run() -> None:
    row = _columns()
    assert tuple(row) == COLUMNS
    assert row["theory_phase"] == "ordered"
    assert isinstance(row["theory_fisher_lambda_max"], float)
    at = predict("tanh", q_star=0.5, depth=6, width=500)
    assert at.q_star is not None
    placed = _columns(
        sigma_w=at.sigma_w,
        sigma_b=at.sigma_b,
        q_star=0.5,
        mean_square=(0.5 - at.sigma_b**2) / at.sigma_w**2,
    )
    assert placed["theory_jacobian_s_max"] == pytest.approx(at.jacobian_s_max)
    assert placed["theory_jacobian_mean"] == pytest.approx(1.0)
    assert placed["theory_note"] is not None
    assert "infinite" in str(placed["theory_note"])


def test_columns_are_empty_with_the_reason() -> None:
    unstable = predict("gelu", q_star=0.5, depth=6, width=500)
    assert unstable.q_star is not None
    left = _columns(
        activation=activation("gelu"),
        sigma_w=unstable.sigma_w,
        sigma_b=unstable.sigma_b,
        q_star=0.5,
        mean_square=(0.5 - unstable.sigma_b**2) / unstable.sigma_w**2,
    )
    assert left["theory_jacobian_s_max"] is None
    assert "unstable" in str(left["theory_note"])
    deep = _columns(sigma_w=2.3287072898, sigma_b=2.0088803790, depth=200, width=400)
    assert deep["theory_fisher_lambda_max"] is None
    assert "finite width dominates" in str(deep["theory_note"])
    other = _columns(init="uniform")
    assert other["theory_chi"] is None
    assert "no theory" in str(other["theory_note"])
    assert residual([1.0, 2.0, 3.0], 4.0) == pytest.approx(-2.0)
    assert residual([1.0], 4.0) is None
    assert residual([1.0, 2.0], None) is None


def test_trace_of_the_columns_against_the_infinite_width_kernel() -> None:
    from isosweep.theory.kernels import infinite_width

    row = _columns(likelihood="gaussian", samples=1)
    kernel = infinite_width(activation("tanh"), np.ones((1, 1)), 1.3, 0.2, 6, 500, 500)
    assert row["theory_fisher_trace"] == pytest.approx(10 * kernel.ntk[0, 0], rel=1e-10)


def test_the_fixed_points_jacobian_is_told_from_that_of_the_inputs() -> None:
    away = predict("tanh", sigma_w=1.9, sigma_b=0.1, depth=6, width=500, input_mean_square=0.05)
    row = _columns(sigma_w=1.9, sigma_b=0.1, depth=6, mean_square=0.05)
    assert away.run_jacobian_s_max == row["theory_jacobian_s_max"]
    assert away.run_jacobian_variance == row["theory_jacobian_variance"]
    assert away.jacobian_s_max is not None
    assert away.run_jacobian_s_max != pytest.approx(away.jacobian_s_max, rel=0.01)
    assert any("inputs of mean square 0.05 start elsewhere" in note for note in away.notes)
    there = predict("tanh", sigma_w=1.9, sigma_b=0.1, depth=6, width=500, input_mean_square="fixed_point")
    assert there.run_jacobian_s_max == there.jacobian_s_max == away.jacobian_s_max
    assert not any("start elsewhere" in note for note in there.notes)
    on_the_line = predict("tanh", q_star=0.5, depth=6, width=500, input_mean_square="fixed_point")
    assert on_the_line.run_jacobian_s_max == on_the_line.jacobian_s_max
    with pytest.raises(ValueError, match=r"cannot start at the fixed point.*without bound"):
        predict("relu", sigma_w=1.5, depth=3, width=50, input_mean_square="fixed_point")


def test_the_splitting_and_the_scatter_of_a_prediction() -> None:
    p = predict("tanh", sigma_w=1.5, sigma_b=0.5, depth=6, width=500)
    row = _columns(sigma_w=1.5, sigma_b=0.5, likelihood="gaussian", samples=100)
    for name in ("split", "spread"):
        assert getattr(p, f"run_fisher_lambda_max_{name}") == row[f"theory_fisher_lambda_max_{name}"]
    assert p.run_fisher_lambda_max is not None
    assert p.run_fisher_lambda_max_split is not None
    assert p.run_fisher_lambda_max_split > p.run_fisher_lambda_max


def test_the_law_behind_a_prediction() -> None:
    p = predict("hard_tanh", q_star=0.5, depth=12, width=400)

    network = Network(activation("hard_tanh"), p.sigma_w, p.sigma_b, 12, 400, q_star=0.5)
    law = predicted_law(network)
    assert law is not None
    assert law.s_max == pytest.approx(p.jacobian_s_max)
    assert predicted_law(Network(activation("silu"), 1.9, 0.0, 12, 400)) is None


def test_runs_of_the_same_settings_are_predicted_once() -> None:
    """A sweep's runs differ in their seeds above all: no seed costs a prediction of its own."""
    settings = [
        {"activation": activation(name), "sigma_w": gain, "depth": depth, "init": init}
        for gain in (0.8123, 1.4321)
        for depth in (4, 16)
        for name in ("tanh", "relu")
        for init in ("orthogonal", "gaussian")
    ]
    for cached in (theory_columns, predict_network, jacobian_edge, slope_law):
        cached.cache_clear()
    for _ in range(50):
        for setting in settings:
            _columns(**setting)
    assert theory_columns.cache_info().misses == len(settings)
    assert predict_network.cache_info().misses == len(settings)
    # relu's law depends on neither gain nor depth; both initialisations share tanh's at q* and at the chain's variances
    assert slope_law.cache_info().misses < 60
    assert jacobian_edge.cache_info().misses <= 2 * len(settings)  # at the fixed point and at the layers' own variances


def test_theory_never_imports_torch() -> None:
    code = (
        "import sys; from isosweep.theory.columns import theory_columns; from isosweep.theory.predict import predict;"
        "predict('tanh', q_star=0.1, depth=3, width=50);"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'pandas', 'pyarrow')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
