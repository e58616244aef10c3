"""The heat maps: values are the table's, missing seeds are counted, the critical line lies where χ = 1."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isosweep.report import Tables, load_tables
from isosweep.report.axes import roles
from isosweep.report.cells import MEASURES, MISTAKES, cells_of, edges, measured
from isosweep.report.critical import critical_gain, critical_sentence
from isosweep.report.described import Described
from isosweep.report.drawings.heat_map import heat_map
from isosweep.report.predicted import predicted_law
from isosweep.theory.activations import ACTIVATIONS, activation
from isosweep.theory.mean_field import gradient_multiplier, variance_fixed_point
from isosweep.theory.predict import predict

from .synthetic import write_tables


def drawn(tables: Tables, name: str) -> Described:
    """One heat map, without the other figures."""
    measure = next(measure for measure in MEASURES if measure.name == name)
    figure = heat_map(cells_of(tables, roles(tables)), measure)
    assert figure is not None
    return figure


GOLDEN = Path(__file__).parent / "golden"


def test_a_cell_with_one_seed_is_the_tables_number_to_the_bit(tmp_path: Path) -> None:
    tables = load_tables(write_tables(tmp_path, {"depth": [4, 16], "gain": [0.9, 1.0], "seed": [3]}))
    figure = drawn(tables, "fisher_lambda_max")
    for row in figure.data.to_dict("records"):
        runs = tables.runs[(tables.runs["depth"] == int(row["depth"])) & (tables.runs["gain"] == row["gain"])]
        assert row["median"] == runs["fisher_lambda_max"].iloc[0]
        assert row["n"] == 1


@pytest.mark.parametrize("seeds", [3, 4])
def test_the_median_and_the_range_are_over_the_seeds(tmp_path: Path, seeds: int) -> None:
    tables = load_tables(write_tables(tmp_path, {"gain": [1.0, 1.1], "seed": list(range(seeds))}))
    rows = drawn(tables, "fisher_trace").data.set_index("gain")
    for gain, group in tables.runs.groupby("gain"):
        values = np.sort(group["fisher_trace"].to_numpy())
        middle = values[1] if seeds == 3 else math.sqrt(values[1] * values[2])
        assert rows.loc[gain, "median"] == pytest.approx(middle, rel=1e-14)
        assert rows.loc[gain, "least"] == pytest.approx(values[0], rel=1e-13)
        assert rows.loc[gain, "most"] == pytest.approx(values[-1], rel=1e-13)


def test_two_of_five_seeds_failed_says_three(tmp_path: Path) -> None:
    axes = {"depth": [4, 8], "gain": [1.0, 1.1], "seed": [0, 1, 2, 3, 4]}
    tables = load_tables(write_tables(tmp_path, axes, statuses={1: ("failed", "x"), 4: ("oom", "y")}))
    figure = drawn(tables, "fisher_lambda_max")
    assert sorted(figure.data["n"]) == [3, 5, 5, 5]
    assert "4 cells of 5 seeds, n = 3 to 5 with a value" in figure.caption
    spec = figure.chart.to_dict()
    cell = next(row for row in spec["data"]["values"] if row["n"] == 3)
    assert cell["counted"] == "n = 3 of 5 seeds"
    assert cell["others"] == "1 failed, 1 oom"
    assert cell["seeds"].count("seed ") == 3


@pytest.mark.parametrize(
    ("name", "bias", "slope"),
    [
        ("tanh", 0.0, None), ("tanh", 0.2236, None), ("relu", 0.0, None), ("erf", 0.1, None), ("scaled_erf", 0.3, None),
        ("hard_tanh", 0.2442, None), ("leaky_relu", 0.0, 0.3), ("linear", 0.0, None), ("sin", 0.05, None),
    ],
)  # fmt: skip
def test_the_critical_line_lies_where_chi_is_one(tmp_path: Path, name: str, bias: float, slope: float | None) -> None:
    fixed = {"activation": name, "bias_std": bias, "negative_slope": slope}
    tables = load_tables(write_tables(tmp_path, {"depth": [4, 8], "gain": [0.5, 1.0, 2.0], "seed": [0]}, fixed=fixed))
    gains = drawn(tables, "fisher_lambda_max").data["critical"].dropna().unique()
    assert len(gains) == 1
    phi = activation(name, slope)
    fixed_point = variance_fixed_point(phi, float(gains[0]), bias)
    q = 1.0 if phi.homogeneous else fixed_point.q_star
    if q == 0:  # without biases the line is at q* = 0, where χ = σ_w² φ'(0)²
        chi = float(gains[0]) ** 2 * phi.slope_square_at_zero()
    else:
        assert q is not None
        chi = gradient_multiplier(phi, q, float(gains[0]))
    assert chi == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bias", [0.0, 0.1])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_line_of_every_activation_is_where_predict_has_chi_one(name: str, bias: float) -> None:
    slope = 0.3 if name == "leaky_relu" else None
    line = critical_gain(name, bias, slope)
    if line.gain is None:
        assert "no critical point" in line.reason
        return
    if line.stable:
        predicted = predict(name, depth=4, width=16, sigma_w=line.gain, sigma_b=bias, negative_slope=slope)
        assert predicted.chi == pytest.approx(1, abs=1e-6)
        return
    # Nobody is predicted to stay at a fixed point that repels: χ is 1 there all the same, and the caption says so.
    phi = activation(name, slope)
    assert line.q_star is not None
    at_zero = line.gain**2 * phi.slope_square_at_zero()
    chi = gradient_multiplier(phi, line.q_star, line.gain) if line.q_star > 0 else at_zero
    assert chi == pytest.approx(1, abs=1e-6)
    assert f"does not attract for {name}: a deep network leaves it." in critical_sentence({name: line}, [])


def test_no_critical_point_draws_no_line_and_says_why(tmp_path: Path) -> None:
    fixed = {"activation": "relu", "bias_std": 0.1}
    tables = load_tables(write_tables(tmp_path, {"depth": [4, 8], "gain": [1.0, 2.0], "seed": [0]}, fixed=fixed))
    figure = drawn(tables, "fisher_lambda_max")
    assert figure.data["critical"].isna().all()
    assert "There is no critical line for relu" in figure.caption
    assert "dashed" not in figure.caption


def test_a_line_outside_the_gains_is_said_not_drawn(tmp_path: Path) -> None:
    tables = load_tables(write_tables(tmp_path, {"depth": [4, 8], "gain": [2.0, 3.0], "seed": [0]}))
    figure = drawn(tables, "fisher_lambda_max")
    assert figure.data["critical"].isna().all()
    assert "outside the gains swept" in figure.caption


def test_zero_and_infinity_are_named_and_nan_is_no_value(tmp_path: Path) -> None:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(fisher_lambda_max=[0.0, math.inf, math.nan, 2.0])

    tables = load_tables(write_tables(tmp_path, {"gain": [0.9, 1.0, 1.1, 1.2], "seed": [0]}, edit=edit))
    figure = drawn(tables, "fisher_lambda_max")
    assert list(figure.data["shown"]) == ["0", "infinite", "no value", "2"]
    assert list(figure.data["n"]) == [1, 1, 0, 1]
    assert "Medians that are exactly 0 and infinite have no place on the scale" in figure.caption


def test_numbers_beyond_float64_are_shown_by_their_logarithm(tmp_path: Path) -> None:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(jacobian_s_max=math.inf, jacobian_log_s_max=5000 * math.log(10))

    tables = load_tables(write_tables(tmp_path, {"gain": [1.0, 1.1], "seed": [0]}, edit=edit))
    assert set(drawn(tables, "jacobian_s_max").data["shown"]) <= {"1e+5000", "10e+4999", "1e5000"}


def test_cells_meet_half_way_on_either_scale() -> None:
    linear = edges(pd.Series([1.0, 2.0, 4.0]))
    assert linear[2.0] == (1.5, 3.0)
    logarithmic = edges(pd.Series([1e-4, 1e-2, 1.0]))
    assert logarithmic[1e-2] == pytest.approx((1e-3, 1e-1))


def test_the_figure_is_the_stored_one_in_data_and_encodings(quickstart: Tables) -> None:
    """ISOSWEEP_WRITE_GOLDEN=1 stores it anew: look at the difference before it is committed."""
    spec = json.loads(json.dumps(drawn(quickstart, "fisher_lambda_max").chart.to_dict()))
    path = GOLDEN / "fisher_lambda_max.json"
    if os.environ.get("ISOSWEEP_WRITE_GOLDEN") == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(json.dumps(spec, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    stored = json.loads(path.read_text(encoding="utf-8"))
    for row, kept in zip(spec.pop("data")["values"], stored.pop("data")["values"], strict=True):
        assert row == {key: pytest.approx(v, rel=1e-9) if isinstance(v, float) else v for key, v in kept.items()}
    spec.pop("$schema"), stored.pop("$schema")
    # Colours end at the data's own ends, which libm may move in the last digit.
    domains = [s["spec"]["layer"][0]["encoding"]["color"]["scale"].pop("domain") for s in (spec, stored)]
    assert domains[0] == pytest.approx(domains[1], rel=1e-9)
    assert [layer.get("encoding") for layer in spec["spec"]["layer"]] == [
        x.get("encoding") for x in stored["spec"]["layer"]
    ]


def test_an_activation_has_a_panel_of_its_own_where_the_gain_tells_it() -> None:
    """With `gain: critical` each activation has its own gain; one panel for both would have no critical line."""
    rows = [
        {"activation": phi, "init": init, "depth": depth, "width": 64, "gain": gain, "bias_std": 0.0, "seed": 0}
        for phi, gain in (("tanh", 1.0), ("relu", 2**0.5))
        for init in ("orthogonal", "gaussian")
        for depth in (4, 16)
    ]
    frame = pd.DataFrame(rows)
    axes = {"axes": ["depth", "activation", "init"]}

    class Given:
        runs, sweep = frame, axes

    assert roles(Given()).panels == ("activation", "init")  # type: ignore[arg-type]


def test_learning_rates_that_the_manifold_tells_are_no_axis() -> None:
    rates = {"euclidean": 1e-3, "stiefel": 1e-2}
    frame = pd.DataFrame(
        [
            {"q_star": q, "gain": 1 + q, "bias_std": q / 10, "manifold": manifold, "learning_rate": rate, "seed": 0}
            for manifold, rate in rates.items()
            for q in (1e-4, 1e-2)
        ]
    )

    class Given:
        runs = frame.assign(activation="tanh", init="orthogonal", depth=6, width=16)
        sweep = {"axes": ["q_star", "manifold", "learning_rate"]}  # noqa: RUF012

    found = roles(Given())  # type: ignore[arg-type]
    assert (found.across, found.up, found.panels) == ("q_star", "depth", ("manifold",))


def test_no_law_is_drawn_of_networks_that_are_no_chain_of_one_width() -> None:
    plain = {"gain": 1.2, "bias_std": 0.1, "depth": 3, "width": 40, "activation": "tanh", "init": "gaussian"}
    plain |= {"architecture": "dense", "normalization": "none", "tied": False, "data_inputs": 40}
    plain |= {"input_mean_square": 1.0, "weight_bits": None, "activation_bits": None, "widths": None}
    assert predicted_law(plain).law is not None
    for other, reason in (
        ({"architecture": "residual"}, "residual networks"),
        ({"architecture": "convolutional"}, "convolutional networks"),
        ({"normalization": "rms"}, "rms normalisation"),
        ({"tied": True}, "tied layers"),
        ({"weight_bits": 2}, "quantised weights"),
        ({"widths": "40-30"}, "uneven widths"),
    ):
        found = predicted_law(plain | other)
        assert found.law is None
        assert reason in found.reason


def test_mistakes_are_what_is_left_of_the_accuracy() -> None:
    runs = pd.DataFrame({"final_test_accuracy": [0.95, 1.0, float("nan")]})
    value, log10 = measured(runs, MISTAKES)
    assert value.tolist()[:2] == [0.05, 0.0]
    assert log10.tolist()[1] == -float("inf")
    assert log10.isna().tolist() == [False, False, True]
