"""The part of a sweep that trains: bands over seeds, the edge of stability, speed, manifolds, smoothness."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.report import load_tables, page
from isosweep.report.axes import roles
from isosweep.report.cells import cells_of
from isosweep.report.drawings.edge_of_stability import edge_of_stability
from isosweep.report.drawings.smoothness import smoothness
from isosweep.report.drawings.training_curves import ALONG_TRAINING, training_curves
from isosweep.report.drawings.training_speed import condition_against_speed, manifolds
from isosweep.report.training import Curves, _reached, banded, curves_of, speed_of

from .synthetic import write_tables, write_trained

SMALL = {"manifold": ["euclidean", "stiefel"], "gain": [1.0, 1.5], "seed": [0, 1, 2, 3, 4]}
BY_NAME = {along.name: along for along in ALONG_TRAINING}


def _curves(folder: Path) -> Curves:
    tables = load_tables(folder)
    curves = curves_of(tables, cells_of(tables, roles(tables)))
    assert curves is not None
    return curves


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    statuses = {1: ("diverged", ""), 2: ("failed", "x"), 3: ("diverged", "")}
    return write_trained(tmp_path_factory.mktemp("trained"), SMALL, statuses=statuses)


def test_the_band_is_the_range_over_the_seeds_and_says_so(trained: Path) -> None:
    curves = _curves(trained)
    figure = training_curves(BY_NAME["training_loss"], curves)
    assert figure is not None
    table = pyarrow.parquet.read_table(trained / "training.parquet").to_pandas()
    runs = curves.runs[(curves.runs["manifold"] == "stiefel") & (curves.runs["gain"] == 1.5)]
    here = table[table["run_id"].isin(runs["run_id"]) & (table["epoch"] == 5)]["test_loss"]
    row = figure.data[
        (figure.data["panel"] == "manifold = stiefel")
        & (figure.data["gain"] == "1.5")
        & (figure.data["epoch"] == 5)
        & (figure.data["what"] == "test")
    ].iloc[0]
    assert (row["n"], row["median"], row["least"], row["most"]) == (5, here.median(), here.min(), here.max())
    assert "bands run from the least to the most of them (n = 2 to 5 seeds; a range, no confidence interval)" in (
        figure.caption
    )


def test_diverged_runs_end_and_are_counted(trained: Path) -> None:
    curves = _curves(trained)
    assert curves.diverged == 2
    told = banded(curves, {"test_loss": "test"})
    cell = told[(told["panel"] == "manifold = euclidean") & (told["line"] == "1")].set_index("epoch")["n"]
    assert cell[5.0] == 4  # one of the five failed
    assert cell[20.0] == 2
    assert "2 of which diverged and end there" in curves.facts


def test_the_edge_is_lambda_max_against_two_over_the_rate(trained: Path) -> None:
    curves = _curves(trained)
    figure = edge_of_stability(curves)
    assert figure is not None
    assert (figure.data["lambda_max"] / figure.data["stability_threshold"]).to_numpy() == pytest.approx(
        10 ** figure.data["log10"].to_numpy()
    )
    above = figure.data.groupby("run_id")["log10"].max() > 0
    assert f"{above.sum()} of 19 runs are above it" in figure.caption
    assert set(figure.data["what"]) == {"Fisher information", "Hessian of the loss"}


def test_speed_is_interpolated_between_epochs(trained: Path) -> None:
    speed = speed_of(_curves(trained))
    assert speed is not None
    assert speed.column == "validation_accuracy"
    table = pyarrow.parquet.read_table(trained / "training.parquet").to_pandas()
    for run in speed.runs.to_dict("records"):
        part = table[table["run_id"] == run["run_id"]].sort_values("epoch")
        values = part["validation_accuracy"].to_numpy()
        if math.isnan(run["epochs"]):
            assert values.max() < speed.target
            continue
        below = int(run["epochs"])
        assert values[below] <= speed.target <= values[min(below + 1, len(values) - 1)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0.01, 0.99))
def test_the_target_is_first_reached_where_it_says(values: list[float], level: float) -> None:
    import pandas as pd

    epochs = _reached(pd.DataFrame({"epoch": range(len(values)), "a": values}), "a", level, True)
    if math.isnan(epochs):
        assert max(values) < level
        return
    before, after = math.floor(epochs), math.ceil(epochs)
    assert all(value < level for value in values[: max(0, before)])
    assert max(values[before], values[after]) >= level
    assert np.interp(epochs, range(len(values)), values) == pytest.approx(max(level, values[0]), abs=1e-9)


def test_runs_that_never_reach_the_target_are_said(tmp_path: Path) -> None:
    folder = write_trained(tmp_path, SMALL)
    table = pyarrow.parquet.read_table(folder / "training.parquet").to_pandas()
    slow = sorted(set(table["run_id"]))[0]
    table.loc[table["run_id"] == slow, "validation_accuracy"] = 0.1
    pyarrow.parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "training.parquet")
    figure = condition_against_speed(_curves(folder))
    assert figure is not None
    assert "1 run never reaches it: crosses at the top." in figure.caption
    assert set(figure.data["state"]) == {"reached", "never reached"}


def test_manifolds_stand_beside_each_other_with_their_counts(trained: Path) -> None:
    figure = manifolds(_curves(trained))
    assert figure is not None
    assert "euclidean" in figure.caption
    assert "n = 10" in figure.caption
    assert len(set(figure.data["what"])) == 3
    assert manifolds(_curves(trained)).data.equals(figure.data)  # type: ignore[union-attr]


def test_one_manifold_alone_has_no_comparison(tmp_path: Path) -> None:
    assert manifolds(_curves(write_trained(tmp_path, {**SMALL, "manifold": ["stiefel"]}))) is None


def test_smoothness_has_its_points_and_the_fit_of_the_run(trained: Path) -> None:
    figure = smoothness(_curves(trained))
    assert figure is not None
    table = pyarrow.parquet.read_table(trained / "training.parquet").to_pandas()
    assert sorted(figure.data["smoothness"]) == pytest.approx(sorted(table["smoothness"].dropna()))
    assert "L0 is 3 in the median (3 to 3) and L1 20 (20 to 20), n = 19 runs" in figure.caption


def test_the_error_on_a_manifold_is_of_manifolds_alone(trained: Path) -> None:
    figure = training_curves(BY_NAME["orthogonality_error_along_training"], _curves(trained))
    assert figure is not None
    assert set(figure.data["panel"]) == {"manifold = stiefel"}


def test_a_sweep_without_training_has_no_such_part(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, {"gain": [1.0, 1.1], "seed": [0]})
    empty = pa.schema([("run_id", pa.string()), ("step", pa.int64()), ("epoch", pa.float64())]).empty_table()
    pyarrow.parquet.write_table(empty, folder / "training.parquet")
    tables = load_tables(folder)
    assert curves_of(tables, cells_of(tables, roles(tables))) is None
    assert 'id="training"' not in page(tables)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_odd_numbers_of_training_make_a_page(tmp_path: Path, value: float) -> None:
    folder = write_trained(tmp_path, {"manifold": ["stiefel"], "gain": [1.0], "seed": [0, 1]})
    table = pyarrow.parquet.read_table(folder / "training.parquet").to_pandas()
    numbers = [name for name in table.columns if name not in ("run_id", "step", "epoch")]
    table.loc[table["epoch"] == 5, numbers] = value
    table.loc[table["run_id"] == table["run_id"].iloc[0], numbers[4:]] = value
    pyarrow.parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "training.parquet")
    curves = _curves(folder)
    drawn: list[Any] = [training_curves(along, curves) for along in ALONG_TRAINING]
    drawn += [edge_of_stability(curves), condition_against_speed(curves), manifolds(curves), smoothness(curves)]
    assert any(figure is not None for figure in drawn)
    for figure in drawn:
        if figure is not None:
            figure.chart.to_dict()


def test_long_curves_are_thinned_and_keep_their_end(tmp_path: Path) -> None:
    folder = write_trained(tmp_path, {"manifold": ["stiefel"], "gain": [1.0], "seed": [0]})
    table = pyarrow.parquet.read_table(folder / "training.parquet").to_pandas()
    run = table["run_id"].iloc[0]
    rows = [
        {"run_id": run, "step": 8 * epoch, "epoch": float(epoch), "test_loss": 1 / (1 + epoch), "jacobian_s_max": None}
        for epoch in range(500)
    ]
    rows[33]["jacobian_s_max"] = 2.0
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / "training.parquet")
    curves = _curves(folder)
    assert {0, 33, 499} <= set(curves.frame["epoch"])
    assert len(curves.frame) == 61
    assert "Of every curve 60 epochs are drawn, evenly spread, and those with spectra." in curves.facts
