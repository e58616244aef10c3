"""What stands beside each other: λ_max and its bounds, exponents and their prediction, layers and their recursion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from isosweep.report import load_tables
from isosweep.report.axes import roles
from isosweep.report.cells import MEASURES, Cells, cells_of
from isosweep.report.drawings.fisher_by_layer import fisher_by_layer, fisher_layer_spectra
from isosweep.report.drawings.growth_with import growth_with
from isosweep.report.drawings.layer_profile import PROFILES, layer_profile
from isosweep.report.drawings.relation import relation
from isosweep.report.reading import Tables
from isosweep.report.thinning import NetworkSpectra, spectra_of

from .synthetic import write_tables

AXES = {"depth": [4, 16, 64], "gain": [0.9, 1.0, 1.1], "seed": [0, 1, 2]}


def _read(folder: Path) -> tuple[Tables, Cells, dict[str, list[NetworkSpectra]]]:
    tables = load_tables(folder)
    cells = cells_of(tables, roles(tables))
    return tables, cells, spectra_of(tables, cells)[0]


def _rewritten(folder: Path, table: str, change: Callable[[dict[str, object]], dict[str, object]]) -> Path:
    rows = pyarrow.parquet.read_table(folder / f"{table}.parquet").to_pylist()
    pyarrow.parquet.write_table(pa.Table.from_pylist([change(row) for row in rows]), folder / f"{table}.parquet")
    return folder


def test_bounds_stand_above_their_runs(tmp_path: Path) -> None:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        top = runs["fisher_lambda_max"]
        short = np.where(np.arange(len(runs)) == 4, 0.5, 8.0)
        return runs.assign(fisher_bound_layer_sum=3.0 * top, fisher_sokol_park=short * top)

    _, cells, _ = _read(write_tables(tmp_path, AXES, edit=edit))
    figure = relation(cells)
    assert figure is not None
    assert "bound: sum over layers is 3 times λ_max in the median of 27 runs;" in figure.caption
    assert (
        "approximation of Sokol & Park is 8 times λ_max in the median of 27 runs, and below it in 1." in figure.caption
    )
    assert (figure.data["bound: sum over layers"] - figure.data["log10 lambda_max"]).to_numpy() == pytest.approx(
        math.log10(3)
    )
    drawn = json.dumps(figure.chart.to_dict(), ensure_ascii=False)
    assert drawn.count('"bound":"') + drawn.count('"bound": "') == 54


def test_a_bound_that_does_not_hold_is_pointed_at(tmp_path: Path) -> None:
    _, cells, _ = _read(
        write_tables(tmp_path, AXES, edit=lambda r: r.assign(fisher_bound_block_rows=0.9 * r["fisher_lambda_max"]))
    )
    figure = relation(cells)
    assert figure is not None
    assert "below it in 27, which a bound never is: these runs need a look" in figure.caption


def test_without_bounds_nothing_is_said_of_them(tmp_path: Path) -> None:
    figure = relation(_read(write_tables(tmp_path, AXES))[1])
    assert figure is not None
    assert "bound" not in figure.caption


def test_the_predicted_exponent_is_the_same_fit_of_the_predictions(tmp_path: Path) -> None:
    def edit(runs: pd.DataFrame) -> pd.DataFrame:
        theory = 2.0 * runs["depth"].astype(float) ** 1.25
        # One prediction is missing at gain 0.9: a fit to the rest would not be of the same points.
        gone = (runs["gain"] == 0.9) & (runs["depth"] == 16) & (runs["seed"] == 1)
        return runs.assign(theory_fisher_lambda_max=theory.mask(gone))

    _, cells, _ = _read(write_tables(tmp_path, AXES, edit=edit))
    figure = growth_with(cells, MEASURES[0], "depth")
    assert figure is not None
    predicted = figure.data.set_index("gain")["predicted exponent"]
    assert predicted["1"] == pytest.approx(1.25)
    assert predicted["1.1"] == pytest.approx(1.25)
    assert math.isnan(predicted["0.9"])
    assert "; predicted 1.25)" in figure.caption


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_layers_are_the_tables_beside_the_recursion(tmp_path: Path, profile) -> None:  # type: ignore[no-untyped-def]
    def with_theory(row: dict[str, object]) -> dict[str, object]:
        return row | {"theory_q": 0.5 * row["q"], "theory_correlation": row["correlation"]}  # type: ignore[operator]

    folder = _rewritten(write_tables(tmp_path, {**AXES, "depth": [4, 16]}), "layers", with_theory)
    _, cells, networks = _read(folder)
    figure = layer_profile(profile, cells, networks)
    assert figure is not None
    assert "at depth 16" in figure.caption
    layers = pyarrow.parquet.read_table(folder / "layers.parquet").to_pandas()
    deepest = layers[layers["run_id"].isin(cells.runs[cells.runs["depth"] == 16]["run_id"])]
    data = figure.data
    if profile.logarithmic:
        assert sorted(data["log10 measured"]) == pytest.approx(sorted(np.log10(deepest["q"])), abs=1e-5)
        both = data[data["log10 theory"].notna()]
        assert (both["log10 measured"] - both["log10 theory"]).to_numpy() == pytest.approx(math.log10(2), abs=2e-5)
    else:
        assert sorted(data["measured"]) == pytest.approx(sorted(deepest["correlation"]), rel=1e-5)
        both = data[data["theory"].notna()]
        assert len(both) == 3 * 16  # of one seed of each cell
    assert set(data["seed"]) == {"0", "1", "2"}


def test_layers_without_theory_say_so(tmp_path: Path) -> None:
    _, cells, networks = _read(write_tables(tmp_path, {**AXES, "depth": [4]}))
    figure = layer_profile(PROFILES[0], cells, networks)
    assert figure is not None
    assert "The tables have no prediction beside them." in figure.caption


def test_the_fisher_by_layer_is_the_tables(tmp_path: Path) -> None:
    _, cells, networks = _read(write_tables(tmp_path, {**AXES, "depth": [4, 8]}))
    figure = fisher_by_layer(cells, networks)
    assert figure is not None
    fisher = pyarrow.parquet.read_table(tmp_path / "fisher.parquet").to_pandas()
    deepest = cells.runs[cells.runs["depth"] == 8]["run_id"]
    blocks = fisher[fisher["run_id"].isin(deepest) & (fisher["block"] != "all")]
    assert sorted(figure.data["log10 lambda_max"]) == pytest.approx(sorted(np.log10(blocks["lambda_max"])), abs=1e-4)
    assert figure.data["layer"].max() == 9  # the readout


def test_spectra_of_layers_only_where_they_were_kept(tmp_path: Path) -> None:
    tables, cells, networks = _read(write_tables(tmp_path / "summary", {**AXES, "depth": [4]}))
    assert fisher_layer_spectra(tables, cells, networks) is None

    def whole(row: dict[str, object]) -> dict[str, object]:
        return row | {"eigenvalues": [row["lambda_max"], 1e-3, 0.0]}

    folder = _rewritten(write_tables(tmp_path / "whole", {**AXES, "depth": [4]}), "fisher", whole)
    tables, cells, networks = _read(folder)
    figure = fisher_layer_spectra(tables, cells, networks)
    assert figure is not None
    assert "(tanh, orthogonal at depth 4, gain 1, seed 0)" in figure.caption
    assert set(figure.data["layer"]) == {1, 2, 3, 4, 5}
    assert "5 eigenvalues of 0" in figure.caption
